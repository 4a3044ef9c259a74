"""Plans of the peer before release 2.5, which describe the network by other keys. Source: method.md section 6.9."""

from __future__ import annotations

from typing import Any

from segflow.contracts.errors import PlanError
from segflow.io.plans.vocabulary import NETWORKS, network_entry

__all__ = ["upgraded"]

_ENCODERS = {network.rpartition(".")[2]: encoder for encoder, network in NETWORKS.items()}
#: The pools are told twice; the network is built from the strides.
_KEYS = (
    "UNet_class_name",
    "UNet_base_num_features",
    "unet_max_num_features",
    "n_conv_per_stage_encoder",
    "n_conv_per_stage_decoder",
    "pool_op_kernel_sizes",
    "conv_kernel_sizes",
)
_REDUNDANT = "num_pool_per_axis"


def upgraded(entry: dict[str, Any], where: str) -> dict[str, Any]:
    """A configuration in the style of release 2.5.

    Args:
        entry: A configuration in either style, with all that it inherits.
        where: File and name, for messages.

    Returns:
        The same with a key "architecture" in place of those of the old style.

    Raises:
        PlanError: A key of the old style is missing or wrong, or names another network.

    Source: method.md sections 6.5, 6.9.
    """
    if "UNet_class_name" not in entry:
        return entry
    missing = [key for key in _KEYS if key not in entry]
    if missing:
        raise PlanError(f"{where} lacks '{missing[0]}'")
    if entry["UNet_class_name"] not in _ENCODERS:
        raise PlanError(
            f"{where}: 'UNet_class_name' is {entry['UNet_class_name']!r}; segflow has {' and '.join(_ENCODERS)} only"
        )
    try:
        architecture = _architecture(entry)
    except (TypeError, ValueError, IndexError) as problem:
        raise PlanError(f"{where}: {', '.join(_KEYS[1:])} do not describe a network: {problem}") from None
    rest = {key: value for key, value in entry.items() if key not in (*_KEYS, _REDUNDANT)}
    return {**rest, "architecture": architecture}


def _architecture(entry: dict[str, Any]) -> dict[str, Any]:
    strides = entry["pool_op_kernel_sizes"]
    base, most = int(entry["UNet_base_num_features"]), int(entry["unet_max_num_features"])
    return network_entry(
        _ENCODERS[entry["UNet_class_name"]],
        features=[min(most, base * 2**stage) for stage in range(len(strides))],
        strides=strides,
        kernels=entry["conv_kernel_sizes"],
        blocks=(entry["n_conv_per_stage_encoder"], entry["n_conv_per_stage_decoder"]),
    )
