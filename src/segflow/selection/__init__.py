"""The empirical parameters: scores of label maps, the choice among candidates, and post-processing."""
