"""The whole selection in one call, and verb by verb."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from score_calls import read
from stage_calls import call

from segflow.images.cases import write_labels
from segflow.images.dataset import read_description
from segflow.nnunet.folds import read_folds
from segflow.nnunet.parts import read_preparation
from segflow.prediction.restore import assemble
from segflow.storage.cases import CaseStore
from segflow.storage.probabilities import write_probabilities
from segflow.volumes.labelmaps import pick_labels


@pytest.fixture
def predicted(ready):
    """Predictions of two configurations on two folds, noisy ones with a speck far away."""
    generator = np.random.default_rng(0)
    _, labels = read_description(ready / "data" / "dataset.json")
    preparation = read_preparation(ready / "preparation" / "2d.json")
    store = CaseStore(ready / "2d")
    for name in ("2d", "3d_fullres"):
        for number, fold in enumerate(read_folds(ready / "folds.json")[:2]):
            folder = ready / "predictions" / name / f"fold_{number}"
            for case in fold.val:
                record = store.record(case)
                (z, z_end), (y, y_end), (x, x_end) = record.crop_box
                truth = read(ready / "data" / "labelsTr" / f"{case}.nii.gz")
                cut = truth.transpose(preparation.transpose_forward)[z:z_end, y:y_end, x:x_end]
                scores = np.stack([cut == value for value in labels.values]).astype(np.float32)
                scores += generator.uniform(0, 1.02, scores.shape).astype(np.float32)
                scores /= scores.sum(axis=0)
                picked = pick_labels(scores, labels, are_probabilities=True)
                found = assemble([picked], record, preparation, labels)
                write_labels(folder / f"{case}.nii.gz", found, record.geometry)
                file = folder / "probabilities" / f"{case}.npz"
                with write_probabilities(file, record, preparation, n_outputs=len(scores)) as keep:
                    keep(scores)
    return ready


def test_all_in_one_go_is_one_by_one(predicted, capsys):
    data = ["--dataset", predicted / "data" / "dataset.json"]
    pairs = [
        "--folds", predicted / "folds.json", "--preparation", predicted / "preparation" / "2d.json",
        "--prepared", predicted / "2d" / "prepared.json",
    ]  # fmt: skip
    call(
        "find-best",
        predicted,
        *data,
        *pairs,
        "--workers",
        2,
        "--settings",
        "selection.prefer_single_within=0.001",
    )
    said = capsys.readouterr().err
    assert "2d+3d_fullres" in said
    results = [
        "selection.json", "postprocessing.json", "final/manifest.json", "final/summary.json",
        *(f"evaluation/{name}/summary.json" for name in ("2d", "3d_fullres", "2d+3d_fullres")),
        *(f"predictions/2d+3d_fullres/fold_{fold}/manifest.json" for fold in range(2)),
    ]  # fmt: skip
    found = {name: (predicted / name).read_text() for name in results}
    assert json.loads(found["selection.json"])["prefer_single_within"] == 0.001
    assert json.loads(found["postprocessing.json"])["steps"]
    for name in results:
        (predicted / name).unlink()

    folders = [predicted / "predictions" / name for name in ("2d", "3d_fullres", "2d+3d_fullres")]
    for fold in range(2):
        call(
            "ensemble", *data, *pairs, "--fold", fold, "--members", *(f / f"fold_{fold}" for f in folders[:2]),
            "--output", folders[2] / f"fold_{fold}", "--manifest", folders[2] / f"fold_{fold}" / "manifest.json",
        )  # fmt: skip
    summaries = [predicted / "evaluation" / folder.name / "summary.json" for folder in folders]
    for folder, summary in zip(folders, summaries, strict=True):
        parts = [folder / f"fold_{fold}" for fold in range(2)]
        call("evaluate", "--predictions", *parts, *data, "--output", summary, "--workers", 1)
    chosen = predicted / "selection.json"
    settings = ["--settings", "selection.prefer_single_within=0.001"]
    call("select", "--candidates", *summaries, "--output", chosen, *settings)
    call("postprocess-search", "--selection", chosen, *data, "--output", predicted / "postprocessing.json")
    final = predicted / "final"
    call(
        "postprocess", "--postprocessing", predicted / "postprocessing.json", *data,
        "--selection", predicted / "selection.json", "--predictions", predicted / "predictions",
        "--folds", 0, 1, "--output", final, "--manifest", final / "manifest.json", "--workers", 1,
    )  # fmt: skip
    call("evaluate", "--predictions", final, *data, "--output", final / "summary.json", "--workers", 1)
    assert {name: (predicted / name).read_text() for name in results} == found


def test_single_ones_need_no_probabilities(predicted):
    shutil.rmtree(predicted / "predictions" / "2d" / "fold_0" / "probabilities")
    call("find-best", predicted, "--dataset", predicted / "data" / "dataset.json", "--workers", 1)
    found = json.loads((predicted / "selection.json").read_text())
    assert [candidate["name"] for candidate in found["candidates"]] == ["2d", "3d_fullres"]
    assert (predicted / "final" / "summary.json").exists()


@pytest.mark.parametrize(
    ("damage", "others", "said"),
    [
        ("predictions", [], "holds no predictions"),
        ("predictions/3d_fullres/fold_1", [], "3d_fullres has predictions of folds [0], 2d of [0, 1]"),
        (None, ["--folds", "folds.json"], "pairs need --preparation"),
    ],
)
def test_what_find_best_needs(damage, others, said, predicted, refused, monkeypatch):
    monkeypatch.chdir(predicted)
    monkeypatch.setenv("COLUMNS", "300")
    if damage:
        shutil.rmtree(predicted / damage)
    assert said in refused("find-best", ".", "--dataset", "data/dataset.json", "--workers", "1", *others)
    assert not (predicted / "selection.json").exists()


def test_a_pair_that_cannot_be_made_is_said(predicted, refused):
    (predicted / "predictions" / "2d" / "fold_1" / "probabilities").rename(predicted / "elsewhere")
    words = [
        "find-best", predicted, "--dataset", predicted / "data" / "dataset.json",
        "--folds", predicted / "folds.json", "--preparation", predicted / "preparation" / "2d.json",
        "--prepared", predicted / "2d" / "prepared.json", "--workers", 2,
    ]  # fmt: skip
    assert "predict this fold again with probabilities" in refused(*words)
