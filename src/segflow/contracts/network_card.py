"""What a weights file holds."""

from __future__ import annotations

from segflow.contracts.codec import Contract
from segflow.contracts.plan import Configuration

__all__ = ["NetworkCard"]


class NetworkCard(Contract):
    """What is needed to use a trained network; kept inside its weights file.

    Attributes:
        configuration: As trained, overrides of width and batch size included.
        input_channels: Image channels, and one per foreground label in a cascade.
        n_outputs: Channels of the logits.
        fold: Which cases were held out.
        seed: Of initialisation, sampling and augmentation.
        epochs: Trained.
        device: Trained on.
    """

    configuration: Configuration
    input_channels: int
    n_outputs: int
    fold: int
    seed: int
    epochs: int
    device: str
