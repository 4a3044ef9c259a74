"""Overlap of two label maps: counts of voxels, and Dice and IoU from them.

Distances of their surfaces are in `segflow.metrics.surface`, which needs scipy and is not passed on here.
"""
