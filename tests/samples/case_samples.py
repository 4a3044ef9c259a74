"""Small raw cases, and plans to prepare them with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from segflow.contracts.case import Geometry, RawCase
from segflow.contracts.fingerprint import IntensityProperties
from segflow.contracts.labels import Labels
from segflow.contracts.model import NetworkCard
from segflow.contracts.plan import Architecture, Configuration, Plan, Preparation


def labels_of(n: int) -> Labels:
    """Background and classes 1 to n."""
    return Labels((("background", 0), *((f"c{value}", value) for value in range(1, n + 1))))


CLASSES = labels_of(2)
IGNORE = Labels((*CLASSES.entries, ("ignore", 3)))
#: Two regions, the second within the first.
REGIONS = Labels((("background", 0), ("whole", (1, 2)), ("core", 2)), regions_class_order=(1, 2))
SPACINGS = st.tuples(*[st.floats(0.2, 8).map(lambda mm: round(mm, 2))] * 3)
INTENSITIES = IntensityProperties(
    max=90.0, mean=40.0, median=41.0, min=-5.0, percentile_00_5=1.0, percentile_99_5=80.0, std=20.0
)


def architecture_of(
    strides: Sequence[str],
    features: Sequence[int],
    *,
    encoder: str = "plain",
    kernels: Sequence[str] | None = None,
    blocks: int = 2,
) -> Architecture:
    """Strides and kernels as in ["111", "122"]; kernels of 3 by default."""
    n = len(strides)
    return Architecture(
        encoder=encoder,
        features=tuple(features),
        strides=tuple(tuple(map(int, stride)) for stride in strides),
        kernels=tuple(tuple(map(int, kernel)) for kernel in kernels or ["3" * len(strides[0])] * n),
        encoder_blocks=(blocks,) * n,
        decoder_blocks=(blocks,) * (n - 1),
    )


ARCHITECTURE = architecture_of(["111", "222"], (4, 8))


def geometry_of(shape: Sequence[int], spacing_mm: Sequence[float] = (1.0, 1.0, 1.0)) -> Geometry:
    return Geometry(
        shape=tuple(shape),
        spacing_mm=tuple(spacing_mm),
        file_dimensions=3,
        file_spacing_mm=tuple(spacing_mm)[::-1],
        origin_mm=(0.0, 0.0, 0.0),
        direction=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
    )


def raw_case(image, labels=None, spacing_mm=(1.0, 1.0, 1.0)) -> RawCase:
    """A case whose arrays cannot be written to."""
    image = np.array(image, np.float32)
    image.setflags(write=False)
    if labels is not None:
        labels = np.array(labels, np.int16)
        labels.setflags(write=False)
    return RawCase("one", image, labels, geometry_of(image.shape[1:], spacing_mm))


@st.composite
def raw_cases(draw) -> RawCase:
    """Labels 0 to 2 on non-zero voxels of an image that need not fill its array, of any shape, spacing and place."""
    shape = draw(st.tuples(*[st.integers(1, 10)] * 3))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    low = [draw(st.integers(0, size - 1)) for size in shape]
    inner = tuple(slice(start, draw(st.integers(start + 1, n))) for start, n in zip(low, shape, strict=True))
    image, labels = np.zeros((1, *shape)), np.zeros(shape, int)
    image[(0, *inner)] = rng.uniform(1, 9, image[(0, *inner)].shape)
    labels[inner] = rng.integers(0, 3, labels[inner].shape)
    return raw_case(image, labels, draw(SPACINGS))


def configuration_of(spacing_mm=(1.0, 1.0, 1.0), normalization=("none",), masked=None) -> Configuration:
    """Two entries of `spacing_mm` make it 2D. Nothing but spacing and normalisation matters here."""
    return Configuration(
        name="2d" if len(spacing_mm) == 2 else "3d_fullres",
        data_identifier="sample",
        spacing_mm=spacing_mm,
        patch_shape=(8,) * len(spacing_mm),
        median_shape=(8.0,) * len(spacing_mm),
        batch_size=2,
        batch_dice=False,
        normalization=normalization,
        mask_normalization=masked or (False,) * len(normalization),
        architecture=ARCHITECTURE,
    )


def plan_of(configuration: Configuration, order=(0, 1, 2)) -> Plan:
    inverse = tuple(int(axis) for axis in np.argsort(order))
    return Plan(
        dataset_name="sample",
        plans_name="nnUNetPlans",
        median_spacing_mm=(1.0, 1.0, 1.0),
        median_shape=(8, 8, 8),
        transpose_forward=order,
        transpose_backward=inverse,
        configurations={configuration.name: configuration},
        intensities={str(c): INTENSITIES for c in range(len(configuration.normalization))},
    )


def preparation_of(configuration: Configuration, order=(0, 1, 2)) -> Preparation:
    return plan_of(configuration, order).preparation(configuration.name)


#: What a small trained network says of itself.
CARD = NetworkCard(
    configuration=configuration_of(),
    input_channels=2,
    n_outputs=3,
    fold=1,
    seed=4,
    epochs=5,
    device="cpu",
)
