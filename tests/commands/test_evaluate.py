"""`segflow evaluate` and `crossvalidate`, on a small data set."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest
import SimpleITK as sitk
from score_calls import as_stacks, rows_of, summary_of, words
from stage_calls import call, in_this_process, without

from segflow.commands import evaluate, raw_cases
from segflow.commands.main import main

PEERS_KEYS = ["Dice", "FN", "FP", "IoU", "TN", "TP", "n_pred", "n_ref"]


def test_by_default_it_is_the_peers_file(folder, capsys):
    call(*words(folder))
    found = summary_of(folder)
    assert list(found) == ["foreground_mean", "mean", "metric_per_case"]
    entries = [found["foreground_mean"], *found["mean"].values()]
    entries += [entry for case in found["metric_per_case"] for entry in case["metrics"].values()]
    assert all(list(entry) == PEERS_KEYS for entry in entries)
    rows = rows_of(folder)
    assert list(rows[0]) == ["case", "target", "name", *PEERS_KEYS]
    assert [(row["case"], row["target"]) for row in rows[:3]] == [
        ("phantom_000.nii.gz", "1"),
        ("phantom_000.nii.gz", "2"),
        ("phantom_001.nii.gz", "1"),
    ]
    assert len(rows) == 10
    said = capsys.readouterr().err
    assert "5 cases" in said
    assert "(4)" in said  # class 2 is in four of them
    call(*words(folder, "--references", folder / "data" / "labelsTr"))
    assert summary_of(folder) == found


def test_patients_are_noted_with_the_scores(folder, refused):
    call(*words(folder), "--patients", "[0-9]$")
    assert [case["patient"] for case in summary_of(folder)["metric_per_case"]] == list("01234")
    assert "patients: phantom_000 finds no patient in the name of case phantom_001" in refused(
        *map(str, words(folder)), "--patients", "phantom_000"
    )


def test_the_table_does_not_overwrite_the_summary(folder, refused):
    asked = words(folder)
    asked[asked.index("--output") + 1] = folder / "summary.csv"
    said = refused(*asked)
    assert "summary.csv; name summary.json" in said


def test_stacks_whose_images_alone_have_a_spacing(folder):
    """The labels have it as well, as in the check and in training."""
    call(*words(folder, "--metrics", "assd"))
    expected = [case["metrics"]["1"]["ASSD"] for case in summary_of(folder)["metric_per_case"]]
    evaluate._dataset_labels.cache_clear()
    for image in (folder / "data" / "imagesTr").glob("*.nii.gz"):
        spacing = sitk.ReadImage(str(image)).GetSpacing()[::-1]
        side = image.with_name(image.name.replace("_0000.nii.gz", ".json"))
        side.write_text(json.dumps({"spacing": [2 * mm for mm in spacing]}))
    as_stacks(folder / "data", folder / "predictions")
    call(*words(folder, "--metrics", "assd"))
    found = [case["metrics"]["1"]["ASSD"] for case in summary_of(folder)["metric_per_case"]]
    assert found[0] > 0
    assert found == pytest.approx([2 * mm for mm in expected], nan_ok=True)


def test_a_side_file_counts_after_an_interruption(folder, monkeypatch):
    """With another spacing all distances are others."""
    as_stacks(folder / "data", folder / "predictions")
    evaluate._dataset_labels.cache_clear()
    monkeypatch.setattr(evaluate, "write_text", interrupted)
    assert main([str(word) for word in words(folder, "--metrics", "assd")]) == 130
    monkeypatch.undo()
    for side in (folder / "predictions").glob("*.json"):
        side.write_text('{"spacing": [2, 2, 2]}')
    call(*words(folder, "--metrics", "assd"))
    resumed = summary_of(folder)
    call(*words(folder, "--metrics", "assd"))
    assert resumed == summary_of(folder)


def interrupted(*_):
    raise KeyboardInterrupt


def test_without_a_spacing_there_are_no_millimetres(folder, capsys):
    as_stacks(folder / "data", folder / "predictions")
    evaluate._dataset_labels.cache_clear()
    call(*words(folder, "--metrics", "assd"))
    assert "no spacing is stored with the images: distances and volumes take voxels of 1 mm" in " ".join(
        capsys.readouterr().err.split()
    )


def change(file, new):
    """Other values in the same place, or another place of the same values."""
    image = sitk.ReadImage(str(file))
    changed = new(image)
    sitk.WriteImage(image if changed is None else changed, str(file))


@pytest.mark.parametrize(
    ("spoiled", "new", "said"),
    [
        (
            "data/labelsTr",
            lambda image: image * 100,
            "labelsTr/phantom_003.nii.gz holds the value 100, which",
        ),
        ("predictions", lambda image: image + 7, "predictions/phantom_003.nii.gz holds the value 7, which"),
        (
            "predictions",
            lambda image: image.SetSpacing((1, 1, 9)),
            "predictions/phantom_003.nii.gz has spacing",
        ),
        ("predictions", lambda image: image[1:], "predictions/phantom_003.nii.gz has shape"),
    ],
)
def test_label_maps_that_do_not_fit_are_refused_by_name(spoiled, new, said, folder, refused):
    for number in (1, 3):
        change(folder / spoiled / f"phantom_00{number}.nii.gz", new)
    message = refused(*words(folder))
    assert said in message
    assert "case phantom_001.nii.gz: " in message
    assert not (folder / "evaluation" / "2d" / "summary.json").exists()


def test_names_in_tables_are_text(folder, capsys):
    """Of cases, spellings of a name are one; of classes, brackets and signs stay."""
    description = folder / "data" / "dataset.json"
    content = json.loads(description.read_text())
    content["labels"] = {"background": 0, "=a [/x]": 1, "lesion": 2}
    description.write_text(json.dumps(content))
    for number in range(1, 5):
        (folder / "predictions" / f"phantom_00{number}.nii.gz").unlink()
    place = folder / "data"
    for file, name in (
        (place / "imagesTr" / "phantom_000_0000.nii.gz", "u\u0308_0000"),
        (place / "labelsTr" / "phantom_000.nii.gz", "u\u0308"),
        (folder / "predictions" / "phantom_000.nii.gz", "ü"),
    ):
        file.rename(file.with_name(f"{name}.nii.gz"))
    call(*words(folder))
    assert "=a [/x]" in capsys.readouterr().err
    assert [row["name"] for row in rows_of(folder)] == ["'=a [/x]", "lesion"]
    call(*words(folder, "--references", place / "labelsTr", "--partial"))


def test_label_maps_that_lie_elsewhere_are_scored_with_a_warning(folder, capsys):
    call(*words(folder))
    before = summary_of(folder)
    change(folder / "predictions" / "phantom_001.nii.gz", lambda image: image.SetOrigin((5, 0, 0)))
    capsys.readouterr()
    call(*words(folder))
    assert "case phantom_001.nii.gz: " in (said := capsys.readouterr().err)
    assert "differ in origin" in said
    assert summary_of(folder) == before


def test_cases_without_a_prediction(folder, refused, capsys):
    for number in (0, 4):
        (folder / "predictions" / f"phantom_00{number}.nii.gz").unlink()
    absent = "2 of 5 cases have no prediction (phantom_000.nii.gz, phantom_004.nii.gz)"
    call(*words(folder))
    assert f"{absent}; the mean is over the others" in capsys.readouterr().err
    references = ("--references", folder / "data" / "labelsTr")
    assert f"{absent}; predict them, or score the others with --partial" in refused(
        *words(folder, *references)
    )
    call(*words(folder, *references, "--partial"))
    assert absent in capsys.readouterr().err
    assert len(summary_of(folder)["metric_per_case"]) == 3


def test_surface_distances_are_further_keys(folder, capsys):
    call(*words(folder, "--metrics", "dice", "nsd", "assd", "hd95", "--tolerance-mm", 1.5))
    found = summary_of(folder)
    assert found["nsd_tolerance_mm"] == 1.5
    assert list(found["mean"]["1"]) == sorted([*PEERS_KEYS, "ASSD", "HD95", "NSD"])
    assert "HD95 mm" in capsys.readouterr().err
    by_case = {
        case["reference_file"].rsplit("/", 1)[1][:11]: case["metrics"] for case in found["metric_per_case"]
    }
    perfect, missed, absent = (
        by_case["phantom_004"]["2"],
        by_case["phantom_001"]["2"],
        by_case["phantom_002"]["2"],
    )
    assert (perfect["HD95"], perfect["ASSD"], perfect["NSD"]) == (0, 0, 1)
    assert math.isnan(missed["HD95"])
    assert (missed["NSD"], missed["Dice"]) == (0, 0)
    assert all(math.isnan(absent[name]) for name in ("HD95", "ASSD", "NSD", "Dice"))
    defined = [case["2"]["HD95"] for case in by_case.values() if not math.isnan(case["2"]["HD95"])]
    assert found["mean"]["2"]["HD95"] == pytest.approx(np.mean(defined))
    assert len(defined) == 2
    assert by_case["phantom_000"]["1"]["HD95"] >= 0
    assert by_case["phantom_000"]["1"]["ASSD"] > 0
    empty = next(
        row for row in rows_of(folder) if row["case"].startswith("phantom_002") and row["target"] == "2"
    )
    assert (empty["HD95"], empty["Dice"], empty["n_ref"]) == ("", "", "0")


def test_distances_are_in_millimetres(folder, tmp_path):
    """The same voxels twice as far apart."""
    call(*words(folder, "--metrics", "assd"))
    before = summary_of(folder)["mean"]["1"]["ASSD"]
    for file in [*(folder / "predictions").iterdir(), *(folder / "data" / "labelsTr").iterdir()]:
        image = sitk.ReadImage(str(file))
        image.SetSpacing([2 * mm for mm in image.GetSpacing()])
        sitk.WriteImage(image, str(file))
    call(*words(folder, "--metrics", "assd"))
    assert summary_of(folder)["mean"]["1"]["ASSD"] == pytest.approx(2 * before)


def test_folds_are_merged_with_their_distances(folder):
    call(*words(folder, "--metrics", "hd95", "nsd"))
    whole = summary_of(folder)
    maps = sorted((folder / "predictions").glob("*.nii.gz"))
    for number in range(2):
        part = folder / f"fold_{number}"
        part.mkdir()
        for file in maps[number::2]:
            shutil.move(file, part / file.name)
        call(
            "evaluate", "--predictions", part, "--dataset", folder / "data" / "dataset.json",
            "--output", folder / f"fold_{number}.json", "--workers", 1, "--metrics", "hd95", "nsd",
        )  # fmt: skip
    files = [folder / f"fold_{number}.json" for number in range(2)]
    merge = ["crossvalidate", "--summaries", *files, "--dataset", folder / "data" / "dataset.json"]
    call(*merge, "--output", folder / "merged.json")
    merged = json.loads((folder / "merged.json").read_text())
    for key in ("mean", "foreground_mean", "nsd_tolerance_mm"):
        assert json.dumps(merged[key]) == json.dumps(whole[key])
    assert (folder / "merged.csv").read_text() == (folder / "evaluation" / "2d" / "summary.csv").read_text()

    together = ["evaluate", "--predictions", folder / "fold_0", folder / "fold_1", "--workers", 2]
    call(
        *together, "--metrics", "hd95", "nsd", "--dataset", folder / "data" / "dataset.json",
        "--output", folder / "together.json",
    )  # fmt: skip
    assert (folder / "together.json").read_text() == (folder / "merged.json").read_text()


def test_folds_that_were_evaluated_differently(folder, refused):
    call(*words(folder))
    shutil.copy(folder / "evaluation" / "2d" / "summary.json", folder / "first.json")
    (folder / "predictions" / "phantom_000.nii.gz").unlink()
    call(*words(folder, "--metrics", "hd95"))
    merge = [
        "crossvalidate",
        "--dataset",
        folder / "data" / "dataset.json",
        "--output",
        folder / "merged.json",
    ]
    files = [folder / "first.json", folder / "evaluation" / "2d" / "summary.json"]
    second = json.loads(files[1].read_text())
    for case in second["metric_per_case"]:
        case["prediction_file"] += "_again"
    files[1].write_text(json.dumps(second))
    assert "has other metrics than" in refused(*merge, "--summaries", *files)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--metrics", "hausdorff"], 'Invalid value "hausdorff" for --metrics. Choose from'),
        (["--tolerance-mm", "-1"], "--tolerance-mm must be 0 or more, found -1.0"),
        (["--tolerance-mm", "nan"], "--tolerance-mm must be 0 or more, found nan"),
    ],
)
def test_what_cannot_be_measured(options, said, folder, capsys):
    assert main([str(word) for word in words(folder, *options)]) in {1, 2}
    assert said in capsys.readouterr().err
    assert not (folder / "evaluation").exists()


def test_scores_are_not_computed_again_after_an_interruption(folder, monkeypatch):
    scored = []
    original = evaluate.score_case

    def spy(*arguments, **options):
        if len(scored) == stop_after:
            raise KeyboardInterrupt
        scored.append(options.get("prediction_file") or arguments)
        return original(*arguments, **options)

    monkeypatch.setattr(evaluate, "score_case", spy)
    monkeypatch.setattr(raw_cases, "map_cases", in_this_process)
    stop_after = 3
    assert main([str(word) for word in words(folder)]) == 130
    assert (folder / "evaluation" / "2d" / "summary.unfinished").exists()
    assert not (folder / "evaluation" / "2d" / "summary.json").exists()
    without(folder / "predictions" / "phantom_001.nii.gz", 1)  # another label map under the same name
    stop_after = None
    call(*words(folder))
    assert len(scored) == 3 + 3
    resumed = (folder / "evaluation" / "2d" / "summary.json").read_text()
    assert not list(folder.rglob("*unfinished*"))
    call(*words(folder))
    assert len(scored) == 3 + 3 + 5
    assert (folder / "evaluation" / "2d" / "summary.json").read_text() == resumed
