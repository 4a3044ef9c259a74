"""Scores of a segmentation: overlap of label maps, and distances between their surfaces."""
