"""One configuration of the peer's plans.json: its keys, and what they must be to each other.

Source: method.md section 6.9.

Values of plans.json that segflow has one choice for.
The peer's words in plans.json for what segflow has. Source: method.md section 6.9.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from segflow.contracts.codec import Contract
from segflow.contracts.errors import PlanError
from segflow.contracts.plan import Normalization

__all__ = [
    "BLOCKS",
    "NETWORKS",
    "PREPROCESSORS",
    "RESAMPLING",
    "RESAMPLING_ARGUMENTS",
    "SCHEMES",
    "PeerConfiguration",
    "check_configuration",
    "network_entry",
    "only",
    "to_configuration",
]


def only(*allowed: Any) -> AfterValidator:
    """Let a field have nothing but certain values; the message lists them."""
    listed = " or ".join(json.dumps(value) for value in allowed)

    def check(value: Any) -> Any:
        if value not in allowed:
            raise PydanticCustomError("unsupported", "segflow has {listed} only", {"listed": listed})
        return value

    return AfterValidator(check)


Encoder = Literal["plain", "residual"]

SCHEMES: dict[Normalization, str] = {
    "zscore": "ZScoreNormalization",
    "ct": "CTNormalization",
    "none": "NoNormalization",
    "rescale_0_1": "RescaleTo01Normalization",
    "rgb_0_1": "RGBTo01Normalization",
}
NETWORKS: dict[Encoder, str] = {
    "plain": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
    "residual": "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet",
}
#: Key of the blocks per stage.
BLOCKS: dict[Encoder, str] = {"plain": "n_conv_per_stage", "residual": "n_blocks_per_stage"}

#: By whether images are resampled before they are normalised. The peer knows the first, and refuses the other.
PREPROCESSORS: dict[bool, str] = {False: "DefaultPreprocessor", True: "ResampleFirstPreprocessor"}

RESAMPLING = "resample_data_or_seg_to_shape"
#: Of images, segmentations and probabilities: the one way in which segflow resamples.
RESAMPLING_ARGUMENTS: dict[str, dict[str, Any]] = {
    "data": {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None},
    "seg": {"is_seg": True, "order": 1, "order_z": 0, "force_separate_z": None},
    "probabilities": {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None},
}


def network_entry(
    encoder: Encoder,
    *,
    features: Sequence[int],
    strides: Sequence[Sequence[int]],
    kernels: Sequence[Sequence[int]],
    blocks: tuple[Sequence[int], Sequence[int]],
) -> dict[str, Any]:
    """The entry "architecture" of a configuration.

    Args:
        encoder: Kind of network.
        features: Per stage.
        strides: Per stage, per axis.
        kernels: Per stage, per axis.
        blocks: Of the encoder, and of the decoder.

    Returns:
        Plain data.

    Source: method.md section 6.9.
    """
    dimensions = len(strides[0])
    return {
        "network_class_name": NETWORKS[encoder],
        "arch_kwargs": {
            "n_stages": len(strides),
            "features_per_stage": list(features),
            "conv_op": f"torch.nn.modules.conv.Conv{dimensions}d",
            "kernel_sizes": [list(kernel) for kernel in kernels],
            "strides": [list(stride) for stride in strides],
            BLOCKS[encoder]: list(blocks[0]),
            "n_conv_per_stage_decoder": list(blocks[1]),
            "conv_bias": True,
            "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dimensions}d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


_NORMALIZATIONS = {name: ours for ours, name in SCHEMES.items()}
_ENCODERS = {name: ours for ours, name in NETWORKS.items()}

_YES = (True,)

Count = Annotated[int, Field(ge=1)]
Counts = tuple[Count, ...]
Axes = Annotated[tuple[Count, ...], Field(min_length=2, max_length=3)]
Millimetres = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Function = Annotated[str, only(RESAMPLING)]
#: One name, a list of them, or null.
Stages = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda value: (value,) if isinstance(value, str) else () if value is None else value),
]


class _Arguments(Contract):
    n_stages: Count
    features_per_stage: Counts
    conv_op: Annotated[str, only("torch.nn.modules.conv.Conv2d", "torch.nn.modules.conv.Conv3d")]
    kernel_sizes: tuple[Axes, ...]
    strides: tuple[Axes, ...]
    n_conv_per_stage: Counts | None = None
    n_blocks_per_stage: Counts | None = None
    n_conv_per_stage_decoder: Counts
    conv_bias: Annotated[Any, only(*_YES)]
    norm_op: Annotated[
        str,
        only(
            "torch.nn.modules.instancenorm.InstanceNorm2d",
            "torch.nn.modules.instancenorm.InstanceNorm3d",
        ),
    ]
    norm_op_kwargs: Annotated[Any, only({"eps": 1e-05, "affine": True})]
    dropout_op: Annotated[Any, only(None)] = None
    dropout_op_kwargs: Any = None
    nonlin: Annotated[str, only("torch.nn.LeakyReLU")]
    nonlin_kwargs: Annotated[Any, only({"inplace": True})]


class _Architecture(Contract):
    network_class_name: Annotated[str, only(*_ENCODERS)]
    arch_kwargs: _Arguments
    imported: Annotated[tuple[str, ...], Field(alias="_kw_requires_import")]


class PeerConfiguration(Contract):
    """One configuration in the peer's words, with all that it inherits."""

    data_identifier: str
    preprocessor_name: Annotated[str, only(*PREPROCESSORS.values())]
    batch_size: Count
    patch_size: Axes
    median_image_size_in_voxels: Annotated[tuple[Millimetres, ...], Field(min_length=2, max_length=3)]
    spacing: Annotated[tuple[Millimetres, ...], Field(min_length=2, max_length=3)]
    normalization_schemes: tuple[Annotated[str, only(*_NORMALIZATIONS)], ...]
    use_mask_for_norm: tuple[bool, ...]
    resampling_fn_data: Function
    resampling_fn_seg: Function
    resampling_fn_probabilities: Function
    resampling_fn_data_kwargs: Annotated[Any, only(RESAMPLING_ARGUMENTS["data"])]
    resampling_fn_seg_kwargs: Annotated[Any, only(RESAMPLING_ARGUMENTS["seg"])]
    resampling_fn_probabilities_kwargs: Annotated[Any, only(RESAMPLING_ARGUMENTS["probabilities"])]
    architecture: _Architecture
    batch_dice: bool
    previous_stage: Annotated[Stages, Field(max_length=1)] = ()
    next_stage: Stages = ()


def to_configuration(name: str, peer: PeerConfiguration) -> dict[str, Any]:
    """A configuration in words of segflow.

    Args:
        name: Of the configuration.
        peer: In the peer's words, checked.

    Returns:
        Plain data of a `Configuration`.

    Source: method.md section 6.9.
    """
    arguments = peer.architecture.arch_kwargs
    following = peer.next_stage
    return {
        "name": name,
        "data_identifier": peer.data_identifier,
        "spacing_mm": peer.spacing,
        "patch_shape": peer.patch_size,
        "median_shape": peer.median_image_size_in_voxels,
        "batch_size": peer.batch_size,
        "batch_dice": peer.batch_dice,
        "normalization": [_NORMALIZATIONS[scheme] for scheme in peer.normalization_schemes],
        "mask_normalization": peer.use_mask_for_norm,
        "resample_first": peer.preprocessor_name == PREPROCESSORS[True],
        "architecture": {
            "encoder": _ENCODERS[peer.architecture.network_class_name],
            "features": arguments.features_per_stage,
            "strides": arguments.strides,
            "kernels": arguments.kernel_sizes,
            "encoder_blocks": _encoder_blocks(peer),
            "decoder_blocks": arguments.n_conv_per_stage_decoder,
        },
        "previous_stage": next(iter(peer.previous_stage), None),
        "next_stage": following if len(following) > 1 else next(iter(following), None),
    }


def check_configuration(peer: PeerConfiguration, where: str) -> None:
    """Refuse a network whose stages do not fit together, and a patch that they do not divide.

    Args:
        peer: The configuration.
        where: File and name, for messages.

    Raises:
        PlanError: What does not fit, and for a patch the nearest sizes that do.

    Source: method.md sections 6.4, 6.9.
    """
    arguments = peer.architecture.arch_kwargs
    stages = {
        "features_per_stage": arguments.features_per_stage,
        "strides": arguments.strides,
        "kernel_sizes": arguments.kernel_sizes,
        BLOCKS[_ENCODERS[peer.architecture.network_class_name]]: _encoder_blocks(peer),
    }
    _check_lengths(stages, arguments.n_stages, f"n_stages is {arguments.n_stages}", where)
    decoder = {"n_conv_per_stage_decoder": arguments.n_conv_per_stage_decoder}
    _check_lengths(decoder, arguments.n_stages - 1, "it must have one fewer than there are stages", where)
    _check_axes(peer, where)
    _check_network(arguments, where)
    _check_patch(peer.patch_size, arguments.strides, where)


def _encoder_blocks(peer: PeerConfiguration) -> Counts:
    """Empty where the key of the other network is given."""
    key = BLOCKS[_ENCODERS[peer.architecture.network_class_name]]
    return getattr(peer.architecture.arch_kwargs, key) or ()


def _check_lengths(lists: Mapping[str, Sequence[Any]], expected: int, because: str, where: str) -> None:
    for key, entries in lists.items():
        if len(entries) != expected:
            raise PlanError(f"{where}: {key} has {len(entries)} entries, but {because}")


def _check_axes(peer: PeerConfiguration, where: str) -> None:
    axes, arguments = len(peer.patch_size), peer.architecture.arch_kwargs
    because = f"patch_size has {axes}"
    sizes = {"spacing": peer.spacing, "median_image_size_in_voxels": peer.median_image_size_in_voxels}
    _check_lengths(sizes, axes, because, where)
    for stride, kernel in zip(arguments.strides, arguments.kernel_sizes, strict=True):
        _check_lengths(
            {"a stage of strides": stride, "a stage of kernel_sizes": kernel}, axes, because, where
        )
    for key, value in (("conv_op", arguments.conv_op), ("norm_op", arguments.norm_op)):
        if not value.endswith(f"{axes}d"):
            raise PlanError(f"{where}: {key} is {value}, but {because} entries")


def _check_network(arguments: _Arguments, where: str) -> None:
    if any(step != 1 for step in arguments.strides[0]):
        raise PlanError(
            f"{where}: the first of strides must be 1 along every axis, as segflow's networks have it"
        )
    if any(edge % 2 == 0 for kernel in arguments.kernel_sizes for edge in kernel):
        raise PlanError(f"{where}: kernel_sizes must be odd, or the feature maps of a stage would not match")


def _check_patch(patch: Counts, strides: Sequence[Counts], where: str) -> None:
    for axis, edge in enumerate(patch):
        divisor = math.prod(stride[axis] for stride in strides)
        if edge % divisor:
            below = edge // divisor * divisor
            nearest = f"{below} and {below + divisor}" if below else f"{divisor}"
            raise PlanError(
                f"{where}: patch_size {edge} of axis {axis} is not divisible by {divisor}, the product of its "
                f"strides; the nearest sizes are {nearest}"
            )
