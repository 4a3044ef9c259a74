"""Sentences that keep a reader from trusting numbers too much."""

from __future__ import annotations

from collections.abc import Collection

from segflow.contracts.labels import Labels
from segflow.contracts.scores import Summary
from segflow.reporting.spread import spreads

__all__ = ["cautions"]

#: Source: method.md section 10.
_FOLDS = 5
#: Below this a standard deviation says little. Source: ours.
_FEW_CASES = 10


def cautions(
    summary: Summary,
    labels: Labels,
    *,
    devices: Collection[str],
    folds: Collection[int],
    epochs: int,
    recipe_epochs: int,
) -> tuple[str, ...]:
    """Say what qualifies the results of a run.

    Args:
        summary: Out-of-fold scores of the best candidate.
        labels: Their vocabulary.
        devices: That networks were trained on, such as "cpu".
        folds: That were run.
        epochs: That networks were trained for.
        recipe_epochs: That the method trains for.

    Returns:
        Sentences; empty for a full run on complete data.

    Source: ours.
    """
    found = []
    missing = sorted(set(range(_FOLDS)) - set(folds))
    if missing:
        names = ", ".join(map(str, missing))
        found.append(
            f"Only {_FOLDS - len(missing)} of {_FOLDS} folds were run (missing: {names}); the scores cover "
            f"{len(summary.metric_per_case)} cases, and cases of the other folds were never predicted."
        )
    if epochs < recipe_epochs:
        found.append(
            f"Networks were trained for {epochs} of nnU-Net's {recipe_epochs} epochs; "
            "expect better scores from a full training."
        )
    if any(device.startswith("cpu") for device in devices):
        found.append("Networks were trained on a CPU, in single precision throughout.")
    found += [
        f"'{spread.name}' occurs in no scored case, neither annotated nor predicted: it has no Dice "
        "and has no part in any mean."
        for spread in spreads(summary, labels)
        if spread.n == 0
    ]
    if len(summary.metric_per_case) < _FEW_CASES:
        found.append(f"Only {len(summary.metric_per_case)} cases were scored: differences may be chance.")
    return tuple(found)
