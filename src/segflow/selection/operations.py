"""Post-processing operations, on a label map and on a table of its pieces.

A piece is a connected set of voxels of one predicted label. Every operation changes whole pieces: a component of
several labels is made of pieces that touch, and so is the background that a target encloses. So each volume is read
only once, and any sequence of operations is arithmetic on its table, exact also where targets overlap.

Source: method.md section 23; removal by volume and filling holes are not in nnU-Net.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segflow.contracts.arrays import LabelMap, SpacingMm
from segflow.contracts.labels import Labels
from segflow.contracts.scores import Operation
from segflow.metrics.overlap import confusion_matrix, count_pairs
from segflow.volumes.components import fill_enclosed, keep_largest, remove_small, voxel_mm3
from segflow.volumes.crop import bounding_slices

__all__ = ["Pieces", "Values", "apply", "confusion", "connected", "cut", "relabelled"]

#: Label value of each piece.
Values = NDArray[np.int64]
#: A pair of neighbouring voxels' pieces, (n, 2).
_Pairs = NDArray[np.int64]
_NO_PAIRS = np.zeros((0, 2), dtype=np.int64)
#: Voxels processed at a time, so that a large scan needs little more than its own memory.
_SLAB_VOXELS = 2**21


def apply(operations: Iterable[Operation], label_map: LabelMap, *, spacing_mm: SpacingMm) -> LabelMap:
    """Apply operations in order to a label map (z, y, x) in original space; returns it unchanged if there are none."""
    for o in operations:
        if o.name == "keep_largest":
            label_map = keep_largest(label_map, o.labels)
        elif o.name == "remove_small":
            label_map = remove_small(label_map, o.labels, o.min_volume_mm3 or 0, spacing_mm)
        else:
            label_map = fill_enclosed(label_map, o.labels, o.fill or 0)
    return label_map


@dataclass(frozen=True)
class Pieces:
    """The pieces of one case's prediction.

    Attributes:
        labels: Label value of each piece before any operation; values that `Labels` does not name become one more.
        voxels: Size of each piece.
        overlaps: (piece, reference label): annotated voxels.
        elsewhere: Annotated voxels per reference label that are in no piece; there the prediction is background.
        touching: Pairs of pieces that share a face, an edge or a corner.
        adjoining: Pairs of pieces that share a face; empty without `holes`.
        outside: Whether a piece reaches the rim of the foreground's box, beyond which there is background only.
        voxel_mm3: Volume of a voxel.
    """

    labels: Values
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
    """Divide a prediction (z, y, x) in original space into pieces, and count how they overlap with the reference.

    With `holes`, the background is divided as well, which `fill_holes` needs.

    Raises:
        PredictionError: The shapes differ.
    """
    n = len(labels.values)
    annotated = confusion_matrix(reference, prediction, labels).sum(axis=1)
    box = bounding_slices(prediction != 0)  # components and holes do not change when cut to it
    found = prediction[box]
    numbers, values = _number(np.where((found >= 0) & (found < n), found, n), n, holes=holes)
    overlaps = count_pairs(reference[box], numbers, labels, len(values) + 1)[:, 1:]
    flat = [size == 1 for size in prediction.shape]
    return Pieces(
        labels=values,
        voxels=_voxels(numbers, len(values)),
        overlaps=np.ascontiguousarray(overlaps.T),
        elsewhere=annotated - overlaps.sum(axis=1),
        touching=_pairs(numbers, faces_only=False) if len(set(values)) > 1 else _NO_PAIRS,
        adjoining=_pairs(numbers, faces_only=True) if holes else _NO_PAIRS,
        outside=_outside(numbers, flat, len(values)),
        voxel_mm3=voxel_mm3(prediction.shape, spacing_mm),
    )


def relabelled(pieces: Pieces, values: Values, operation: Operation) -> Values:
    """The pieces' labels after an operation, from those before it; the same as `apply` on the label map."""
    inside = np.isin(values, operation.labels)
    if operation.name == "fill_holes":
        enclosed = _enclosed(pieces, ~inside)
        return np.where(enclosed & (values == 0), operation.fill or 0, values)
    sizes = _component_voxels(pieces, inside)
    if operation.name == "keep_largest":
        too_small = sizes < sizes[inside].max(initial=0)
    else:
        too_small = sizes * pieces.voxel_mm3 < (operation.min_volume_mm3 or 0)
    return np.where(inside & too_small, 0, values)


def confusion(pieces: Pieces, values: Values, labels: Labels) -> NDArray[np.int64]:
    """The confusion matrix of a label map whose pieces have these values (`segflow.metrics.overlap`)."""
    n = len(labels.values)
    table = np.zeros((n, n), dtype=np.int64)
    shown = np.where(values < n, values, 0)
    np.add.at(table.T, shown, pieces.overlaps)
    table[:, 0] += pieces.elsewhere
    return table


def connected(pairs: _Pairs, n: int) -> NDArray[np.int64]:
    """The component of each of n nodes of a graph: the least node that edges, (m, 2), lead to from it, (n,).

    Source: hooking and pointer jumping, Shiloach and Vishkin 1982. For the small graphs of most cases it takes a tenth
    of the time of `scipy.sparse.csgraph.connected_components`.
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


def _enclosed(pieces: Pieces, free: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Free pieces that no path of faces through free pieces joins to the rim."""
    roots = _roots(pieces.adjoining, free)
    enclosed: NDArray[np.bool_] = free & ~np.isin(roots, roots[free & pieces.outside])
    return enclosed


def _component_voxels(pieces: Pieces, inside: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Size of the component that each piece is a part of."""
    roots = _roots(pieces.touching, inside)
    total = np.bincount(roots, weights=pieces.voxels).astype(np.int64)
    return total[roots]


def _roots(pairs: _Pairs, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The component of each piece, with only the pairs of chosen pieces connected."""
    return connected(pairs[chosen[pairs].all(axis=1)], len(chosen))


def _slabs(array: NDArray[Any], overlap: int = 0) -> Iterator[slice]:
    """Slices of the first axis; `overlap` layers of the next slice belong to each as well."""
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
