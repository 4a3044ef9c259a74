"""Predicts with an ONNX file of segflow, by onnxruntime and NumPy alone.

    python predict_with_onnx.py MODEL.onnx IMAGE.npy Z_MM,Y_MM,X_MM LABELS.npy

The image is (c, z, y, x). Post-processing, pairs of configurations and cascades are left to the caller.
"""

import itertools
import json
import sys
from functools import reduce

import numpy as np
import onnxruntime

model, image_file, spacing, labels_file = sys.argv[1:]
session = onnxruntime.InferenceSession(model)
about = json.loads(session.get_modelmeta().custom_metadata_map["segflow"])
how, patch = about["preparation"], [1] * (3 - len(about["patch"])) + about["patch"]
assert not how["resample_first"] and about["previous_stage"] is None, "not for this model"


def matrix(old, new, order):  # resizes an axis by splines of order 1 or 3; edge voxels repeat
    def spline(x):
        one, two = np.clip(1 - np.abs(x), 0, None), np.clip(2 - np.abs(x), 0, None)
        return one if order == 1 else (two**3 - 4 * one**3) / 6

    at, knots = (np.arange(new) + 0.5) * old / new - 0.5, np.arange(-12, old + 12)
    values = np.linalg.solve(spline(np.subtract.outer(knots, knots)), np.eye(old)[np.clip(knots, 0, old - 1)])
    return np.eye(old) if old == new else spline(np.subtract.outer(at, knots)) @ values


def resize(volume, shape, mm, other_mm, order):  # along a coarse axis, the nearest slices
    s = next((s for s in (mm, other_mm) if how["separate_z"] and max(s) / min(s) > 3), [0, 0])
    coarse = s.index(max(s)) if s.count(max(s)) == 1 else None
    if coarse is not None:
        nearest = ((np.arange(shape[coarse]) + 0.5) * (volume.shape[coarse] / shape[coarse])).astype(int)
        volume = np.take(volume, nearest, coarse)
    rest = tuple(axis for axis in range(3) if axis != coarse)
    limits = volume.min(rest, keepdims=True), volume.max(rest, keepdims=True)
    for axis in rest:
        weights = matrix(volume.shape[axis], shape[axis], order)
        volume = np.moveaxis(np.tensordot(weights, volume, (1, axis)), 0, axis)
    return np.clip(volume, *limits)


def filled(mask):  # with the voxels that cannot be reached from the border
    mask, outside, before = np.pad(mask, 1), np.pad(np.zeros_like(mask), 1, constant_values=True), 0
    while before < (before := outside.sum()):
        outside |= ~mask & np.any([np.roll(outside, n, axis) for axis in range(3) for n in (1, -1)], axis=0)
    return ~outside[1:-1, 1:-1, 1:-1]


def normalised(c, scheme, inside, n):
    if scheme == "ZScoreNormalization":
        return np.where(inside, (c - c[inside].mean()) / max(c[inside].std(), 1e-8), c)
    if scheme == "CTNormalization":
        return (np.clip(c, n["percentile_00_5"], n["percentile_99_5"]) - n["mean"]) / max(n["std"], 1e-8)
    if scheme == "RescaleTo01Normalization":
        return (c - c.min()) / max(np.ptp(c), 1e-8)
    return c / 255 if scheme == "RGBTo01Normalization" else c


def bell(tile):  # how much the voxels of a tile count along an axis
    far, sigma = np.abs(np.arange(tile) - tile // 2), tile * about["gaussian_sigma"]
    return np.where(far > int(4 * sigma + 0.5), 0, np.exp(-((far / sigma) ** 2) / 2))


def starts(size, tile):  # of the tiles along an axis; of 2D networks every plane
    steps = size - 1 if tile == 1 else int(np.ceil((size - tile) / (tile * about["step"])))
    return np.rint(np.linspace(0, size - tile, steps + 1)).astype(int)


def network(tile):  # the mean over mirrored copies, (k, *patch)
    tile = tile.reshape(1, len(tile), *about["patch"])
    found = (np.flip(session.run(None, {"image": np.flip(tile, m)})[0], m) for m in about["mirrorings"])
    return (sum(found) / len(about["mirrorings"])).reshape(-1, *patch)


def scores_of(image):
    low = [max(0, tile - size) // 2 for tile, size in zip(patch, image.shape[1:])]
    high = [max(0, tile - size) - n for tile, size, n in zip(patch, image.shape[1:], low)]
    padded = np.pad(image, [(0, 0), *zip(low, high)]).astype(np.float32)
    weight = reduce(np.multiply.outer, map(bell, patch))
    weight = np.where(weight == 0, weight[weight > 0].min(), weight).astype(np.float32)
    total, norm = np.zeros((session.get_outputs()[0].shape[1], *padded.shape[1:]), np.float32), 0 * padded[0]
    for corner in itertools.product(*map(starts, padded.shape[1:], patch)):
        place = (slice(None), *(slice(start, start + tile) for start, tile in zip(corner, patch)))
        total[place] += network(padded[place]) * weight
        norm[place[1:]] += weight
    return (total / norm)[(slice(None), *(slice(n, n + size) for n, size in zip(low, image.shape[1:])))]


image = np.load(image_file).transpose(0, *(1 + axis for axis in how["transpose_forward"])).astype(float)
mm = [float(spacing.split(",")[axis]) for axis in how["transpose_forward"]]
nonzero = (image != 0).any(axis=0)
box = tuple(slice(hits.min(), hits.max() + 1) for hits in nonzero.nonzero())
inside = filled(nonzero[box])
new_mm = [*mm[: 3 - len(how["spacing_mm"])], *how["spacing_mm"]]
shape = [max(1, round(old / new * size)) for old, new, size in zip(mm, new_mm, inside.shape)]
schemes = zip(image[(slice(None), *box)], how["normalization"], how["mask_normalization"], how["intensities"])
channels = [normalised(c, scheme, inside if masked else inside | True, n) for c, scheme, masked, n in schemes]
scores = scores_of(np.stack([resize(channel, shape, mm, new_mm, 3) for channel in channels]))
scores = np.stack([resize(score, inside.shape, new_mm, mm, 1) for score in scores])
found = scores.argmax(axis=0)
if "regions_class_order" in about:
    found[...] = 0
    for value, score in zip(about["regions_class_order"], scores):
        found[score > (0 if about["scores"] == "logits" else 0.5)] = value
labels = np.zeros(nonzero.shape, np.uint16)
labels[box] = found
np.save(labels_file, labels.transpose(how["transpose_backward"]))
