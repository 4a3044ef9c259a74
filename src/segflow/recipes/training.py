"""Fixed parameters of training. Source: method.md sections 12, 14, 15."""

from __future__ import annotations

from segflow.contracts.codec import Contract

__all__ = ["TrainingRecipe"]


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
    """

    epochs: int = 1000
    iterations: int = 250
    validation_iterations: int = 50
    learning_rate: float = 0.01
    schedule_exponent: float = 0.9
    momentum: float = 0.99
    weight_decay: float = 3e-5
    gradient_clip_norm: float = 12.0
    foreground_share: float = 0.33
    deep_supervision: bool = True
