"""Stage: trained networks and a preprocessed image give logits."""

from segflow.inference.activation import with_probabilities
from segflow.inference.sliding_window import Network, sliding_window

__all__ = ["Network", "sliding_window", "with_probabilities"]
