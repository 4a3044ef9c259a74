"""Stage: what a data set is like, measured case by case and pooled."""
