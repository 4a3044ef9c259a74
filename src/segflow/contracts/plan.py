"""A plan: how a data set is prepared and which networks are trained on it; the folds of its cross-validation.

A plan is written as nnU-Net's plans.json, whose keys are the aliases of the fields. `segflow.nnunet.plans` reads and
writes such files.

Source: method.md sections 6.9, 10.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    AliasPath,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    model_serializer,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from segflow.contracts.codec import Amount, Contract, Count
from segflow.contracts.errors import ConfigurationError
from segflow.contracts.fingerprint import IntensityProperties
from segflow.contracts.spelling import nfc

__all__ = [
    "BLOCKS",
    "CONFIGURATION_NAMES",
    "N_FOLDS",
    "SAFE_NAME",
    "Architecture",
    "Axes",
    "Configuration",
    "ConfigurationName",
    "Counts",
    "Encoder",
    "Fold",
    "FoldName",
    "LabelInterpolation",
    "Normalization",
    "Plan",
    "PlanName",
    "Preparation",
    "fold_of",
    "in_order",
]

#: Files and folders are named after configurations; "+" joins the names of a pair.
SAFE_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
#: One of those below, or one that somebody has added to a plan.
ConfigurationName = Annotated[str, Field(pattern=SAFE_NAME)]
PlanName = ConfigurationName

#: The planner's configurations, simpler first: ties in model selection go to the first.
CONFIGURATION_NAMES: tuple[str, ...] = ("2d", "3d_fullres", "3d_lowres", "3d_cascade_fullres")


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names of configurations without repetition: the planner's, simpler first, then others as given."""
    given = dict.fromkeys(names)
    known = [name for name in CONFIGURATION_NAMES if name in given]
    return (*known, *(name for name in given if name not in CONFIGURATION_NAMES))


#: Of a cross-validation, unless a data set has a splits_final.json. Source: method.md section 10.
N_FOLDS = 5


Identifier = Annotated[str, AfterValidator(nfc)]


class Fold(Contract):
    """Identifiers of the cases a network is trained on, and of those held out."""

    train: tuple[Identifier, ...]
    val: tuple[Identifier, ...]


#: The number of a fold, or that of all cases: a network trained on every one, with none held out.
FoldName = int | Literal["all"]


class _Named:
    """Annotation for values that nnU-Net has names for: writes these names, and reads both names and values."""

    def __init__(self, names: Mapping[Any, str]) -> None:
        self._names = names
        self._values = {name: value for value, name in names.items()}

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(
            self._value,
            handler(source),
            serialization=core_schema.plain_serializer_function_ser_schema(self._names.__getitem__),
        )

    def _value(self, given: Any) -> Any:
        if not isinstance(given, str) or given in self._names:
            return given
        if given not in self._values:
            names = " or ".join(f'"{name}"' for name in self._values)
            raise PydanticCustomError("unsupported", "segflow has {names} only", {"names": names})
        return self._values[given]


Encoder = Literal["plain", "residual"]
_NETWORKS: dict[Encoder, str] = {
    "plain": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
    "residual": "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet",
}
#: nnU-Net's key of the blocks per stage of the encoder.
BLOCKS: dict[Encoder, str] = {"plain": "n_conv_per_stage", "residual": "n_blocks_per_stage"}

Normalization = Annotated[
    Literal["zscore", "ct", "none", "rescale_0_1", "rgb_0_1"],
    _Named(
        {
            "zscore": "ZScoreNormalization",
            "ct": "CTNormalization",
            "none": "NoNormalization",
            "rescale_0_1": "RescaleTo01Normalization",
            "rgb_0_1": "RGBTo01Normalization",
        }
    ),
]
#: Whether images are resampled before they are normalised. nnU-Net refuses the second name.
ResampleFirst = Annotated[bool, _Named({False: "DefaultPreprocessor", True: "ResampleFirstPreprocessor"})]

#: How label maps are resampled: by linear interpolation of each label's indicator, or by the nearest voxel.
LabelInterpolation = Literal["linear", "nearest"]

Counts = tuple[Count, ...]
Blocks = tuple[Annotated[int, Field(ge=1, le=1000)], ...]
Axes = Annotated[Counts, Field(min_length=2, max_length=3)]
Lengths = Annotated[tuple[Amount, ...], Field(min_length=2, max_length=3)]


def _argument(*keys: str) -> Any:
    """A field whose value is in "arch_kwargs" of plans.json, under one of the keys."""
    return Field(validation_alias=AliasChoices(*(AliasPath("arch_kwargs", key) for key in keys)))


class Architecture(Contract):
    """The shape of a U-Net; stages from full resolution to the bottleneck.

    Attributes:
        encoder: Plain convolutions or residual blocks.
        features: Feature maps per stage.
        strides: Per stage, per axis; the first is all 1.
        kernels: Per stage, per axis; odd.
        encoder_blocks: Convolutions (plain) or residual blocks per encoder stage.
        decoder_blocks: Convolutions per decoder stage; one entry fewer than stages.
        norm_affine: Normalisations scale and shift by learned parameters.
        upsampling_bias: Transposed convolutions have biases.
        head_bias: Segmentation heads have biases.
        heads: How many of the finest resolutions have a segmentation head; None for all but the bottleneck.

    nnU-Net has no network for other values of the last three, and refuses their keys in plans.json.
    """

    model_config = ConfigDict(extra="ignore")  # segflow.nnunet.plans checks the other keys of plans.json

    encoder: Annotated[Encoder, _Named(_NETWORKS), Field(validation_alias="network_class_name")]
    features: Annotated[Counts, _argument("features_per_stage")]
    strides: Annotated[tuple[Axes, ...], Field(min_length=1), _argument("strides")]
    kernels: Annotated[tuple[Axes, ...], _argument("kernel_sizes")]
    encoder_blocks: Annotated[Blocks, _argument(*BLOCKS.values())]
    decoder_blocks: Annotated[Blocks, _argument("n_conv_per_stage_decoder")]
    norm_affine: Annotated[
        bool, Field(validation_alias=AliasPath("arch_kwargs", "norm_op_kwargs", "affine"))
    ] = True
    upsampling_bias: Annotated[bool, _argument("upsampling_bias")] = True
    head_bias: Annotated[bool, _argument("head_bias")] = True
    heads: Annotated[Count | None, _argument("n_heads")] = None

    @property
    def n_stages(self) -> int:
        """Resolutions, the bottleneck included."""
        return len(self.features)

    @property
    def n_outputs(self) -> int:
        """Resolutions that the network can give logits of, from full resolution on."""
        return min(self.n_stages - 1, self.heads or self.n_stages)

    @property
    def dimensions(self) -> int:
        """2 or 3."""
        return len(self.strides[0])

    @model_serializer
    def _entry(self) -> dict[str, Any]:
        """The entry "architecture" of plans.json, from which nnU-Net builds the network."""
        return {
            "network_class_name": _NETWORKS[self.encoder],
            "arch_kwargs": {
                "n_stages": self.n_stages,
                "features_per_stage": list(self.features),
                "conv_op": f"torch.nn.modules.conv.Conv{self.dimensions}d",
                "kernel_sizes": [list(kernel) for kernel in self.kernels],
                "strides": [list(stride) for stride in self.strides],
                BLOCKS[self.encoder]: list(self.encoder_blocks),
                "n_conv_per_stage_decoder": list(self.decoder_blocks),
                "conv_bias": True,
                "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{self.dimensions}d",
                "norm_op_kwargs": {"eps": 1e-05, "affine": self.norm_affine},
                "dropout_op": None,
                "dropout_op_kwargs": None,
                "nonlin": "torch.nn.LeakyReLU",
                "nonlin_kwargs": {"inplace": True},
                **({} if self.upsampling_bias else {"upsampling_bias": False}),
                **({} if self.head_bias else {"head_bias": False}),
                **({} if self.heads is None else {"n_heads": self.heads}),
            },
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        }


class Configuration(Contract):
    """One of the U-Nets of a plan. All shapes and spacings are in transposed axis order.

    Attributes:
        name: "2d", "3d_fullres", "3d_lowres", "3d_cascade_fullres", or one that somebody has added.
        data_identifier: Name of the preprocessed data; configurations may share it.
        resample_first: Images are resampled before they are normalised, rather than after.
        batch_size: Patches per step.
        patch_shape: Voxels of a training patch; two entries in 2D, three in 3D.
        median_shape: Median image size at `spacing_mm`; may be x.5.
        mask_normalization: Per channel: statistics inside the non-zero mask only.
        label_interpolation: How label maps are resampled.
        separate_z: Anisotropic images are resampled slice by slice. The file has both of these as arguments of its
            resampling functions, which `segflow.nnunet.plans` understands.
        batch_dice: Dice summed over the batch rather than per patch.
        previous_stage: Configuration whose output is this one's extra input (cascade).
        next_stage: Configuration that takes this one's output, or several.
    """

    name: str
    data_identifier: str
    resample_first: Annotated[ResampleFirst, Field(alias="preprocessor_name")] = False
    batch_size: Count
    patch_shape: Annotated[Axes, Field(alias="patch_size")]
    median_shape: Annotated[Lengths, Field(alias="median_image_size_in_voxels")]
    spacing_mm: Annotated[Lengths, Field(alias="spacing")]
    normalization: Annotated[tuple[Normalization, ...], Field(alias="normalization_schemes")]
    mask_normalization: Annotated[tuple[bool, ...], Field(alias="use_mask_for_norm")]
    label_interpolation: LabelInterpolation = "linear"
    separate_z: bool = True
    architecture: Architecture
    batch_dice: bool
    previous_stage: str | None = None
    next_stage: str | tuple[str, ...] | None = None

    @property
    def dimensions(self) -> int:
        """2 or 3."""
        return len(self.patch_shape)


class Preparation(Contract):
    """What decides the prepared cases of a configuration, and what undoes it. Equal preparations, equal cases.

    Attributes:
        spacing_mm: Target spacing, transposed; two entries in 2D, three in 3D.
        normalization, mask_normalization, resample_first, label_interpolation, separate_z: As of the configuration.
        intensities: Per channel; None where the normalisation does not use the data set's intensities.
        transpose_forward: Raw axis of each transposed axis.
        transpose_backward: Its inverse.
    """

    spacing_mm: tuple[float, ...]
    normalization: tuple[Normalization, ...]
    mask_normalization: tuple[bool, ...]
    resample_first: bool = False
    label_interpolation: LabelInterpolation = "linear"
    separate_z: bool = True
    intensities: tuple[IntensityProperties | None, ...]
    transpose_forward: tuple[int, int, int]
    transpose_backward: tuple[int, int, int]

    @property
    def dimensions(self) -> int:
        """2 or 3."""
        return len(self.spacing_mm)


class Plan(Contract):
    """All configurations of a data set and what they share.

    Attributes:
        plans_name: nnU-Net's name of the preset, such as "nnUNetPlans".
        median_spacing_mm: Of the raw cases, transposed.
        median_shape: Of the cropped raw cases, transposed.
        image_reader_writer, label_manager: Classes of nnU-Net, which segflow does not use.
        transpose_forward: Raw axis of each transposed axis.
        transpose_backward: Its inverse.
        configurations: In the order 2d, 3d_lowres, 3d_fullres, 3d_cascade_fullres, or that of the file read.
        planner: nnU-Net's planner that makes such a plan.
        intensities: Of the fingerprint, keyed "0", "1", ...
    """

    dataset_name: str
    plans_name: str
    median_spacing_mm: Annotated[
        tuple[float, float, float], Field(alias="original_median_spacing_after_transp")
    ]
    median_shape: Annotated[tuple[int, int, int], Field(alias="original_median_shape_after_transp")]
    image_reader_writer: str = "SimpleITKIO"
    transpose_forward: tuple[int, int, int]
    transpose_backward: tuple[int, int, int]
    configurations: Annotated[dict[ConfigurationName, Configuration], Field(min_length=1)]
    planner: Annotated[str, Field(alias="experiment_planner_used")] = "ExperimentPlanner"
    label_manager: Literal["LabelManager"] = "LabelManager"
    intensities: Annotated[
        dict[str, IntensityProperties], Field(alias="foreground_intensity_properties_per_channel")
    ]

    def configuration(self, name: str) -> Configuration:
        """A configuration by name.

        Raises:
            ConfigurationError: The plan has none of that name.
        """
        if name not in self.configurations:
            raise ConfigurationError(
                f"the plan for {self.dataset_name} has no configuration '{name}'; "
                f"it has {', '.join(self.configurations)}"
            )
        return self.configurations[name]

    def preparation(self, name: str) -> Preparation:
        """How the cases of a configuration are prepared; the name as for `configuration`.

        Source: method.md section 9.1.
        """
        configuration = self.configuration(name)
        return Preparation(
            spacing_mm=configuration.spacing_mm,
            normalization=configuration.normalization,
            mask_normalization=configuration.mask_normalization,
            resample_first=configuration.resample_first,
            label_interpolation=configuration.label_interpolation,
            separate_z=configuration.separate_z,
            intensities=tuple(
                self.intensities[str(channel)] if scheme == "ct" else None
                for channel, scheme in enumerate(configuration.normalization)
            ),
            transpose_forward=self.transpose_forward,
            transpose_backward=self.transpose_backward,
        )


def fold_of(folds: Sequence[Fold], number: FoldName) -> Fold:
    """A fold by number; "all" trains on all their cases and holds none out.

    Raises:
        ConfigurationError: There are fewer.

    Source: method.md section 10; nnU-Net's fold "all" is also scored on its training cases (section 25, number 18).
    """
    if number == "all":
        cases = {case for fold in folds for case in (*fold.train, *fold.val)}
        return Fold(train=tuple(sorted(cases)), val=())
    if not 0 <= number < len(folds):
        raise ConfigurationError(f"there is no fold {number}; the folds are 0 to {len(folds) - 1}")
    return folds[number]
