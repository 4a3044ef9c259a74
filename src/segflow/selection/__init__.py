"""The empirical parameters: evaluation, the choice among candidates, and post-processing."""
