"""Removal of components and filling of holes, where cross-validation says that it helps."""

from segflow.postprocessing.rules import apply
from segflow.postprocessing.search import LoadPair, search

__all__ = ["LoadPair", "apply", "search"]
