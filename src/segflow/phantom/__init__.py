"""A small synthetic data set of MR-like cases with known labels, generated from a seed."""
