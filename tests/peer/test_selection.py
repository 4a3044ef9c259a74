"""The same label maps in both programs: same scores, same post-processing, same choice of the model.

Where a class occurs in no case, the peer's foreground mean is NaN, and nothing can rise above it (method.md section 25,
number 4). There the two differ as docs/explanation/differences.md says.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from peer_label_maps import PLANS, SETS, corrupted, write_maps
from scipy import ndimage
from stage_calls import call

from segflow.contracts.labels import Labels
from segflow.images.read import read_labels
from segflow.prediction.averaging import average
from segflow.volumes.labelmaps import pick_labels

pytestmark = pytest.mark.peer

#: A class that neither program finds in any case.
POISONED = {"absent_everywhere", "extremes"}
NAMES = [pytest.param(name, marks=[pytest.mark.data] * maps.real) for name, maps in SETS.items()]


@pytest.fixture(scope="module")
def answers(peer, request, tmp_path_factory):
    """The peer's scores and its post-processing of every set, and the folders; one call does for all."""
    folder = tmp_path_factory.mktemp("maps")
    try:
        shared = request.getfixturevalue("shared")
    except pytest.skip.Exception:
        shared = None
    jobs, names = [], []
    for name, maps in SETS.items():
        if maps.real and shared is None:
            continue
        predictions = maps.write(folder / name, shared)
        shutil.copytree(predictions, folder / name / "theirs")
        common = {
            "predictions": str(folder / name / "theirs"),
            "references": str(folder / name / "labelsTr"),
            "dataset": str(folder / name / "dataset.json"),
            "plans": str(folder / name / "plans.json"),
        }
        jobs += [{"do": "evaluate", **common}, {"do": "postprocess", **common}]
        names.append(name)
    (folder / "jobs.json").write_text(json.dumps(jobs))
    peer.run("peer_selection.py", folder / "jobs.json", folder / "answers.json", folder=folder)
    found = json.loads((folder / "answers.json").read_text())
    return folder, dict(zip(names, zip(found[::2], found[1::2], strict=True), strict=True))


@pytest.fixture
def compared(answers, request):
    """Ours and theirs of one set: the folder, the peer's scores, the peer's decision."""
    folder, found = answers
    if request.param not in found:
        pytest.skip("the real data sets (a folder 'shared' beside the checkout) are not here")
    return folder / request.param, *found[request.param]


def evaluate(folder, predictions, output):
    call(
        "evaluate", "--predictions", predictions, "--references", folder / "labelsTr", "--workers", 1,
        "--dataset", folder / "dataset.json", "--output", output,
    )  # fmt: skip


def post_process(folder, summaries):
    """Our choice and our decision."""
    call("select", "--candidates", *summaries, "--output", folder / "selection.json")
    call(
        "postprocess-search", "--selection", folder / "selection.json", "--workers", 1,
        "--dataset", folder / "dataset.json", "--output", folder / "postprocessing.json",
    )  # fmt: skip
    return [json.loads((folder / f"{name}.json").read_text()) for name in ("selection", "postprocessing")]


def same_entry(ours, theirs):
    assert list(ours) == list(theirs)
    assert ours == pytest.approx(theirs, rel=1e-12, nan_ok=True)


@pytest.mark.parametrize("compared", NAMES, indirect=True)
def test_scores(compared):
    folder, theirs, _ = compared
    evaluate(folder, folder / "predictions", folder / "summary.json")
    ours = json.loads((folder / "summary.json").read_text())
    assert list(ours) == list(theirs)
    assert list(ours["mean"]) == list(theirs["mean"])
    for key, entry in theirs["mean"].items():
        same_entry(ours["mean"][key], entry)
    for mine, other in zip(ours["metric_per_case"], theirs["metric_per_case"], strict=True):
        assert Path(mine["reference_file"]).name == Path(other["reference_file"]).name
        assert list(mine["metrics"]) == list(other["metrics"])
        for key, entry in other["metrics"].items():
            same_entry(mine["metrics"][key], entry)
    if folder.name in POISONED:
        assert math.isnan(theirs["foreground_mean"]["Dice"])
        defined = [e["Dice"] for e in ours["mean"].values() if not math.isnan(e["Dice"])]
        assert ours["foreground_mean"]["Dice"] == pytest.approx(np.mean(defined))
    else:
        same_entry(ours["foreground_mean"], theirs["foreground_mean"])


@pytest.mark.parametrize("compared", NAMES, indirect=True)
def test_post_processing(compared, note_difference):
    folder, _, theirs = compared
    evaluate(folder, folder / "predictions", folder / "2d" / "summary.json")
    _, ours = post_process(folder, [folder / "2d" / "summary.json"])
    found = [values_of(operation) for operation in theirs["operations"]]
    mine = [sorted(operation["labels"]) for operation in ours["operations"]]
    note_difference(f"post-processing, {folder.name}", f"{mine or 'none'}")
    if folder.name == "absent_everywhere":
        assert found == [[1]]  # what is asked jointly is never accepted
        assert mine == [[1, 2]]
        return
    assert mine == found
    if folder.name not in POISONED:
        assert ours["foreground_mean_dice_before"] == pytest.approx(theirs["before"], rel=1e-12)
        assert ours["foreground_mean_dice_after"] == pytest.approx(theirs["after"], rel=1e-12)


def values_of(operation):
    return sorted(operation) if isinstance(operation, list) else [operation]


def test_every_branch_is_there(answers):
    """Of the sets above; which ones the peer accepts is its own word."""
    _, found = answers
    accepted = {name: answer["operations"] for name, (_, answer) in found.items()}
    assert accepted["joint_accepted"] == [[1]]
    assert accepted["nothing_to_gain"] == accepted["nothing_rises"] == accepted["class_would_fall"] == []
    assert accepted["a_class_falls"] == [1]
    assert accepted["class_after_joint"] == [[1, 2], 1]
    assert accepted["nested_regions"] == [[1, 2, 3]]
    assert [2, 3] in accepted["noisy_regions_0"]


MODELS = {
    # How wrong 2d and 3d_fullres are, and who wins; None: both are the same.
    "the_second": ((1.6, 0.8), "3d_fullres"),
    "the_first": ((0.5, 2.5), "2d"),
    "the_pair": ((2.5, 2.3), "2d+3d_fullres"),
    "a_tie": (None, "2d"),
}
LABELS = Labels((("background", 0), ("a", 1), ("b", 2)))


def probabilities(reference, scale, generator):
    """Softmax of blurred indicators with smooth noise."""
    logits = np.stack(
        [
            ndimage.gaussian_filter((reference == value) * 4.0, 1)
            + scale * 3 * ndimage.gaussian_filter(generator.normal(size=reference.shape), 1.3)
            for value in range(3)
        ]
    )
    exponents = np.exp(logits - logits.max(axis=0))
    return (exponents / exponents.sum(axis=0)).astype(np.float32)


def references_of():
    _, references = zip(*SETS["noisy_0"].pairs(None), strict=True)
    return [np.where(reference == 3, 2, reference) for reference in references] * 2


def write_models(name, scales, raw, results):
    """Two models in the peer's folders; for each, probabilities by case."""
    references, found = references_of(), {}
    for configuration, place in (("2d", 0), ("3d_fullres", 1)):
        seed = 0 if scales is None else place
        generator = np.random.default_rng([seed, 7])
        scale = 1.0 if scales is None else scales[place]
        maps = [probabilities(reference, scale, generator) for reference in references]
        model = results / f"nnUNetTrainer__nnUNetPlans__{configuration}"
        for fold in range(2):
            validation = model / f"fold_{fold}" / "validation"
            write_maps(validation, [maps[i].argmax(axis=0) for i in range(len(maps))])
            for number, array in enumerate(maps):
                stem = validation / f"case_{number:03}"
                if number % 2 != fold:
                    stem.with_suffix(".nii.gz").unlink()
                else:
                    np.savez_compressed(stem.with_suffix(".npz"), probabilities=array)
        for file in ("dataset.json", "plans.json"):
            shutil.copy(raw / file, model / file)
        found[configuration] = maps
    return found


@pytest.mark.parametrize("name", MODELS)
def test_the_choice(name, peer, tmp_path, note_difference):
    scales, expected = MODELS[name]
    raw = tmp_path / "raw" / PLANS["dataset_name"]
    prepared = tmp_path / "preprocessed" / PLANS["dataset_name"]
    results = tmp_path / "results" / PLANS["dataset_name"]
    SETS["joint_accepted"].write(raw, None)
    shutil.rmtree(raw / "labelsTr")
    write_maps(raw / "labelsTr", references_of())
    (raw / "dataset.json").write_text((raw / "dataset.json").read_text().replace('"a": 1', '"a": 1, "b": 2'))
    shutil.copytree(raw / "labelsTr", prepared / "gt_segmentations")
    shutil.copy(raw / "plans.json", prepared / "nnUNetPlans.json")
    models = write_models(name, scales, raw, results)
    job = {"do": "select", "dataset_name": raw.name, "configurations": list(models), "folds": [0, 1]}
    (tmp_path / "jobs.json").write_text(json.dumps([job]))
    peer.run("peer_selection.py", tmp_path / "jobs.json", tmp_path / "answers.json", folder=tmp_path)
    (theirs,) = json.loads((tmp_path / "answers.json").read_text())
    assert "error" not in theirs, theirs["error"]

    models["2d+3d_fullres"] = [average(pair) for pair in zip(*models.values(), strict=True)]
    summaries = []
    for candidate, maps in models.items():
        write_maps(
            tmp_path / "ours" / candidate, [pick_labels(m, LABELS, are_probabilities=True) for m in maps]
        )
        summaries.append(tmp_path / "evaluation" / candidate / "summary.json")
        evaluate(raw, tmp_path / "ours" / candidate, summaries[-1])
    selection, decision = post_process(raw, summaries)
    scores = [candidate["foreground_mean_dice"] for candidate in selection["candidates"]]
    note_difference(f"choice, {name}", f"{theirs['best']} of {', '.join(f'{s:.4f}' for s in scores)}")
    assert scores == pytest.approx(theirs["scores"], rel=1e-12)
    assert selection["best"]["name"] == theirs["best"] == expected
    mine = [sorted(operation["labels"]) for operation in decision["operations"]]
    assert mine == [values_of(operation) for operation in theirs["operations"]]
    assert decision["foreground_mean_dice_after"] == pytest.approx(theirs["after"], rel=1e-12)


def test_the_peer_reads_what_has_distances(answers, peer, tmp_path):
    """Further keys do not keep the peer from its own."""
    folder, _ = answers
    maps = folder / "noisy_0"
    predictions = tmp_path / "predictions"
    shutil.copytree(maps / "predictions", predictions)
    call(
        "evaluate", "--predictions", predictions, "--references", maps / "labelsTr", "--workers", 1,
        "--dataset", maps / "dataset.json", "--output", predictions / "summary.json",
        "--metrics", "dice", "hd95", "nsd",
    )  # fmt: skip
    job = {
        "do": "postprocess", "predictions": str(predictions), "references": str(maps / "labelsTr"),
        "dataset": str(maps / "dataset.json"), "plans": str(maps / "plans.json"),
    }  # fmt: skip
    (tmp_path / "jobs.json").write_text(json.dumps([job]))
    peer.run("peer_selection.py", tmp_path / "jobs.json", tmp_path / "answers.json", folder=tmp_path)
    (with_ours,) = json.loads((tmp_path / "answers.json").read_text())
    assert with_ours["operations"] == answers[1]["noisy_0"][1]["operations"]


def test_a_class_that_is_nowhere_stops_the_peer(peer, tmp_path):
    """Its scores are all NaN, and no model has the best of them; ours chooses by the other class."""
    raw = tmp_path / "raw" / PLANS["dataset_name"]
    SETS["absent_everywhere"].write(raw, None)
    prepared = tmp_path / "preprocessed" / PLANS["dataset_name"]
    shutil.copytree(raw / "labelsTr", prepared / "gt_segmentations")
    shutil.copy(raw / "plans.json", prepared / "nnUNetPlans.json")
    truth = read_labels(raw / "labelsTr" / "case_000.nii.gz", case="")
    for configuration, scale in (("2d", 0.9), ("3d_fullres", 0.2)):
        model = tmp_path / "results" / raw.name / f"nnUNetTrainer__nnUNetPlans__{configuration}"
        array = probabilities(truth, scale, np.random.default_rng(0))
        array[2] = 0
        write_maps(model / "fold_0" / "validation", [array.argmax(axis=0)])
        np.savez_compressed(model / "fold_0" / "validation" / "case_000.npz", probabilities=array)
        for file in ("dataset.json", "plans.json"):
            shutil.copy(raw / file, model / file)
    job = {"do": "select", "dataset_name": raw.name, "configurations": ["2d", "3d_fullres"], "folds": [0]}
    (tmp_path / "jobs.json").write_text(json.dumps([job]))
    peer.run("peer_selection.py", tmp_path / "jobs.json", tmp_path / "answers.json", folder=tmp_path)
    (theirs,) = json.loads((tmp_path / "answers.json").read_text())
    assert "IndexError" in theirs["error"]
    summaries = []
    for model in sorted((tmp_path / "results" / raw.name).glob("nnUNetTrainer__*")):
        summaries.append(tmp_path / "evaluation" / model.name.rsplit("__", 1)[1] / "summary.json")
        evaluate(raw, model / "fold_0" / "validation", summaries[-1])
    selection, _ = post_process(raw, summaries)
    assert not math.isnan(selection["best"]["foreground_mean_dice"])


def test_damage_is_damage():
    """The real maps are neither right nor useless."""
    reference = np.zeros((20, 20, 20), dtype=np.uint8)
    reference[5:15, 5:15, 5:10], reference[5:15, 5:15, 10:15] = 1, 2
    found = corrupted(reference, np.random.default_rng(0))
    assert 0.7 < (found == reference).mean() < 0.999
