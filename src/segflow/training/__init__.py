"""Stage: cases and a plan's configuration -> weights."""

from segflow.training.job import Pretrained, TrainingJob
from segflow.training.loop import TrainingResult, train
from segflow.training.monitor import EpochRecord

__all__ = ["EpochRecord", "Pretrained", "TrainingJob", "TrainingResult", "train"]
