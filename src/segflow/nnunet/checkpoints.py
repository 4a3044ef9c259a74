"""nnU-Net's checkpoints: pickled files, read without unpickling arbitrary objects.

Beside tensors and plain data they hold NumPy scalars. While such a file is read, `_number` and `_NumberType` replace
the NumPy functions named in it and make plain numbers; any other name is refused.

Source: method.md section 15.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from segflow.contracts.errors import PredictionError
from segflow.contracts.model import NetworkCard
from segflow.nnunet.tensor_names import from_nnunet, to_nnunet
from segflow.recipes.inference import Axis
from segflow.storage.weights import card_of, is_state, load_tensors, save_tensors

__all__ = [
    "NNUNET_TRAINER",
    "NnunetCheckpoint",
    "load_nnunet_checkpoint",
    "load_weights_and_card",
    "save_nnunet_checkpoint",
]

#: nnU-Net's trainer class of the networks that segflow has.
NNUNET_TRAINER: Final = "nnUNetTrainer"

_NNUNET_WEIGHTS, _WEIGHTS = "network_weights", "weights"
_CARD: Final = "segflow_card"  # a key that nnU-Net does not read
_AXES: Final[tuple[Axis, ...]] = ("z", "y", "x")
_NUMBERS: Final = "biuf"  # NumPy's letters for booleans, integers and floats


@dataclass(frozen=True)
class NnunetCheckpoint:
    """What segflow reads of a checkpoint.

    Attributes:
        weights: Under segflow's names.
        trainer: nnU-Net's class that wrote it.
        configuration: Name of the configuration.
        epochs: Number of epochs trained.
        mirroring: Axes along which inputs are mirrored, predictions being averaged; z for 2D networks, which have none.
        card: The network's, if segflow has written the checkpoint.
    """

    weights: dict[str, Tensor]
    trainer: str
    configuration: str
    epochs: int
    mirroring: tuple[Axis, ...]
    card: NetworkCard | None


class _NumberType:
    """Replaces numpy.dtype: a name such as "f8", and a byte order."""

    def __init__(self, name: str, *_: Any) -> None:
        self.name = name
        self.order = "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = str(state[1])


def _number(kind: _NumberType, content: bytes) -> bool | int | float:
    """Replaces the function that makes NumPy scalars."""
    dtype = np.dtype(f"{kind.order}{kind.name}")
    if dtype.kind not in _NUMBERS:
        raise TypeError(f"{dtype} is not a number")
    (value,) = np.frombuffer(content, dtype).tolist()
    return bool(value) if dtype.kind == "b" else value


#: By the names that NumPy 1 and NumPy 2 write.
_ALLOWED: Final[list[Callable[..., Any] | tuple[Callable[..., Any], str]]] = [
    (_number, "numpy.core.multiarray.scalar"),
    (_number, "numpy._core.multiarray.scalar"),
    (_NumberType, "numpy.dtype"),
]


def load_weights_and_card(path: Path) -> tuple[dict[str, Tensor], NetworkCard | None]:
    """Weights from segflow's model.pt or fold_0.safetensors or nnU-Net's checkpoint_final.pth, and the network's card.

    Returns:
        Tensors on the CPU, under segflow's names; the card, unless nnU-Net has written the file.

    Raises:
        PredictionError: The file is missing, damaged, holds more than tensors and plain data, or is neither.
        TrainingError: The network is one that segflow does not have.

    Source: method.md sections 11, 15.
    """
    content = _load(path)
    if is_state(content.get(_NNUNET_WEIGHTS)):
        return from_nnunet(content[_NNUNET_WEIGHTS], where=str(path)), _card(content.get(_CARD), path)
    if is_state(content.get(_WEIGHTS)):
        return dict(content[_WEIGHTS]), _card(content.get("card"), path)
    raise PredictionError(
        f"{path} is neither a weights file of segflow (model.pt) nor a checkpoint of nnU-Net (checkpoint_final.pth)"
    )


def load_nnunet_checkpoint(path: Path) -> NnunetCheckpoint:
    """Read a checkpoint such as fold_0/checkpoint_final.pth; errors as above. Source: method.md section 15."""
    content = _load(path)
    arguments = content.get("init_args")
    if not is_state(content.get(_NNUNET_WEIGHTS)) or not isinstance(arguments, Mapping):
        raise PredictionError(f"{path} is not a checkpoint of nnU-Net")
    weights = from_nnunet(content[_NNUNET_WEIGHTS], where=str(path))
    mirrored = content.get("inference_allowed_mirroring_axes") or ()
    axes = _AXES[max(5 - max((tensor.ndim for tensor in weights.values()), default=5), 0) :]
    return NnunetCheckpoint(
        weights=weights,
        trainer=str(content.get("trainer_name")),
        configuration=str(arguments.get("configuration")),
        epochs=int(content.get("current_epoch") or 0),
        mirroring=tuple(
            axis for axis in _AXES if mirrored and (axis not in axes or axes.index(axis) in mirrored)
        ),
        card=_card(content.get(_CARD), path),
    )


def save_nnunet_checkpoint(
    path: Path, weights: Mapping[str, Tensor], card: NetworkCard, *, mirroring: bool | tuple[Axis, ...]
) -> None:
    """Write a checkpoint that nnU-Net can predict with or take as pretrained weights.

    Args:
        path: Such as fold_0/checkpoint_final.pth.
        weights: Under segflow's names.
        card: The network's card.
        mirroring: Predictions are averaged over inputs mirrored along all axes, none, or these.

    Source: method.md sections 15, 18.
    """
    configuration = card.configuration
    axes = _AXES[-configuration.dimensions :]
    chosen = axes if mirroring is True else mirroring or ()
    content = {
        _NNUNET_WEIGHTS: to_nnunet(weights, configuration.architecture),
        "trainer_name": NNUNET_TRAINER,
        "init_args": {"configuration": configuration.name, "fold": card.fold},
        "current_epoch": card.epochs,
        "inference_allowed_mirroring_axes": tuple(axes.index(axis) for axis in axes if axis in chosen)
        or None,
        _CARD: card.model_dump_json(),
    }
    save_tensors(path, content)


def _load(path: Path) -> dict[str, Any]:
    with torch.serialization.safe_globals(_ALLOWED):
        return load_tensors(path)


def _card(text: object, path: Path) -> NetworkCard | None:
    return None if text is None else card_of(str(text), path)
