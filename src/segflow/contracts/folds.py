"""Cross-validation folds. Source: method.md section 10."""

from __future__ import annotations

from segflow.contracts.codec import Contract

__all__ = ["Fold"]


class Fold(Contract):
    """Identifiers of the cases a network is trained on and of those it never sees."""

    train: tuple[str, ...]
    val: tuple[str, ...]
