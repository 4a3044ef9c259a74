"""Removal of all but the largest component, where cross-validation says that it helps."""

from segflow.postprocessing.rules import apply
from segflow.postprocessing.search import LoadPair, passes_over_cases, search

__all__ = ["LoadPair", "apply", "passes_over_cases", "search"]
