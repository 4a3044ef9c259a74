"""Stages: checks of a data set, and its fingerprint, measured case by case and pooled."""
