"""nnU-Net's losses on the same tensors."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from peer_runs import read_json

from segflow.contracts.labels import Labels
from segflow.losses.compound import build_loss, deep_supervision_weights
from segflow.recipes.training import TrainingRecipe

pytestmark = pytest.mark.peer

TOLERANCE = 1e-6
CLASSES = (("background", 0), ("a", 1), ("b", 2), ("c", 3))
REGIONS = (("background", 0), ("all", (1, 2, 3)), ("core", (2, 3)), ("c", 3))
ORDER = (1, 2, 3)
SHAPES = ((12, 16, 8), (6, 8, 4), (3, 4, 2))
BATCH = 3


def labels_of(*, regions, ignore):
    entries = (*(REGIONS if regions else CLASSES), *([("ignore", 4)] if ignore else []))
    return Labels(entries, ORDER if regions else ())


def arrays_of(labels, scales, seed):
    """Logits and targets of random classes; a quarter is not annotated where that is possible."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for i, shape in enumerate(SHAPES[:scales]):
        size = (BATCH, labels.n_outputs, *shape)
        arrays[f"logits {i}"] = rng.standard_normal(size, dtype=np.float32) * 3
        truth = rng.integers(0, 4, (BATCH, *shape))
        ignored = rng.random(truth.shape) < 0.25 if labels.ignore is not None else np.zeros_like(truth, bool)
        if labels.has_regions:
            planes = [np.isin(truth, target) & ~ignored for target in labels.targets]
            planes += [ignored] if labels.ignore is not None else []
            arrays[f"target {i}"] = np.stack(planes, axis=1)
        else:
            arrays[f"target {i}"] = np.where(ignored, 4, truth).astype(np.int16)
    return arrays


MODES = {
    f"{'regions' if regions else 'classes'}{'-ignore' if ignore else ''}{'-batch_dice' if batch else ''}-{scales}": (
        regions,
        ignore,
        batch,
        scales,
    )
    for regions in (False, True)
    for ignore in (False, True)
    for batch in (False, True)
    for scales in (2, 3)
}


@pytest.fixture(scope="module")
def folder(peer, tmp_path_factory):
    """Tensors in files, and what nnU-Net says of them."""
    made = tmp_path_factory.mktemp("losses")
    jobs = []
    for seed, (name, (regions, ignore, batch, scales)) in enumerate(MODES.items()):
        labels = labels_of(regions=regions, ignore=ignore)
        np.savez(made / f"{name}.npz", **arrays_of(labels, scales, seed))
        jobs.append(
            {
                "name": name,
                "file": str(made / f"{name}.npz"),
                "regions": regions,
                "ignore": labels.ignore,
                "batch_dice": batch,
                "weights": deep_supervision_weights(scales),
            }
        )
    (made / "jobs.json").write_text(json.dumps(jobs))
    peer.run("peer_losses.py", made / "jobs.json", made / "losses.json", folder=made)
    return made


@pytest.mark.parametrize("name", MODES)
def test_same_loss(folder, name, note_difference):
    regions, ignore, batch, scales = MODES[name]
    labels = labels_of(regions=regions, ignore=ignore)
    with np.load(folder / f"{name}.npz") as arrays:
        logits, targets = (
            [torch.from_numpy(arrays[f"{kind} {i}"]) for i in range(scales)] for kind in ("logits", "target")
        )
    weights = deep_supervision_weights(scales)
    ours = float(build_loss(labels, TrainingRecipe(), weights, batch_dice=batch)(logits, targets))
    if regions and ignore:  # nnU-Net forgets to divide by the number of regions (method.md 25.13)
        ours += (len(labels.targets) - 1) * entropy(logits, targets, weights)
    theirs = read_json(folder / "losses.json")[name]
    note_difference(f"loss {name}", f"{abs(ours - theirs):.1e}")
    assert ours == pytest.approx(theirs, rel=TOLERANCE, abs=TOLERANCE)


def entropy(logits, targets, weights):
    """Mean binary cross-entropy over annotated voxels and regions, written out."""
    total = 0.0
    for weight, z, target in zip(weights, logits, targets, strict=True):
        truth, valid = target[:, :-1].double(), (~target[:, -1:]).double()
        p = torch.sigmoid(z.double())
        losses = -(truth * p.log() + (1 - truth) * (1 - p).log()) * valid
        total += weight * float(losses.sum() / (valid.sum() * z.shape[1]))
    return total
