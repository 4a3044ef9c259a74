"""`segflow assess`, on a small data set with label maps and probabilities of two configurations."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from case_samples import configuration_of, preparation_of
from report_samples import candidate
from score_calls import as_stacks, read
from stage_calls import call, in_this_process

from segflow.commands import assess, raw_cases
from segflow.commands.main import main
from segflow.contracts.artefacts import Manifest
from segflow.contracts.case import CaseRecord
from segflow.contracts.scores import Selection
from segflow.images.cases import read_geometry
from segflow.storage.probabilities import write_probabilities

CASES = [f"phantom_00{number}" for number in range(5)]


def probabilities_of(file, where, path):
    """The label map with a probability of 0.8, in a crop of the transposed image that leaves an edge out."""
    turned = read(file).transpose(1, 0, 2)
    box = ((1, turned.shape[0]), (0, turned.shape[1]), (0, turned.shape[2] - 1))
    inside = turned[tuple(slice(*part) for part in box)]
    record = CaseRecord(
        identifier=path.stem,
        geometry=where,
        shape_before_crop=turned.shape,
        crop_box=box,
        spacing_mm=(1, 1, 1),
        shape=inside.shape,
    )
    drawn = np.where(np.arange(3)[:, None, None, None] == inside, 0.8, 0.1).astype(np.float32)
    with write_probabilities(
        path, record, preparation_of(configuration_of(), order=(1, 0, 2)), n_outputs=3
    ) as keep:
        keep(drawn)


@pytest.fixture
def experiment(folder):
    """Two folds of two configurations, and final label maps that are those of the second."""
    for number, name in enumerate(("2d", "3d_fullres", "2d+3d_fullres")):
        for fold, held_out in (("0", CASES[:3]), ("1", CASES[3:])):
            place = folder / "maps" / name / f"fold_{fold}"
            (place / "probabilities").mkdir(parents=True)
            for case in held_out:
                source = folder / ("predictions" if number else "data/labelsTr") / f"{case}.nii.gz"
                shutil.copy(source, place)
                where = read_geometry(source, case=case)
                probabilities_of(source, where, place / "probabilities" / f"{case}.npz")
            (place / "manifest.json").write_text(Manifest(cases=dict.fromkeys(held_out, "")).to_json())
    shutil.copytree(folder / "predictions", folder / "final")
    choose(folder, "3d_fullres")
    return folder


def choose(folder, name):
    names = ("2d", "3d_fullres", "2d+3d_fullres")
    chosen = Selection(best=candidate(name, 0.9), candidates=tuple(candidate(one, 0.5) for one in names))
    (folder / "selection.json").write_text(chosen.to_json())


def words(folder, *others, workers=1):
    return [
        "assess", "--selection", folder / "selection.json", "--predictions", folder / "maps", "--folds", 0, 1,
        "--final", folder / "final", "--dataset", folder / "data" / "dataset.json",
        "--output", folder / "assessment.json", "--workers", workers, *others,
    ]  # fmt: skip


def found(folder):
    return json.loads((folder / "assessment.json").read_text())


def test_no_lengths_are_measured_where_the_images_have_no_spacing(experiment):
    """Though label maps that segflow writes always have one."""
    as_stacks(experiment / "data", *experiment.glob("maps/*/fold_*"), experiment / "final")
    assert (experiment / "final" / "phantom_000.json").exists()
    call(*words(experiment))
    assert {"dice", "hd95", "volume"} & set(found(experiment)["measures"]) == {"dice"}


def test_the_same_numbers_as_evaluate(experiment):
    call(*words(experiment, "--probabilities"))
    call(
        "evaluate", "--predictions", experiment / "final", "--dataset", experiment / "data", "--workers", 1,
        "--output", experiment / "summary.json", "--metrics", "hd95", "assd", "nsd", "volume", "lesions",
        "--tolerance-mm", 2,
    )  # fmt: skip
    summary = json.loads((experiment / "summary.json").read_text())
    own = found(experiment)
    aliases = {"dice": "Dice", "nsd": "NSD", "hd95": "HD95", "assd": "ASSD", "volume": "VolumeDifference"}
    for row in own["classes"]:
        mean = summary["mean"][row["target"]]
        values = {name: estimate["value"] for name, estimate in row["metrics"].items() if name != "lesions"}
        assert values == pytest.approx({name: mean[aliases[name]] for name in values}, nan_ok=True)
        assert row["configurations"]["3d_fullres"] == row["metrics"]
        assert row["configurations"]["2d"]["dice"]["value"] == 1
    assert [(case["case"], case["fold"]) for case in own["cases"]] == list(zip(CASES, "00011", strict=True))
    for case, scored in zip(own["cases"], summary["metric_per_case"], strict=True):
        assert [case["values"][key]["lesions"] for key in "12"] == pytest.approx(
            [scored["metrics"][key]["LesionF1"] for key in "12"], nan_ok=True
        )
    confusion = np.array(own["confusion"])
    for key in (1, 2):
        counts = [scored["metrics"][str(key)] for scored in summary["metric_per_case"]]
        assert confusion[key].sum() == sum(one["n_ref"] for one in counts)
        assert confusion[:, key].sum() == sum(one["n_pred"] for one in counts)
    assert own["values"] == ["background", "organ", "lesion"]


@pytest.mark.parametrize("best", ["2d", "2d+3d_fullres"])
def test_calibration_over_the_whole_image(experiment, best):
    """Probabilities 0.8 and 0.1 within the crop and 0 outside: of 2d, whose label maps are the references."""
    choose(experiment, best)
    call(*words(experiment, "--probabilities"))
    n_all = sum(read(experiment / "data" / "labelsTr" / f"{case}.nii.gz").size for case in CASES)
    for row in found(experiment)["classes"]:
        bins = row["calibration"]["bins"]
        low, high = bins[0], bins[-1]
        if best == "2d":
            assert (low["probability"], high["probability"]) == pytest.approx((26 / 255, 204 / 255))
            assert (low["share"], high["share"]) == (0, 1)
            inside = low["voxels"] + high["voxels"]
            error = (low["voxels"] * 26 / 255 + high["voxels"] * 51 / 255) / inside
            assert row["calibration"]["error"]["value"] == pytest.approx(error)
            assert inside < n_all
        else:
            assert {round(one["probability"], 3) for one in bins} <= {0.102, 0.451, 0.8}


@pytest.mark.parametrize("stored", [False, True])
def test_probabilities_that_are_not_there(experiment, stored):
    """None are kept, or one has been removed."""
    (experiment / "maps" / "3d_fullres" / "fold_0" / "probabilities" / f"{CASES[0]}.npz").unlink()
    call(*words(experiment, *(["--probabilities"] if stored else [])))
    own = found(experiment)
    assert [row["calibration"] for row in own["classes"]] == [None, None]
    assert any(note.startswith("Calibration is not measured") for note in own["notes"])


def test_an_interrupted_call_goes_on(experiment, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr(assess, "sum_up", lambda *_: 1 / 0)
        assert main([str(word) for word in words(experiment)]) == 1
    assert len(list((experiment / "assessment.unfinished").glob("*.json"))) == 5
    with monkeypatch.context() as finished:
        finished.setattr(raw_cases, "map_cases", in_this_process)
        finished.setattr(assess, "_measure", lambda *_, **__: pytest.fail("it was measured already"))
        call(*words(experiment))
    resumed = (experiment / "assessment.json").read_text()
    assert not (experiment / "assessment.unfinished").exists()
    call(*words(experiment, workers=2))
    assert (experiment / "assessment.json").read_text() == resumed


def test_no_case_is_held_out(experiment):
    for place in (*experiment.glob("maps/*/fold_*"), experiment / "final"):
        (place / "manifest.json").write_text(Manifest(cases={}).to_json())
    call(*words(experiment))
    assert (found(experiment)["cases"], found(experiment)["confusion"]) == ([], [])


def test_what_is_not_asked_for_is_not_measured(experiment):
    wanted = ['evaluation.metrics=["nsd"]', "evaluation.nsd_tolerance_mm=1"]
    call(*words(experiment, "--probabilities", "--settings", *wanted))
    own = found(experiment)
    assert (own["measures"], own["confusion"]) == (["nsd"], [])
    for row in own["classes"]:
        assert (list(row["metrics"]), row["nsd_tolerance_mm"], row["calibration"]) == (["nsd"], 1, None)


def test_what_does_not_fit(experiment, refused):
    (experiment / "final" / f"{CASES[1]}.nii.gz").unlink()
    assert f"case {CASES[1]} lacks a label map or its reference" in refused(*words(experiment))
