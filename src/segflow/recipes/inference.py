"""Fixed parameters of prediction."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from segflow.contracts.codec import Amount, Contract

__all__ = ["Axis", "InferenceRecipe", "Precision"]

Axis = Literal["z", "y", "x"]
Precision = Literal["auto", "float32", "float16", "bfloat16"]


def _listed(value: Any) -> Any:
    """A single axis as a list of one; pydantic would take "y" for yes."""
    return (value,) if value in ("z", "y", "x") else value


class InferenceRecipe(Contract):
    """Sliding-window prediction. Source: method.md section 16.

    Attributes:
        step: Distance between neighbouring tiles as a share of the patch.
        gaussian_sigma: Standard deviation of a tile's weight map as a share of the patch.
        mirroring: Average over all combinations of mirrored axes: true (all axes), false, or a list of axes, as in
            [y, x]. z is the first axis after transposing; 2D networks ignore it.
        average: What is averaged over mirrored axes, tiles and folds, and then resampled: logits, or probabilities
            (section 26).
        precision: Arithmetic of the network: auto (float16 on a GPU, float32 on a CPU), float32, float16 or bfloat16.
            Sums are always float32. bfloat16 is faster on CPUs with units for it, and changes some labels at borders.
    """

    step: Annotated[float, Field(ge=0.01, le=1)] = 0.5
    gaussian_sigma: Amount = 0.125
    mirroring: Annotated[
        bool | Annotated[tuple[Axis, ...], Field(min_length=1)], BeforeValidator(_listed)
    ] = True
    average: Literal["logits", "probabilities"] = "logits"
    precision: Precision = "auto"
