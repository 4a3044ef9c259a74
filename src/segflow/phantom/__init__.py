"""A small synthetic data set: MR-like cases whose truth is known, made from two numbers and nothing else."""
