"""The peer's words in plans.json for what segflow has. Source: method.md section 6.9."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from segflow.contracts.plan import Normalization

__all__ = [
    "BLOCKS",
    "NETWORKS",
    "PREPROCESSORS",
    "RESAMPLING",
    "RESAMPLING_ARGUMENTS",
    "SCHEMES",
    "network_entry",
]

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
