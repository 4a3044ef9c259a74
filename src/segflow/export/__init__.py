"""Stage: logits become a label map in the original space."""

from segflow.export.restore import restore_labels, restore_probabilities

__all__ = ["restore_labels", "restore_probabilities"]
