"""A tiny problem that trains in a second: a bright box in noise, with a second class on top."""

import io
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from case_samples import architecture_of

from segflow.contracts.case import TrainingCase
from segflow.contracts.errors import DatasetError
from segflow.contracts.labels import Labels
from segflow.contracts.plan import Configuration, Fold
from segflow.recipes.training import AugmentationRecipe, TrainingRecipe
from segflow.training.job import TrainingJob

#: For other processes, whose path it must be put on.
SAMPLES = Path(__file__).parent


class Reader:
    """Makes cases "0", "1", ... from their numbers."""

    def read(self, identifier):
        if not identifier.isdigit():
            raise DatasetError(f"no case '{identifier}'")
        rng = np.random.default_rng(int(identifier))
        z, y, x = rng.integers(2, 6, size=3)
        labels = np.zeros((14, 20, 18), np.int16)
        labels[z : z + 6, y : y + 9, x : x + 8] = 1
        labels[z : z + 2, y : y + 9, x : x + 8] = 2
        image = (rng.normal(size=labels.shape) + 2 * labels).astype(np.float32)[None]
        image.setflags(write=False)
        labels.setflags(write=False)
        locations = {value: np.argwhere(labels == value) for value in (1, 2)}
        return TrainingCase(image, labels, locations, previous_stage=labels)


class NaNReader(Reader):
    """No voxel of its images is a number."""

    def read(self, identifier):
        case = super().read(identifier)
        return replace(case, image=np.full_like(case.image, np.nan))


class Store:
    """Keeps the state as the bytes a file would hold, loaded as plain tensors only."""

    def __init__(self):
        self.content = None
        self.n_saved = 0

    def load(self):
        if self.content is None:
            return None
        return torch.load(io.BytesIO(self.content), weights_only=True)

    def save(self, state):
        buffer = io.BytesIO()
        torch.save(state, buffer)
        self.content = buffer.getvalue()
        self.n_saved += 1


class Bar:
    """Counts steps, remembers the last note, and can interrupt."""

    def __init__(self, interrupt_at=None):
        self.steps = 0
        self.note = ""
        self._interrupt_at = interrupt_at

    def advance(self, steps=1, *, note=""):
        self.steps += steps
        self.note = note
        if self.steps == self._interrupt_at:
            raise KeyboardInterrupt


class StopAfter:
    """Requests a stop from the given step on."""

    def __init__(self, step):
        self.step = step
        self.asked = 0

    def __call__(self):
        self.asked += 1
        return self.asked >= self.step


def kill_parent(script, n_children, *, folder):
    """Run a script, kill it when its children have printed their ids, and see them end within seconds.

    One that nobody waits for may stay a zombie.
    """
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(SAMPLES)!r})\n{script}"]
    environment = {**os.environ, "TMPDIR": str(folder)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        children = [parent.stdout.readline().strip() for _ in range(n_children)]
        parent.kill()
    assert all(children)
    deadline = time.monotonic() + 10
    while True:
        command = ["ps", "-o", "stat=", "-p", ",".join(children)]
        states = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
        if all(state.startswith("Z") for state in states):
            return
        assert time.monotonic() < deadline
        time.sleep(0.05)


def make_job(dimensions=3, *, workers=0, recipe=None, fold=None, seed=1, labels=None, **configuration):
    d = dimensions
    values = {
        "name": f"{d}d",
        "data_identifier": "x",
        "spacing_mm": (1.0,) * d,
        "patch_shape": (8, 16, 12)[-d:],
        "median_shape": (14.0, 20.0, 18.0)[-d:],
        "batch_size": 2,
        "batch_dice": d == 2,
        "normalization": ("zscore",),
        "mask_normalization": (False,),
        "architecture": architecture_of(["1" * d, "2" * d, "2" * d], (4, 8, 16)),
    }
    training = {"epochs": 4, "iterations": 3, "validation_iterations": 2} | (recipe or {})
    return TrainingJob(
        configuration=Configuration(**values).model_copy(update=configuration),
        labels=labels or Labels((("background", 0), ("a", 1), ("b", 2))),
        channels=1,
        fold=fold or Fold(train=("1", "2", "3"), val=("4",)),
        training=TrainingRecipe().model_copy(update=training),
        augmentation=AugmentationRecipe(),
        device="cpu",
        seed=seed,
        workers=workers,
    )
