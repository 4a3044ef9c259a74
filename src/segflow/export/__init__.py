"""Stage: scores become a label map in the original space."""

from segflow.export.restore import ScoreStream, assemble, label_slabs, score_slabs

__all__ = ["ScoreStream", "assemble", "label_slabs", "score_slabs"]
