"""Where networks compute."""

from __future__ import annotations

import logging

import torch

from segflow.contracts.errors import ConfigurationError

__all__ = ["choose_device"]

_logger = logging.getLogger("segflow")


def choose_device(wanted: str) -> str:
    """The device to compute on; says so when there is no GPU.

    Args:
        wanted: "auto", "cpu" or "cuda".

    Returns:
        "cpu" or "cuda".

    Raises:
        ConfigurationError: "cuda" was asked for and there is none, or it is none of these.

    Source: ours.
    """
    if wanted not in {"auto", "cpu", "cuda"}:
        raise ConfigurationError(f"device is {wanted!r}; it must be 'auto', 'cpu' or 'cuda'")
    if wanted == "cpu":
        return wanted
    if torch.cuda.is_available():
        return "cuda"
    if wanted == "cuda":
        raise ConfigurationError(
            "device is 'cuda', but no CUDA device is available; set it to 'auto' or 'cpu'"
        )
    _logger.warning("no GPU found: computing on the CPU")
    return "cpu"
