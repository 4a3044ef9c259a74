"""Fixed parameters of training. Source: method.md sections 12, 14, 15."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from segflow.contracts.codec import Contract
from segflow.contracts.names import ConfigurationName

__all__ = ["TrainingRecipe"]

Positive = Annotated[int, Field(ge=1)]


class TrainingRecipe(Contract):
    """How a network is trained.

    Attributes:
        epochs: Length of training and of the learning-rate schedule.
        iterations: Training batches per epoch.
        validation_iterations: Batches of the fold's held-out cases scored per epoch.
        learning_rate: At epoch 0.
        schedule_exponent: Of the polynomial decay (1 - epoch / epochs) ** exponent.
        momentum: Of SGD with Nesterov momentum.
        weight_decay: On all parameters.
        gradient_clip_norm: Gradients are scaled down to this norm.
        foreground_share: Share of a batch's patches that are centred on a foreground voxel.
        deep_supervision: Score every decoder resolution but the coarsest.
        base_width: Feature maps of the first stage in place of the plan's; later stages double it.
        batch_size: Patches per batch in place of the plan's, by configuration.
    """

    epochs: Positive = 1000
    iterations: Positive = 250
    validation_iterations: Annotated[int, Field(ge=0)] = 50
    learning_rate: Annotated[float, Field(gt=0)] = 0.01
    schedule_exponent: float = 0.9
    momentum: float = 0.99
    weight_decay: float = 3e-5
    gradient_clip_norm: float = 12.0
    foreground_share: float = 0.33
    deep_supervision: bool = True
    base_width: Positive | None = None
    batch_size: dict[ConfigurationName, Positive] = Field(default_factory=dict)
