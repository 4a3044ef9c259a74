"""Out-of-fold prediction as the workflow calls it, and interrupted."""

from __future__ import annotations

import json
import re

import numpy as np
import torch
from stage_calls import call, cases_in, train_words

from segflow.commands import predict_fold
from segflow.commands.main import main
from segflow.prediction import sliding_window


def predict_words(folder, *more):
    words = [
        "predict-fold", "--dataset", folder / "data" / "dataset.json",
        "--preparation", folder / "preparation" / "2d.json", "--folds", folder / "folds.json", "--fold", 0,
        "--prepared", folder / "2d" / "prepared.json", "--model", folder / "out" / "model.pt",
        "--output", folder / "fold_0", "--manifest", folder / "fold_0" / "manifest.json",
        "--device", "cpu", "--threads", 1, "--settings", "inference.mirroring=false", *more,
    ]  # fmt: skip
    return [str(word) for word in words]


def test_memory_that_does_not_suffice_leaves_no_half_of_a_case(ready, monkeypatch, refused):
    call(*train_words(ready, "out", "training.iterations=1", "training.epochs=1"))

    def scores(window, batch, n_tiles):
        if batch[0][0].start > 5:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return original(window, batch, n_tiles)

    original = sliding_window._Window._scores
    monkeypatch.setattr(sliding_window._Window, "_scores", scores)
    monkeypatch.setattr(sliding_window, "BATCH_VOXELS", 1)
    said = refused(*predict_words(ready), "--save-probabilities")
    assert re.search(r"case phantom_00\d: an image of [\dx ]+ voxels does not fit into the memory of", said)
    assert not [file for file in (ready / "fold_0").rglob("*") if file.is_file()]
    monkeypatch.undo()
    call(*predict_words(ready), "--save-probabilities")


def test_an_interrupted_prediction_goes_on(ready, monkeypatch):
    call(*train_words(ready, "out", "training.iterations=1", "training.epochs=1"))
    folds = json.loads((ready / "folds.json").read_text())
    everyone = [case for part in folds[0].values() for case in part]
    (ready / "folds.json").write_text(json.dumps([{"train": [], "val": sorted(everyone)}]))
    written = []
    original = predict_fold.write_labels

    def spy(file, *arguments):
        if len(written) == stop_after:
            raise KeyboardInterrupt
        written.append(file.name)
        original(file, *arguments)

    monkeypatch.setattr(predict_fold, "write_labels", spy)
    stop_after = 2
    assert main(predict_words(ready)) == 130
    assert (ready / "fold_0" / "unfinished").exists()
    stop_after = None
    call(*predict_words(ready))
    assert written == [f"phantom_00{number}.nii.gz" for number in range(5)]
    assert list(cases_in(ready / "fold_0" / "manifest.json")) == [
        f"phantom_00{number}" for number in range(5)
    ]
    assert not (ready / "fold_0" / "unfinished").exists()
    stop_after = 5 + 2
    assert main(predict_words(ready)) == 130
    stop_after = None
    call(*predict_words(ready, "inference.step=1"))  # another way to predict: nothing is taken over
    assert len(written) == 5 + 2 + 5


def test_a_recipe_s_average_and_axes_reach_the_prediction(ready):
    call(*train_words(ready, "out", "training.iterations=1", "training.epochs=1"))
    found = []
    for word in ("inference.average=logits", "inference.average=probabilities", 'inference.mirroring=["x"]'):
        call(*predict_words(ready, word), "--save-probabilities")
        (file,) = sorted((ready / "fold_0" / "probabilities").glob("*.npz"))[:1]
        with np.load(file) as content:
            found.append(np.concatenate([np.ravel(content[name]) for name in content.files]))
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not np.array_equal(found[one], found[other])
