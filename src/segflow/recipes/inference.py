"""Fixed parameters of prediction. Source: method.md section 16."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from segflow.contracts.codec import Contract

__all__ = ["Axis", "InferenceRecipe", "Precision"]

Axis = Literal["z", "y", "x"]
Precision = Literal["auto", "float32", "float16", "bfloat16"]


class InferenceRecipe(Contract):
    """How a trained network is slid over an image.

    Attributes:
        step: Distance of two neighbouring tiles as a share of the patch.
        gaussian_sigma: Of the tile's weight map, as a share of the patch.
        mirroring: Average over all combinations of mirrored axes: of all axes, of none, or of those named. z is the
            first axis after transposing, and passed over by a 2D network.
        average: What is averaged over mirrored axes, tiles and folds, and then resampled.
        precision: Of the network's arithmetic; auto: float16 on a GPU, float32 on a CPU. Sums are float32 always.

    """

    step: Annotated[float, Field(gt=0, le=1)] = 0.5
    gaussian_sigma: float = 0.125
    mirroring: bool | Annotated[tuple[Axis, ...], Field(min_length=1)] = True
    average: Literal["logits", "probabilities"] = "logits"
    precision: Precision = "auto"
