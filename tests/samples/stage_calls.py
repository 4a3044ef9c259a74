"""Calls of stages as the workflow makes them, on a small data set; see `project` in conftest.py."""

from __future__ import annotations

import json

import numpy as np
import SimpleITK as sitk

from segflow.commands.main import main

TINY = [
    "training.epochs=2", "training.iterations=100", "training.validation_iterations=1",
    "training.base_width=4", 'training.batch_size={"2d":2}',
]  # fmt: skip


def call(*words):
    assert main([str(word) for word in words]) == 0


def in_this_process(work, cases, *, workers, if_died=None):
    """In place of `map_cases`: here a test can watch."""
    return map(work, cases)


def without(file, value):
    """Take one value out of an image or label map."""
    image = sitk.ReadImage(str(file))
    array = sitk.GetArrayFromImage(image)
    changed = sitk.GetImageFromArray(np.where(array == value, 0, array))
    changed.CopyInformation(image)
    sitk.WriteImage(changed, str(file))


def contents(folder):
    """Of all files below a folder, by path."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def cases_in(file):
    return json.loads(file.read_text())["cases"]


def plan_words(folder):
    return [
        "plan", "--dataset", folder / "data" / "dataset.json", "--fingerprint", folder / "fingerprint.json",
        "--no-forecast", "--output", folder / "plans.json",
    ]  # fmt: skip


def preprocess_words(folder, *, of="2d", check=True, workers=1):
    given = ["--check", folder / "check.json"] if check else []
    return [
        "preprocess", folder / "data", "--preparation", folder / "preparation" / f"{of}.json",
        "--output", folder / of, "--manifest", folder / of / "manifest" / "chunk_0.json",
        "--workers", workers, *given,
    ]  # fmt: skip


def prepare(folder, of, **options):
    """All cases for a configuration, in one chunk."""
    call(*preprocess_words(folder, of=of, **options))
    manifest = folder / of / "manifest" / "chunk_0.json"
    call("manifest", "--chunks", manifest, "--output", folder / of / "prepared.json")
    return manifest


def train_words(folder, name, *settings, of="2d", fold=0):
    words = [
        "train", "--dataset", folder / "data" / "dataset.json", "--network", folder / "network" / f"{of}.json",
        "--folds", folder / "folds.json", "--fold", fold, "--prepared", folder / of / "prepared.json",
        "--output", folder / name / "model.pt", "--history", folder / name / "training.csv",
        "--work", folder / name / "work", "--device", "cpu", "--threads", 1, "--workers", 0,
        "--settings", *TINY, *settings,
    ]  # fmt: skip
    return [str(word) for word in words]
