"""The learning rate. Source: method.md section 15."""

from __future__ import annotations

__all__ = ["polynomial_learning_rate"]


def polynomial_learning_rate(epoch: int, *, epochs: int, initial: float, exponent: float) -> float:
    """The learning rate of an epoch: initial * (1 - epoch / epochs) ^ exponent.

    Args:
        epoch: From 0.
        epochs: Length of the schedule.
        initial: At epoch 0.
        exponent: Of the decay.

    Source: method.md section 15.
    """
    return float(initial * (1 - epoch / epochs) ** exponent)
