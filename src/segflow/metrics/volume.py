"""Agreement of volumes. Source: Bland & Altman 1986."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["LIMITS", "limits_of_agreement"]

#: Standard deviations from the bias to either limit: 95 % of normally distributed differences lie between them.
LIMITS = 1.96


def limits_of_agreement(differences: Sequence[float]) -> tuple[float, float, float]:
    """Bias (the mean difference), and lower and upper limit of agreement, in the unit of the differences.

    NaN is left out. Without a difference all three are NaN; of a single one, the limits.
    """
    values = np.asarray(differences, dtype=np.float64)
    values = values[~np.isnan(values)]
    bias = float(values.mean()) if values.size else np.nan
    half = LIMITS * float(values.std(ddof=1)) if values.size > 1 else np.nan
    return bias, bias - half, bias + half
