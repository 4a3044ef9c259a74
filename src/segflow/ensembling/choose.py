"""Candidates for the best model, and the choice among them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import combinations

from segflow.contracts.errors import PlanError
from segflow.contracts.names import in_order
from segflow.contracts.scores import Bootstrap, Candidate, Selection

__all__ = ["candidate_members", "candidate_name", "pair_name", "select"]


def pair_name(first: str, second: str) -> str:
    """The name of the ensemble of two configurations.

    Args:
        first: Name of the earlier configuration in candidate order.
        second: Name of the later one.

    Returns:
        Such as "2d+3d_fullres".

    Source: ours.
    """
    return candidate_name((first, second))


def candidate_name(configurations: Sequence[str]) -> str:
    """The name of a candidate.

    Args:
        configurations: Names of one configuration or of two.

    Returns:
        Such as "3d_fullres" or "2d+3d_fullres".

    Source: ours.
    """
    return "+".join(configurations)


def candidate_members(configurations: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Everything that is compared: each configuration alone, then each pair of them.

    Args:
        configurations: Names of those that were trained; the planner's in any order, others in theirs.

    Returns:
        One or two names per candidate, in the order that settles ties.

    Source: method.md section 22.
    """
    names = in_order(configurations)
    return (*((name,) for name in names), *combinations(names, 2))


def select(
    candidates: Sequence[Candidate], *, prefer_single_within: float = 0.0, bootstrap: Bootstrap | None = None
) -> Selection:
    """Choose the candidate with the highest foreground mean Dice, or a simpler one that is nearly as good.

    On a tie the earlier one wins, so candidates belong in the order of `candidate_members`: simpler first.
    A candidate whose score is NaN never wins, wherever it stands. There is no significance test.

    Args:
        candidates: With their out-of-fold scores.
        prefer_single_within: Of the candidates that lack at most so much of the highest score, those of the fewest
            configurations are preferred, and of these the highest.
        bootstrap: Uncertainty of their order, kept with the choice; it has no part in it.

    Returns:
        The best, and all candidates as given.

    Raises:
        PlanError: There is no candidate with a score: then nothing speaks for any of them, and a silent
            choice would look like a measured one.

    Source: method.md section 22; NaN and the preference are ours.
    """
    scored = [c for c in candidates if not math.isnan(c.foreground_mean_dice)]
    if not scored:
        names = ", ".join(c.name for c in candidates) or "none"
        raise PlanError(
            f"no candidate has a score (candidates: {names}): "
            "no class occurs in any reference or prediction; "
            "check that the training labels are not all background"
        )
    best = max(scored, key=lambda c: c.foreground_mean_dice)
    if prefer_single_within > 0:
        lowest = best.foreground_mean_dice - prefer_single_within
        near = [c for c in scored if c.foreground_mean_dice >= lowest]
        best = max(near, key=lambda c: (-len(c.configurations), c.foreground_mean_dice))
    return Selection(
        best=best,
        candidates=tuple(candidates),
        prefer_single_within=prefer_single_within,
        bootstrap=bootstrap,
    )
