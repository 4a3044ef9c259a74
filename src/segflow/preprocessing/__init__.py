"""Stage: a raw case becomes arrays a network can read."""

from segflow.preprocessing.prepare import PreparedCase, prepare_case, prepare_labels, target_grid

__all__ = ["PreparedCase", "prepare_case", "prepare_labels", "target_grid"]
