"""A small synthetic data set: MR-like cases whose truth is known, made from two numbers and nothing else."""

from segflow.phantom.case import PhantomCase, make_case

__all__ = ["PhantomCase", "make_case"]
