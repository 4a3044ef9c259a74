"""Warnings about single cases. Source: method.md section 4."""

from __future__ import annotations

from collections.abc import Sequence

from segflow.contracts.case import Case, RawCase
from segflow.contracts.labels import Labels

__all__ = ["case_warnings"]


def case_warnings(raw: RawCase, case: Case, found: Sequence[int], labels: Labels) -> tuple[str, ...]:
    """Warnings about a case: those of its files, and that there is no foreground among the label values found.

    Source: method.md section 4; nnU-Net intends the latter warning but never gives it.
    """
    if not found or set(found) & set(labels.foreground_values):
        return raw.warnings
    return (
        *raw.warnings,
        f"case {raw.identifier}: label file {case.label} has no foreground, only {', '.join(map(str, found))}",
    )
