"""All transforms of a batch in one pass on a device, where `pipeline` works patch by patch on the CPU.

A worker collects what was read and drawn; the device does the rest. It never has to wait for the host, or the host for
it: which patches and channels a transform is for is known beforehand, and statistics of images stay on the device.

From the same draws both make the same batch, except for rounding; on a GPU, noise is another one, as its generator is.
Source: method.md section 13.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from segflow.augmentation import intensity
from segflow.augmentation.elastic import coarse_displacements
from segflow.augmentation.pipeline import (
    UNCHANGED,
    AugmentationDraw,
    Patch,
    Settings,
    previous_channels,
    source_centre,
)
from segflow.augmentation.separable import apply_to_each, gaussian_matrix, resolution_matrix
from segflow.augmentation.spatial import (
    EDGE,
    OUTSIDE,
    centred_lines,
    corner_weights,
    corners_of,
    matrix_of,
    most_likely,
)
from segflow.augmentation.targets import make_targets

__all__ = ["Pending", "augment_batch", "collect"]

#: Voxels whose labels are interpolated at a time: some 100 MB.
_AT_ONCE: Final = 2**20

#: Tensors by the transform that they are for.
Parameters = Mapping[str, Sequence[Tensor]]


@dataclass(frozen=True, kw_only=True)
class Pending:
    """What is to be done to collected patches, apart from numbers that the device needs.

    Attributes:
        settings: Of the training.
        boxes: What was read of each patch, in voxels.
        moved: The patches that are rotated, scaled or deformed.
        noise: The patches that get noise, and how much.
        zero_outside: Per image channel: 0 outside the non-zero mask.
        layout: The names and shapes of the parameters, in their order.
    """

    settings: Settings
    boxes: tuple[tuple[int, ...], ...]
    moved: tuple[int, ...]
    noise: tuple[tuple[int, intensity.Noise], ...]
    zero_outside: tuple[bool, ...]
    layout: tuple[tuple[str, tuple[torch.Size, ...]], ...]


def collect(
    patches: Sequence[Patch], draws: Sequence[AugmentationDraw | None], settings: Settings
) -> tuple[Pending, NDArray[np.float32], tuple[NDArray[np.generic], ...]]:
    """Put what was read and drawn into few arrays, as fit to be sent and copied.

    Args:
        patches: The `needed_box` of each, or the patch itself where nothing was drawn.
        draws: None for patches to be left as they are, for validation.
        settings: Of the training.

    Returns:
        What is to be done; the images, flat and one after another; and, flat as well, the labels and the parameters.
        Of a cascade also the channels of the previous stage (b, foreground labels, *patch), finished.
    """
    drawn = [draw or UNCHANGED for draw in draws]
    moved = tuple(p for p, draw in enumerate(drawn) if draw.spatial.fires)
    boxes = tuple(tuple(patch.labels.shape) for patch in patches)
    parameters = {
        **_of_moves([drawn[p] for p in moved], [boxes[p] for p in moved], settings),
        **_of_changes(drawn, settings),
        **_of_mirrors(drawn, settings),
    }
    numbers = [part.reshape(-1) for parts in parameters.values() for part in parts]
    arrays = [
        torch.cat([patch.labels.reshape(-1) for patch in patches]),
        torch.cat([torch.empty(0), *numbers]),
    ]
    channels = [
        previous_channels(patch.previous, draw, settings)
        for patch, draw in zip(patches, drawn, strict=True)
        if patch.previous is not None
    ]
    if channels:
        arrays.append(torch.stack(channels).byte())
    pending = Pending(
        settings=settings,
        boxes=boxes,
        moved=moved,
        noise=tuple(_changes(drawn, intensity.add_noise_)),
        zero_outside=settings.zero_outside if all(draws) else (),
        layout=tuple((name, tuple(part.shape for part in parts)) for name, parts in parameters.items()),
    )
    image = torch.cat([patch.image.reshape(-1) for patch in patches])
    return pending, image.numpy(), tuple(array.numpy() for array in arrays)


def augment_batch(pending: Pending, image: Tensor, arrays: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Apply all transforms, on the device of the tensors.

    Args:
        pending: What to do.
        image: As of `collect`.
        arrays: As of `collect`.

    Returns:
        Images (b, c, *patch), float32, and targets as of `make_targets`, with an axis for the patches before all.
    """
    settings = pending.settings
    flat_labels, numbers, *previous = arrays
    parameters = _unpacked(pending.layout, numbers)
    image, labels = _move(pending, image, flat_labels, parameters)
    for patch, noise in pending.noise:
        intensity.add_noise_(image[patch], noise)
    channels = image.flatten(0, 1)
    for name, change in _CHANGES.items():
        if name in parameters:
            rows, *values = parameters[name]
            chosen = channels.index_select(0, rows.long())
            change.apply_(chosen, *values)
            channels.index_copy_(0, rows.long(), chosen)
    for axis, mirrored in enumerate(parameters["mirror"], start=-len(settings.patch_shape)):
        image, labels = (
            torch.where(_fit(mirrored > 0, array), array.flip(axis), array) for array in (image, labels)
        )
    for channel, zero in enumerate(pending.zero_outside):
        if zero:
            image[:, channel].masked_fill_(labels < 0, 0)
    if previous:
        image = torch.cat((image, previous[0].float()), dim=1)
    return image, make_targets(labels, settings.labels, shapes=settings.target_shapes)


def _unpacked(layout: Iterable[tuple[str, tuple[torch.Size, ...]]], numbers: Tensor) -> Parameters:
    sizes = [shape.numel() for _, shapes in layout for shape in shapes]
    parts = iter(torch.split(numbers, sizes))
    return {name: [next(parts).view(shape) for shape in shapes] for name, shapes in layout}


def _fit(values: Tensor, like: Tensor) -> Tensor:
    """One value (n,) per patch, to be broadcast against (n, ...)."""
    return values.view(-1, *[1] * (like.ndim - 1))


class _Change(NamedTuple):
    """A change of some channels of a batch, (n, *patch), in place."""

    single: Callable[[Tensor, Any], None]  # the same for one image
    parameters: Callable[[Any, Settings], list[Tensor]]  # of one channel, from what was drawn for it
    apply_: Callable[..., object]  # given the channels, and the parameters of all


def _factor(drawn: float, _settings: Settings) -> list[Tensor]:
    return [torch.tensor([drawn])]


def _blur(drawn: Sequence[float], settings: Settings) -> list[Tensor]:
    return [gaussian_matrix(n, sigma) for n, sigma in zip(settings.patch_shape, drawn, strict=True)]


def _resolution(drawn: float, settings: Settings) -> list[Tensor]:
    k, shape = settings.n_fixed_axes, settings.patch_shape
    kept = [*shape[:k], *(intensity.n_kept(n, drawn) for n in shape[k:])]
    return [resolution_matrix(n, n_small) for n, n_small in zip(shape, kept, strict=True)]


def _filter_(channels: Tensor, *matrices: Tensor) -> None:
    channels.copy_(apply_to_each(channels, matrices))


def _in_rows(change_: Callable[..., object], channels: Tensor, values: Tensor) -> None:
    change_(channels.flatten(1), values)


_CHANGES: Final = {
    "blur": _Change(intensity.blur_, _blur, _filter_),
    "brightness": _Change(intensity.change_brightness_, _factor, partial(_in_rows, Tensor.mul_)),
    "contrast": _Change(intensity.change_contrast_, _factor, partial(_in_rows, intensity.stretch_rows_)),
    "resolution": _Change(intensity.lower_resolution_, _resolution, _filter_),
    "inverted gamma": _Change(
        intensity.bend_gamma_inverted_,
        _factor,
        partial(_in_rows, partial(intensity.bend_rows_, inverted=True)),
    ),
    "gamma": _Change(intensity.bend_gamma_, _factor, partial(_in_rows, intensity.bend_rows_)),
}


def _changes(
    draws: Sequence[AugmentationDraw], single: Callable[[Tensor, Any], None]
) -> list[tuple[int, Any]]:
    """The patches that a change was drawn for, and what was drawn."""
    return [(p, value) for p, draw in enumerate(draws) for change, value in draw.changes if change is single]


def _of_changes(draws: Sequence[AugmentationDraw], settings: Settings) -> dict[str, list[Tensor]]:
    """Per change the chosen channels, counted through all patches, and its parameters."""
    parameters = {}
    for name, change in _CHANGES.items():
        chosen = {
            patch * len(settings.zero_outside) + channel: change.parameters(value, settings)
            for patch, drawn in _changes(draws, change.single)
            for channel, value in enumerate(drawn[1] if name == "resolution" else drawn)
            if value is not None
        }
        if chosen:
            stacked = [torch.stack(parts) for parts in zip(*chosen.values(), strict=True)]
            parameters[name] = [torch.tensor(list(chosen)).float(), *stacked]
    return parameters


def _of_mirrors(draws: Sequence[AugmentationDraw], settings: Settings) -> dict[str, list[Tensor]]:
    """Per axis, 1 for the patches that are mirrored."""
    axes = range(len(settings.patch_shape)) if any(draw.mirror_axes for draw in draws) else ()
    return {"mirror": [torch.tensor([float(axis in draw.mirror_axes) for draw in draws]) for axis in axes]}


def _of_moves(
    draws: Sequence[AugmentationDraw], boxes: Sequence[Sequence[int]], settings: Settings
) -> dict[str, list[Tensor]]:
    """Of the patches that are moved: matrices (n, d, d), centres (n, d) and the last positions of labels (n, d).

    Those that are deformed are counted among them; with their nodes, filled up with nodes of no weight.
    """
    if not draws:
        return {}
    plane = settings.patch_shape[settings.n_fixed_axes :]
    d = len(plane)
    matrices = np.stack([matrix_of(draw.spatial, d) for draw in draws])
    centres = [source_centre(draw, settings) for draw in draws]
    limits = [[n + 1 - EDGE for n in box[-d:]] for box in boxes]  # as in `transform_labels`
    move = [torch.from_numpy(matrices).float(), torch.tensor(centres), torch.tensor(limits)]
    elastic = {row: e for row, draw in enumerate(draws) if (e := draw.spatial.elastic) is not None}
    if not elastic:
        return {"move": move}
    nodes, splines = zip(*(coarse_displacements(draw, plane) for draw in elastic.values()), strict=True)
    filled = [_stacked(parts, 0) for parts in zip(*splines, strict=True)]
    return {"move": move, "elastic": [torch.tensor(list(elastic)).float(), _stacked(nodes, 0), *filled]}


def _stacked(parts: Sequence[Tensor], fill: int, margin: int = 0) -> Tensor:
    """Arrays of several shapes in one, (n, *largest): with a margin about all axes but the first, and filled up."""
    first, *largest = (max(sizes) for sizes in zip(*(part.shape for part in parts), strict=True))
    stacked = parts[0].new_full((len(parts), first, *(n + 2 * margin for n in largest)), fill)
    for row, part in zip(stacked, parts, strict=True):
        row[(slice(len(part)), *(slice(margin, margin + n) for n in part.shape[1:]))] = part
    return stacked


def _move(pending: Pending, images: Tensor, labels: Tensor, parameters: Parameters) -> tuple[Tensor, Tensor]:
    """Rotate, scale and deform: images (b, c, *patch) and labels (b, *patch); other patches are just copied."""
    settings = pending.settings
    shape, k = settings.patch_shape, settings.n_fixed_axes
    sizes = [math.prod(box) for box in pending.boxes]
    n_channels = len(images) // sum(sizes)
    image_parts = torch.split(images, [n_channels * size for size in sizes])
    label_parts = torch.split(labels, sizes)
    image = images.new_empty(len(sizes), n_channels, *shape)
    label_map = labels.new_empty(len(sizes), *shape)
    for p in set(range(len(sizes))) - set(pending.moved):
        image[p], label_map[p] = image_parts[p].view(n_channels, *shape), label_parts[p].view(shape)
    if not pending.moved:
        return image, label_map
    planes = {p: pending.boxes[p][k:] for p in pending.moved}  # axes before them are folded into the channels
    padded = _stacked([image_parts[p].view(-1, *plane) for p, plane in planes.items()], 0)
    positions = _positions(parameters, shape[k:])
    moved = _sampled(padded, positions)
    bordered = _stacked([label_parts[p].view(-1, *plane) for p, plane in planes.items()], OUTSIDE, margin=1)
    chosen = _labels_at(bordered, positions, parameters["move"][2])
    for row, p in enumerate(pending.moved):
        image[p], label_map[p] = moved[row].view(n_channels, *shape), chosen[row].view(shape)
    return image, label_map


def _positions(parameters: Parameters, plane: Sequence[int]) -> list[Tensor]:
    """Per source axis, where the voxels of each patch are sampled: (n, *plane), counted from a margin of one voxel."""
    matrix, centre, _ = parameters["move"]
    d = len(plane)
    lines = centred_lines(plane, matrix.device)
    if "elastic" in parameters:
        rows, nodes, *splines = parameters["elastic"]
        field = apply_to_each(nodes.flatten(0, 1), [spline.repeat_interleave(d, 0) for spline in splines])
        moved = field.new_zeros(len(matrix), d, *plane).index_copy_(0, rows.long(), field.view(-1, d, *plane))
        lines = [line + moved[:, axis] for axis, line in enumerate(lines)]
    positions = []
    for row in range(d):
        factors = [matrix[:, row, axis].view(-1, *[1] * d) for axis in range(d)]
        q = lines[0] * factors[0] + (centre[:, row] + 1).view(-1, *[1] * d)
        for line, factor in zip(lines[1:], factors[1:], strict=True):
            q = q + line * factor
        positions.append(q)
    return positions


def _sampled(images: Tensor, positions: Sequence[Tensor]) -> Tensor:
    """Images (n, layers, *source), without a margin, interpolated linearly; 0 outside."""
    scaled = [q * (2 / n) - (1 / n + 1) for q, n in zip(positions, images.shape[2:], strict=True)]
    grid = torch.stack(scaled[::-1], dim=-1)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _labels_at(labels: Tensor, positions: Sequence[Tensor], limits: Tensor) -> Tensor:
    """As `transform_labels`, of labels (n, layers, *source) with a margin, at positions up to the limits (n, d)."""
    n, layers = labels.shape[:2]
    inside = [
        torch.minimum(q.clamp(min=0), _fit(limit, q)).view(n, 1, -1)
        for q, limit in zip(positions, limits.unbind(1), strict=True)
    ]
    flat = labels.flatten(0, 1)
    layer = torch.arange(n * layers, device=labels.device).view(n, layers, 1)
    found = []
    step = max(1, _AT_ONCE // (n * layers))
    for part in zip(*(torch.split(q, step, dim=-1) for q in inside), strict=True):
        expanded = (n, layers, part[0].shape[-1])
        floors = [q.int() for q in part]
        corners = corners_of(
            flat,
            layer.expand(expanded).reshape(-1),
            [floor.expand(expanded).reshape(-1) for floor in floors],
        )
        weights = corner_weights(
            [(q - floor).expand(expanded).reshape(-1) for q, floor in zip(part, floors, strict=True)]
        )
        found.append(most_likely(corners, weights).view(expanded))
    return torch.cat(found, dim=-1)
