"""Stage: cases and a plan's configuration -> weights."""

from segflow.training.loop import TrainingJob, TrainingResult, train
from segflow.training.monitor import EpochRecord

__all__ = ["EpochRecord", "TrainingJob", "TrainingResult", "train"]
