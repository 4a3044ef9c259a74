"""Predicted against annotated label maps: scores per case, and their summary."""

from segflow.evaluation.scores import OVERLAP_METRICS, SURFACE_METRICS, Surfaces, score_case
from segflow.evaluation.summary import merge_folds, summarise

__all__ = ["OVERLAP_METRICS", "SURFACE_METRICS", "Surfaces", "merge_folds", "score_case", "summarise"]
