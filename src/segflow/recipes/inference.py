"""Fixed parameters of prediction."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from segflow.contracts.codec import Amount, Contract

__all__ = ["Axis", "InferenceRecipe", "Precision"]

Axis = Literal["z", "y", "x"]
Precision = Literal["auto", "float32", "float16", "bfloat16"]


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
            Sums are always float32. On CPUs with bfloat16 units, bfloat16 takes a third of the time and changes some
            labels at borders.
    """

    step: Annotated[float, Field(ge=0.01, le=1)] = 0.5
    gaussian_sigma: Amount = 0.125
    mirroring: bool | Annotated[tuple[Axis, ...], Field(min_length=1)] = True
    average: Literal["logits", "probabilities"] = "logits"
    precision: Precision = "auto"
