"""nnU-Net's losses on the same tensors."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from segflow.contracts.labels import Labels
from segflow.losses.compound import build_loss, deep_supervision_weights
from segflow.recipes.training import TrainingRecipe

pytestmark = pytest.mark.peer

TOLERANCE = 1e-6
CLASSES = (("background", 0), ("a", 1), ("b", 2), ("c", 3))
REGIONS = (("background", 0), ("all", (1, 2, 3)), ("core", (2, 3)), ("c", 3))
SHAPES = ((12, 16, 8), (6, 8, 4), (3, 4, 2))
BATCH = 3
#: Regions rather than classes, an ignore label, Dice over the batch, number of resolutions.
MODES = list(product((False, True), (False, True), (False, True), (2, 3)))


def labels_of(*, regions, ignore):
    entries = (*(REGIONS if regions else CLASSES), *([("ignore", 4)] if ignore else []))
    return Labels(entries, (1, 2, 3) if regions else ())


def arrays_of(labels, scales, seed):
    """Logits and targets of random classes; a quarter is not annotated if there is an ignore label."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for i, shape in enumerate(SHAPES[:scales]):
        size = (BATCH, labels.n_outputs, *shape)
        arrays[f"logits {i}"] = rng.standard_normal(size, dtype=np.float32) * 3
        truth = rng.integers(0, 4, (BATCH, *shape))
        ignored = rng.random(truth.shape) < 0.25 if labels.ignore is not None else np.zeros_like(truth, bool)
        if labels.has_regions:
            planes = [np.isin(truth, target) & ~ignored for target in labels.targets]
            arrays[f"target {i}"] = np.stack(planes + [ignored] * (labels.ignore is not None), axis=1)
        else:
            arrays[f"target {i}"] = np.where(ignored, 4, truth).astype(np.int16)
    return arrays


@pytest.fixture(scope="module")
def losses(nnunet, tmp_path_factory):
    """Arrays and nnU-Net's loss of them, by mode."""
    folder, found, jobs = tmp_path_factory.mktemp("losses"), [], []
    for seed, (regions, ignore, batch, scales) in enumerate(MODES):
        labels = labels_of(regions=regions, ignore=ignore)
        found.append(arrays_of(labels, scales, seed))
        np.savez(folder / f"{seed}.npz", **found[-1])
        weights = deep_supervision_weights(scales)
        job = {"arrays": folder / f"{seed}.npz", "weights": weights, "regions": regions}
        jobs.append({**job, "ignore": labels.ignore, "batch_dice": batch})
    theirs = nnunet.call("nnunet_networks.losses", folder, jobs=jobs)
    return dict(zip(MODES, zip(found, theirs, strict=True), strict=True))


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_same_loss(losses, mode, note_difference):
    (regions, ignore, batch, scales), (arrays, theirs) = mode, losses[mode]
    labels, weights = labels_of(regions=regions, ignore=ignore), deep_supervision_weights(scales)
    logits, targets = (
        [torch.from_numpy(arrays[f"{kind} {i}"]) for i in range(scales)] for kind in ("logits", "target")
    )
    ours = float(build_loss(labels, TrainingRecipe(), weights, batch_dice=batch)(logits, targets))
    if regions and ignore:  # nnU-Net does not divide by the number of regions (method.md 25.13)
        ours += (len(labels.targets) - 1) * entropy(logits, targets, weights)
    note_difference(f"loss {mode}", f"{abs(ours - theirs):.1e}")
    assert ours == pytest.approx(theirs, rel=TOLERANCE, abs=TOLERANCE)


def entropy(logits, targets, weights):
    """Mean binary cross-entropy over annotated voxels and regions, written out."""
    total = 0.0
    for weight, z, target in zip(weights, logits, targets, strict=True):
        truth, valid = target[:, :-1].double(), (~target[:, -1:]).double()
        p = torch.sigmoid(z.double())
        costs = -(truth * p.log() + (1 - truth) * (1 - p).log()) * valid
        total += weight * float(costs.sum() / (valid.sum() * z.shape[1]))
    return total
