"""The same label maps in both programs: same scores, same post-processing, same choice of the model.

If a class occurs in no case, nnU-Net's foreground mean is NaN, and nothing can be better (method.md section 25,
number 4). There the two differ, as docs/explanation/differences.md says.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from nnunet_label_maps import PLANS, SETS, write_maps
from nnunet_runs import read_json
from scipy import ndimage
from stage_calls import call

from segflow.contracts.labels import Labels
from segflow.volumes.labelmaps import pick_labels

pytestmark = pytest.mark.peer

#: Sets with a class that occurs in no case.
NAN_MEAN = {"absent_everywhere", "extremes"}
#: nnU-Net chooses by segflow's scores, which have further keys.
WITH_DISTANCES = "noisy_0"
NAMES = [pytest.param(name, marks=[pytest.mark.data] * maps.real) for name, maps in SETS.items()]


@pytest.fixture(scope="module")
def answers(nnunet, request, tmp_path_factory):
    """The folders, and nnU-Net's scores and post-processing of every set; one call is enough for all."""
    folder = tmp_path_factory.mktemp("maps")
    try:
        shared = request.getfixturevalue("shared")
    except pytest.skip.Exception:
        shared = None
    names = [name for name, maps in SETS.items() if shared is not None or not maps.real]
    for name in names:
        SETS[name].write(folder / name, shared)
    distances = folder / "with distances"
    shutil.copytree(folder / WITH_DISTANCES, distances)
    evaluate(distances, "theirs", distances / "theirs" / "summary.json", "--metrics", "dice", "hd95", "nsd")
    folders = [folder / name for name in names] + [distances]
    found = nnunet.call("nnunet_selection.score", folder, folders=folders)
    return folder, dict(zip([*names, "with distances"], found, strict=True))


@pytest.fixture
def compared(answers, request):
    """The folder of one set, nnU-Net's scores, and nnU-Net's decision."""
    folder, found = answers
    if request.param not in found:
        pytest.skip("the real data sets (a folder 'shared' beside the checkout) are not here")
    return folder / request.param, *found[request.param]


def evaluate(folder, predictions, output, *words):
    call(
        "evaluate", "--predictions", folder / predictions, "--references", folder / "labelsTr", "--workers", 1,
        "--dataset", folder / "dataset.json", "--output", output, *words,
    )  # fmt: skip


def post_process(folder, summaries):
    """segflow's choice and its decision."""
    call("select", "--candidates", *summaries, "--output", folder / "selection.json")
    call(
        "postprocess-search", "--selection", folder / "selection.json", "--workers", 1,
        "--dataset", folder / "dataset.json", "--output", folder / "postprocessing.json",
    )  # fmt: skip
    return read_json(folder / "selection.json"), read_json(folder / "postprocessing.json")


def labels_in(operations):
    """Of nnU-Net's operations, each of one label or of several."""
    return [sorted(operation) if isinstance(operation, list) else [operation] for operation in operations]


def assert_same_entry(ours, theirs):
    assert list(ours) == list(theirs)
    assert ours == pytest.approx(theirs, rel=1e-12, nan_ok=True)


@pytest.mark.parametrize("compared", NAMES, indirect=True)
def test_scores(compared):
    folder, theirs, _ = compared
    evaluate(folder, "ours", folder / "summary.json")
    ours = read_json(folder / "summary.json")
    assert list(ours) == list(theirs)
    assert list(ours["mean"]) == list(theirs["mean"])
    for key, entry in theirs["mean"].items():
        assert_same_entry(ours["mean"][key], entry)
    for mine, other in zip(ours["metric_per_case"], theirs["metric_per_case"], strict=True):
        assert Path(mine["reference_file"]).name == Path(other["reference_file"]).name
        assert list(mine["metrics"]) == list(other["metrics"])
        for key, entry in other["metrics"].items():
            assert_same_entry(mine["metrics"][key], entry)
    if folder.name in NAN_MEAN:
        assert math.isnan(theirs["foreground_mean"]["Dice"])
        defined = [entry["Dice"] for entry in ours["mean"].values() if not math.isnan(entry["Dice"])]
        assert ours["foreground_mean"]["Dice"] == pytest.approx(np.mean(defined))
    else:
        assert_same_entry(ours["foreground_mean"], theirs["foreground_mean"])


@pytest.mark.parametrize("compared", NAMES, indirect=True)
def test_post_processing(compared, note_difference):
    folder, _, theirs = compared
    evaluate(folder, "ours", folder / "2d" / "summary.json")
    _, ours = post_process(folder, [folder / "2d" / "summary.json"])
    found = [sorted(operation["labels"]) for operation in ours["operations"]]
    note_difference(f"post-processing, {folder.name}", f"{found or 'none'}")
    if folder.name == "absent_everywhere":  # nnU-Net never accepts the joint operation
        assert (found, theirs["operations"]) == ([[1, 2]], [1])
        return
    assert found == labels_in(theirs["operations"])
    if folder.name not in NAN_MEAN:
        assert ours["foreground_mean_dice_before"] == pytest.approx(theirs["before"], rel=1e-12)
        assert ours["foreground_mean_dice_after"] == pytest.approx(theirs["after"], rel=1e-12)


def test_nnunet_takes_every_branch(answers):
    """In the sets above, and the same with additional metrics in summary.json."""
    accepted = {name: decision["operations"] for name, (_, decision) in answers[1].items()}
    assert accepted["joint_accepted"] == [[1]]
    assert accepted["nothing_to_gain"] == accepted["nothing_rises"] == accepted["class_would_fall"] == []
    assert accepted["a_class_falls"] == [1]
    assert accepted["class_after_joint"] == [[1, 2], 1]
    assert accepted["nested_regions"] == [[1, 2, 3]]
    assert [2, 3] in accepted["noisy_regions_0"]
    assert accepted["with distances"] == accepted[WITH_DISTANCES]


#: How wrong 2d and 3d_fullres are (or None: equally), and which is chosen.
MODELS = {
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


def write_data_set(folder):
    """Six cases in nnU-Net's folders of raw and preprocessed data."""
    raw, prepared = (folder / part / PLANS["dataset_name"] for part in ("raw", "preprocessed"))
    references = [np.where(map_ == 3, 2, map_) for _, map_ in SETS["noisy_0"].pairs(None)] * 2
    write_maps(raw / "labelsTr", references)
    description = {
        "channel_names": {"0": "MRI"},
        "labels": dict(LABELS.entries),
        "numTraining": len(references),
    }
    (raw / "dataset.json").write_text(json.dumps(description | {"file_ending": ".nii.gz"}))
    (raw / "plans.json").write_text(json.dumps(PLANS))
    shutil.copytree(raw / "labelsTr", prepared / "gt_segmentations")
    shutil.copy(raw / "plans.json", prepared / "nnUNetPlans.json")
    return raw, references


def write_models(scales, references, raw, results):
    """Two models of two folds in nnU-Net's results; for each, probabilities by case."""
    found = {}
    for place, configuration in enumerate(("2d", "3d_fullres")):
        generator = np.random.default_rng([0 if scales is None else place, 7])
        scale = 1.0 if scales is None else scales[place]
        maps = found[configuration] = [probabilities(map_, scale, generator) for map_ in references]
        model = results / raw.name / f"nnUNetTrainer__nnUNetPlans__{configuration}"
        for fold in range(2):
            validation = model / f"fold_{fold}" / "validation"
            write_maps(validation, [array.argmax(axis=0) for array in maps])
            for number, array in enumerate(maps):
                stem = validation / f"case_{number:03}"
                if number % 2 != fold:
                    stem.with_suffix(".nii.gz").unlink()
                else:
                    np.savez_compressed(stem.with_suffix(".npz"), probabilities=array)
        for file in ("dataset.json", "plans.json"):
            shutil.copy(raw / file, model / file)
    return found


@pytest.mark.parametrize("name", MODELS)
def test_the_choice(name, nnunet, tmp_path, note_difference):
    scales, expected = MODELS[name]
    raw, references = write_data_set(tmp_path)
    models = write_models(scales, references, raw, tmp_path / "results")
    theirs = nnunet.call(
        "nnunet_selection.select", tmp_path, dataset_name=raw.name, configurations=list(models), folds=[0, 1]
    )
    models["2d+3d_fullres"] = [np.mean(pair, axis=0) for pair in zip(*models.values(), strict=True)]
    summaries = [tmp_path / "evaluation" / candidate / "summary.json" for candidate in models]
    for summary, maps in zip(summaries, models.values(), strict=True):
        candidate = summary.parent.name
        write_maps(raw / candidate, [pick_labels(m, LABELS, are_probabilities=True) for m in maps])
        evaluate(raw, candidate, summary)
    selection, decision = post_process(raw, summaries)
    scores = [candidate["foreground_mean_dice"] for candidate in selection["candidates"]]
    note_difference(f"choice, {name}", f"{theirs['best']} of {', '.join(f'{s:.4f}' for s in scores)}")
    assert scores == pytest.approx(theirs["scores"], rel=1e-12)
    assert selection["best"]["name"] == theirs["best"] == expected
    assert [sorted(found["labels"]) for found in decision["operations"]] == labels_in(theirs["operations"])
    assert decision["foreground_mean_dice_after"] == pytest.approx(theirs["after"], rel=1e-12)
