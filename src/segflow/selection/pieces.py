"""A predicted label map cut into pieces that no operation ever divides, with their sizes and overlaps.

A piece is a connected set of voxels of one label. An operation takes or gives whole pieces: it removes components of a
union of labels, and such a component is made of pieces that touch; or it fills background that a target encloses, and
that is made of pieces as well. So after the volume was read once, any sequence of operations is arithmetic on a table
of its pieces, exact for targets that overlap, too.


What a post-processing operation does to a label map.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segflow.contracts.arrays import LabelMap, SpacingMm
from segflow.contracts.errors import PredictionError
from segflow.contracts.labels import Labels
from segflow.contracts.scores import Operation
from segflow.volumes.components import fill_enclosed, keep_largest, remove_small, voxel_mm3
from segflow.volumes.crop import bounding_box

__all__ = [
    "Pieces",
    "apply",
    "connected",
    "cut",
]

#: A pair of neighbouring voxels' pieces, (n, 2).
_Pairs = NDArray[np.int64]
_NO_PAIRS = np.zeros((0, 2), dtype=np.int64)
#: Voxels looked at in one go, so that a large scan needs little more than its own memory.
_SLAB_VOXELS = 2**21


@dataclass(frozen=True)
class Pieces:
    """One case.

    Attributes:
        labels: Label value of each piece before any operation; number of labels for values that `Labels` does not know.
        voxels: Size of each piece.
        overlaps: (piece, reference label): annotated voxels.
        elsewhere: Annotated voxels per reference label that are in no piece; there the prediction is background.
        touching: Pairs of pieces that share a face, an edge or a corner.
        adjoining: Pairs of pieces that share a face; empty unless holes were asked for.
        outside: Whether a piece reaches the rim of the foreground's box, beyond which there is background only.
        voxel_mm3: Volume of a voxel.
    """

    labels: NDArray[np.int64]
    voxels: NDArray[np.int64]
    overlaps: NDArray[np.int64]
    elsewhere: NDArray[np.int64]
    touching: _Pairs
    adjoining: _Pairs
    outside: NDArray[np.bool_]
    voxel_mm3: float


def cut(
    prediction: LabelMap, reference: LabelMap, labels: Labels, spacing_mm: SpacingMm, *, holes: bool = False
) -> Pieces:
    """Cut a prediction into pieces and count how they overlap with the reference.

    Args:
        prediction: Original space, (z, y, x).
        reference: The same shape.
        labels: Their vocabulary.
        spacing_mm: Along z, y, x.
        holes: Whether holes will be asked for; then background is cut as well.

    Returns:
        The pieces.

    Raises:
        PredictionError: The shapes differ.
    """
    if prediction.shape != reference.shape:
        raise PredictionError(
            f"prediction and reference differ in shape: {prediction.shape} and {reference.shape}"
        )
    n = len(labels.values)
    box = _foreground_box(prediction)
    whole = sum(_reference_voxels(reference[slab], labels) for slab in _slabs(reference))
    numbers, values = _number(_known(prediction[box], n), n, holes=holes)
    overlaps = _overlaps(numbers, reference[box], labels, len(values))
    flat = [size == 1 for size in prediction.shape]
    return Pieces(
        labels=values,
        voxels=_voxels(numbers, len(values)),
        overlaps=overlaps,
        elsewhere=whole - overlaps.sum(axis=0),
        touching=_pairs(numbers, faces_only=False) if len(set(values)) > 1 else _NO_PAIRS,
        adjoining=_pairs(numbers, faces_only=True) if holes else _NO_PAIRS,
        outside=_outside(numbers, flat, len(values)),
        voxel_mm3=voxel_mm3(prediction.shape, spacing_mm),
    )


def connected(pairs: _Pairs, n: int) -> NDArray[np.int64]:
    """Connected components of a graph.

    Args:
        pairs: Edges, (m, 2).
        n: Nodes.

    Returns:
        For each node the least node that can be reached from it, (n,).

    Source: ours (hooking and pointer jumping, Shiloach and Vishkin 1982).
    """
    root = np.arange(n, dtype=np.int64)
    while True:
        one, other = root[pairs[:, 0]], root[pairs[:, 1]]
        apart = one != other
        if not apart.any():
            return root
        low, high = np.minimum(one, other)[apart], np.maximum(one, other)[apart]
        np.minimum.at(root, high, low)
        while (root != (further := root[root])).any():
            root = further


def _foreground_box(label_map: LabelMap) -> tuple[slice, ...]:
    """The smallest box with all foreground; components and holes do not change when cut to it."""
    mask = label_map != 0
    if not mask.any():
        return (slice(0, 0),) * label_map.ndim
    return tuple(slice(start, stop) for start, stop in bounding_box(mask))


def _known(values: LabelMap, n: int) -> LabelMap:
    """Label values; those that are not in the vocabulary as `n`, which no operation touches."""
    return np.where((values >= 0) & (values < n), values, n)


def _slabs(array: NDArray[Any], overlap: int = 0) -> Iterator[slice]:
    """Parts of the first axis, each with so many layers of the next one."""
    layers = max(1, _SLAB_VOXELS // max(1, array[:1].size))
    for start in range(0, len(array), layers):
        yield slice(start, start + layers + overlap)


def _number(known: LabelMap, n: int, *, holes: bool) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The piece of each voxel, from 1 (0: none), and the label of each piece."""
    numbers = np.zeros(known.shape, dtype=np.int32)
    values: list[int] = []
    structure = ndimage.generate_binary_structure(known.ndim, 1 if holes else known.ndim)
    boxes = ndimage.find_objects(known + 1, n + 1)
    for value in range(0 if holes else 1, n + 1):
        box = boxes[value]
        if box is None:
            continue
        inside = known[box] == value
        found, count = ndimage.label(inside, structure=structure)
        found += np.int32(len(values))
        np.copyto(numbers[box], found, where=inside)
        values += [value] * count
    return numbers, np.array(values, dtype=np.int64)


def _voxels(numbers: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    """Size of each piece."""
    total = np.zeros(count + 1, dtype=np.int64)
    for slab in _slabs(numbers):
        total += np.bincount(numbers[slab].ravel(), minlength=count + 1)
    return total[1:]


def _overlaps(
    numbers: NDArray[np.int32], reference: LabelMap, labels: Labels, count: int
) -> NDArray[np.int64]:
    n = len(labels.values)
    total = np.zeros(count * n, dtype=np.int64)
    for slab in _slabs(numbers):
        counted = numbers[slab] > 0
        if labels.ignore is not None:
            counted &= reference[slab] != labels.ignore
        pieces = numbers[slab][counted].astype(np.int64) - 1
        total += np.bincount(pieces * n + _truth(reference[slab][counted], labels), minlength=count * n)
    return total.reshape(count, n)


def _reference_voxels(reference: LabelMap, labels: Labels) -> NDArray[np.int64]:
    """Annotated voxels of each label; most are background."""
    n = len(labels.values)
    some = _truth(reference[reference != 0], labels)
    ignored = 0 if labels.ignore is None else int(np.count_nonzero(reference == labels.ignore))
    total = np.bincount(some, minlength=n)
    total[0] += reference.size - ignored - some.size
    return total


def _truth(reference: LabelMap, labels: Labels) -> LabelMap:
    """Annotated voxels' label values; those that are not in the vocabulary count as background."""
    if labels.ignore is not None:
        reference = reference[reference != labels.ignore]
    known = (reference >= 0) & (reference < len(labels.values))
    return reference if known.all() else np.where(known, reference, 0)


def _pairs(numbers: NDArray[np.int32], *, faces_only: bool) -> _Pairs:
    """Each pair of different pieces with neighbouring voxels, once."""
    found = [np.zeros(0, dtype=np.int64)]
    total = int(numbers.max(initial=0)) + 1
    for slab in _slabs(numbers, overlap=1):
        padded = np.pad(numbers[slab], 1)
        flat = padded.ravel()
        places = np.flatnonzero(flat)
        own = flat[places]
        for step in _steps(numbers.ndim, faces_only=faces_only):
            other = flat[places + np.dot(step, padded.strides) // padded.itemsize]
            differ = (other != own) & (other != 0)
            one, two = own[differ].astype(np.int64), other[differ].astype(np.int64)
            found.append(np.unique(np.minimum(one, two) * total + np.maximum(one, two)))
    codes = np.unique(np.concatenate(found))
    return np.stack([codes // total, codes % total], axis=1) - 1


def _steps(axes: int, *, faces_only: bool) -> Iterator[tuple[int, ...]]:
    """From a voxel to its neighbours. Of opposite directions one is enough."""
    for step in product((-1, 0, 1), repeat=axes):
        if step > (0,) * axes and (np.count_nonzero(step) == 1 or not faces_only):
            yield step


def _outside(numbers: NDArray[np.int32], flat: list[bool], count: int) -> NDArray[np.bool_]:
    """Pieces in the first or last layer along an axis; an axis along which the image is flat has none."""
    reaches = np.zeros(count + 1, dtype=np.bool_)
    for axis, is_flat in enumerate(flat):
        if not is_flat and numbers.size:
            for layer in (0, -1):
                reaches[np.take(numbers, layer, axis=axis).ravel()] = True
    return reaches[1:]


#: Every operation by name. The contract sees to it that an operation has the values that its rule needs.
_RULES: dict[str, Callable[[LabelMap, Operation, SpacingMm], LabelMap]] = {
    "keep_largest": lambda found, o, _: keep_largest(found, o.labels),
    "remove_small": lambda found, o, mm: remove_small(found, o.labels, o.min_volume_mm3 or 0, mm),
    "fill_holes": lambda found, o, _: fill_enclosed(found, o.labels, o.fill or 0),
}


def apply(operations: Iterable[Operation], label_map: LabelMap, *, spacing_mm: SpacingMm) -> LabelMap:
    """Apply operations one after the other.

    Args:
        operations: In order; none leaves the label map as it is.
        label_map: Original space, (z, y, x).
        spacing_mm: Along z, y, x.

    Returns:
        The label map of the same shape and type; `label_map` itself if there are no operations.

    Source: method.md section 23; removal by volume and filling are ours.

    """
    for operation in operations:
        label_map = _RULES[operation.name](label_map, operation, spacing_mm)
    return label_map
