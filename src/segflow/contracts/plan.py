"""A plan: how a data set is prepared and which networks are trained on it. Source: method.md section 6.

The names of configurations.
Cross-validation folds. Source: method.md section 10.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

from pydantic import Field

from segflow.contracts.codec import Contract
from segflow.contracts.errors import ConfigurationError
from segflow.contracts.fingerprint import IntensityProperties

__all__ = [
    "CONFIGURATION_NAMES",
    "SAFE_NAME",
    "Architecture",
    "Configuration",
    "ConfigurationName",
    "Fold",
    "Normalization",
    "Plan",
    "Preparation",
    "fold_of",
    "in_order",
]

#: Names of files and folders are made of them; "+" joins those of a pair.
SAFE_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
#: One of those below, or of a plan that somebody has edited.
ConfigurationName = Annotated[str, Field(pattern=SAFE_NAME)]

#: Those the planner makes. Simpler first: ties in model selection go to the first.
CONFIGURATION_NAMES: tuple[str, ...] = ("2d", "3d_fullres", "3d_lowres", "3d_cascade_fullres")


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names of configurations without repetition: the planner's, simpler first, then others as they come."""
    given = dict.fromkeys(names)
    known = [name for name in CONFIGURATION_NAMES if name in given]
    return (*known, *(name for name in given if name not in CONFIGURATION_NAMES))


class Fold(Contract):
    """Identifiers of the cases a network is trained on and of those it never sees."""

    train: tuple[str, ...]
    val: tuple[str, ...]


Normalization = Literal["zscore", "ct", "none", "rescale_0_1", "rgb_0_1"]


class Architecture(Contract):
    """The shape of a U-Net; stages from full resolution to the bottleneck.

    Attributes:
        encoder: Plain convolutions or residual blocks.
        features: Feature maps per stage.
        strides: Per stage, per axis; the first is all 1.
        kernels: Per stage, per axis; odd.
        encoder_blocks: Convolutions (plain) or residual blocks per encoder stage.
        decoder_blocks: Convolutions per decoder stage; one entry fewer than stages.
    """

    encoder: Literal["plain", "residual"]
    features: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]
    kernels: tuple[tuple[int, ...], ...]
    encoder_blocks: tuple[int, ...]
    decoder_blocks: tuple[int, ...]

    @property
    def n_stages(self) -> int:
        """Resolutions, the bottleneck included."""
        return len(self.features)

    @property
    def dimensions(self) -> int:
        """2 or 3."""
        return len(self.strides[0])


class Configuration(Contract):
    """One of the U-Nets of a plan. All shapes and spacings are in transposed axis order.

    Attributes:
        name: "2d", "3d_fullres", "3d_lowres", "3d_cascade_fullres", or one that somebody has added.
        data_identifier: Name of the preprocessed data; configurations may share it.
        spacing_mm: Two entries in 2D, three in 3D.
        patch_shape: Voxels of a training patch, as many axes as `spacing_mm`.
        median_shape: Median image size at `spacing_mm`; may be x.5.
        batch_size: Patches per step.
        batch_dice: Dice summed over the batch rather than per patch.
        normalization: Per channel.
        mask_normalization: Per channel: statistics inside the non-zero mask only.
        resample_first: Images are resampled before they are normalised, rather than after.
        architecture: The network.
        previous_stage: Configuration whose output is this one's extra input (cascade).
        next_stage: Configuration that takes this one's output, or several.
    """

    name: str
    data_identifier: str
    spacing_mm: tuple[float, ...]
    patch_shape: tuple[int, ...]
    median_shape: tuple[float, ...]
    batch_size: int
    batch_dice: bool
    normalization: tuple[Normalization, ...]
    mask_normalization: tuple[bool, ...]
    resample_first: bool = False
    architecture: Architecture
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
        normalization: Per channel.
        mask_normalization: Per channel: statistics inside the non-zero mask only.
        resample_first: Images are resampled before they are normalised, rather than after.
        intensities: Per channel; None where the normalisation does not use the data set's intensities.
        transpose_forward: Raw axis of each transposed axis.
        transpose_backward: Its inverse.
    """

    spacing_mm: tuple[float, ...]
    normalization: tuple[Normalization, ...]
    mask_normalization: tuple[bool, ...]
    resample_first: bool = False
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
        dataset_name: For people.
        plans_name: The preset's name in the peer's vocabulary, such as "nnUNetPlans".
        planner: The peer's planner that makes such a plan, such as "ExperimentPlanner".
        image_reader_writer: The peer's reader of the data set's files; segflow does not use it.
        median_spacing_mm: Of the raw cases, transposed.
        median_shape: Of the cropped raw cases, transposed.
        transpose_forward: Raw axis of each transposed axis.
        transpose_backward: Its inverse.
        configurations: In the order 2d, 3d_lowres, 3d_fullres, 3d_cascade_fullres, or that of the file read.
        intensities: Of the fingerprint, keyed "0", "1", ...
    """

    dataset_name: str
    plans_name: str
    planner: str = "ExperimentPlanner"
    image_reader_writer: str = "SimpleITKIO"
    median_spacing_mm: tuple[float, float, float]
    median_shape: tuple[int, int, int]
    transpose_forward: tuple[int, int, int]
    transpose_backward: tuple[int, int, int]
    configurations: dict[str, Configuration]
    intensities: dict[str, IntensityProperties]

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
            intensities=tuple(
                self.intensities[str(channel)] if scheme == "ct" else None
                for channel, scheme in enumerate(configuration.normalization)
            ),
            transpose_forward=self.transpose_forward,
            transpose_backward=self.transpose_backward,
        )


def fold_of(folds: Sequence[Fold], number: int) -> Fold:
    """A fold by number.

    Raises:
        ConfigurationError: There are not so many.

    Source: method.md section 10.
    """
    if not 0 <= number < len(folds):
        raise ConfigurationError(f"there is no fold {number}; the folds are 0 to {len(folds) - 1}")
    return folds[number]
