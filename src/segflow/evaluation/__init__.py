"""Predicted against annotated label maps: scores per case, and their summary."""

from segflow.evaluation.scores import score_case
from segflow.evaluation.summary import merge_folds, summarise

__all__ = ["merge_folds", "score_case", "summarise"]
