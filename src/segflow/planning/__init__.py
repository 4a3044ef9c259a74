"""Rule-based parameters: from a fingerprint to a plan. Pure, without torch, in milliseconds."""

from segflow.planning.features import features_per_stage
from segflow.planning.folds import N_FOLDS, check_folds, make_folds
from segflow.planning.plan import PlanInput, make_plan

__all__ = ["N_FOLDS", "PlanInput", "check_folds", "features_per_stage", "make_folds", "make_plan"]
