"""The empirical parameters: the choice among candidates, and post-processing."""
