"""What `predict` takes beside folders, says beforehand, and writes beside label maps."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import SimpleITK as sitk
from packages import package_of
from score_calls import read
from stage_calls import call

from segflow.commands import score_fast
from segflow.commands.main import main
from segflow.prediction import sliding_window
from segflow.prediction.predictor import Predictor


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A package of two folds that does not mirror; `straight` beside it is what a plain call made."""
    model = package_of(tmp_path_factory.mktemp("package"), "3d_fullres", folds=(0, 1))
    call("predict", "-m", model, "-i", images(model), "-o", model.parent / "straight", "--device", "cpu")
    return model


@pytest.fixture
def predict(model, tmp_path, monkeypatch):
    """A call in an empty folder, which must succeed; gives the report."""
    monkeypatch.chdir(tmp_path)

    def run(source, output, *more):
        call("predict", "-m", model, "-i", source, "-o", output, "--device", "cpu", *more)
        reports = [*tmp_path.rglob("*prediction.json")]
        return json.loads(max(reports, key=lambda file: file.stat().st_mtime_ns).read_text())

    return run


def images(model):
    return model.parent / "data" / "imagesTr"


def scan(model, number=0):
    return images(model) / f"phantom_00{number}_0000.nii.gz"


def names_in(folder):
    return {file.name for file in folder.iterdir()}


def labels(model, number=0):
    return read(model.parent / "straight" / f"phantom_00{number}.nii.gz")


def test_what_a_later_call_has_made_counts_whatever_earlier_shards_say(model, predict, tmp_path):
    words = ("predict", "-m", model, "-i", scan(model), "-o", tmp_path / "labels", "--device", "cpu")
    call(*words, "--shard", "1/2")
    predict(scan(model), "labels", "--statistics")
    before = (tmp_path / "labels" / "phantom_000.nii.gz").stat().st_ino
    predict(scan(model), "labels", "--statistics", "--resume")
    assert (tmp_path / "labels" / "phantom_000.nii.gz").stat().st_ino == before


def test_a_label_map_without_its_voxels_is_not_finished(model, predict, tmp_path):
    source = tmp_path / "scan_0000.mhd"
    sitk.WriteImage(sitk.ReadImage(str(scan(model))), str(source))
    predict(source, "seg.mhd")
    (voxels,) = (file for file in tmp_path.glob("seg.*") if file.suffix in {".raw", ".zraw"})
    voxels.unlink()
    predict(source, "seg.mhd", "--resume")
    assert voxels.exists()


@pytest.mark.parametrize("name", ["seg.nii.gz", "new/seg.nrrd"])
def test_a_single_image_to_a_single_file(model, predict, tmp_path, name):
    report = predict(scan(model), name)
    np.testing.assert_array_equal(read(name), labels(model))
    written, source = (sitk.ReadImage(str(file)) for file in (name, scan(model)))
    for one, two in zip(
        (written.GetSpacing(), written.GetOrigin(), written.GetDirection()),
        (source.GetSpacing(), source.GetOrigin(), source.GetDirection()),
        strict=True,
    ):
        np.testing.assert_allclose(one, two, atol=1e-5)
    found = sorted(file.name for file in tmp_path.rglob("*") if file.is_file())
    assert found == sorted([name.rpartition("/")[2], "seg.prediction.json"])
    assert list(report["cases"]["phantom_000"]["files"]) == [name.rpartition("/")[2]]


def test_a_single_file_is_resumed_and_not_mistaken_for_another(model, predict):
    more = ("--statistics", "--preview", "--save-probabilities")
    predict(scan(model), "seg.nii.gz", *more)
    beside = {
        f"seg.{end}" for end in ("statistics.csv", "statistics.json", "preview.png", "probabilities.npz")
    }
    assert names_in(Path()) == {"seg.nii.gz", "seg.prediction.json", *beside}
    before = Path("seg.nii.gz").stat().st_ino
    predict(scan(model), "seg.nii.gz", *more, "--resume")
    assert Path("seg.nii.gz").stat().st_ino == before
    predict(scan(model, 1), "seg.nii.gz", "--resume")
    np.testing.assert_array_equal(read("seg.nii.gz"), labels(model, 1))
    assert names_in(Path()) == {"seg.nii.gz", "seg.prediction.json"}


def test_a_folder_of_plain_names(model, predict, tmp_path):
    for number, name in enumerate(["scan", "scan_2021"]):
        (tmp_path / "plain").mkdir(exist_ok=True)
        shutil.copy(scan(model, number), tmp_path / "plain" / f"{name}.nii.gz")
    assert list(predict("plain", "out")["cases"]) == ["scan", "scan_2021"]
    for number, name in enumerate(["scan", "scan_2021"]):
        np.testing.assert_array_equal(read(f"out/{name}.nii.gz"), labels(model, number))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-i", "in", "-o", "in"], "in holds images, such as "),
        (["-i", "in", "-o", "others"], "others holds images, such as a_0000.mha"),
        (["-i", "in/a.nii.gz", "-o", "in"], "in holds images, such as a.nii.gz"),
        (["-i", "in/a.nii.gz", "-o", "in/a.nii.gz"], "in/a.nii.gz is an image; name another file"),
        (["-i", "in/a.nii.gz", "-o", "link/a.nii.gz"], "link/a.nii.gz is an image; name another file"),
        (["-i", "in", "-o", "seg.nii.gz"], "seg.nii.gz is one file, but there are 2 cases; name a folder"),
        (["-i", "in/a.nii.gz", "-o", "seg.jpg"], "JPEG changes values, so it cannot hold labels; use .png"),
        (["-i", "in/a.nii.gz", "-o", "notes"], "notes is a file; name a folder, or for a single image"),
        (["-i", "in", "-o", "out", "--fast", "--quality"], "--fast and --quality are opposites"),
    ],
)
def test_outputs_that_are_refused(model, tmp_path, monkeypatch, refused, words, said):
    monkeypatch.chdir(tmp_path)
    for folder in ("in", "others"):
        (tmp_path / folder).mkdir()
    for name in ("a", "b"):
        shutil.copy(scan(model), tmp_path / "in" / f"{name}.nii.gz")
    (tmp_path / "link").symlink_to("in")
    (tmp_path / "others" / "a_0000.mha").touch()
    (tmp_path / "notes").touch()
    before = sorted(tmp_path.rglob("*"))
    assert said in refused("predict", "-m", model, *words, "--device", "cpu")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_volume_is_not_predicted_for_a_picture(model, tmp_path, monkeypatch, refused):
    """It would be refused once its labels are there: after an hour, if the volume is large."""
    monkeypatch.setattr(Predictor, "label", lambda *_, **__: pytest.fail("it was predicted"))
    output = tmp_path / "seg.png"
    said = refused("predict", "-m", model, "-i", scan(model), "-o", output, "--device", "cpu")
    assert f"{output} cannot be written: .png is for 2D images, and this one has 3 axes; use .nii.gz" in said
    assert not output.exists()


@pytest.mark.parametrize(
    ("words", "folds", "mirroring", "step"),
    [
        (["--mirroring"], [0, 1], True, 0.5),
        (["--fast"], [0], False, 0.5),
        (["--fast", "--folds", 1, "--mirroring", "--step", 0.75], [1], True, 0.75),
        (["--quality"], [0, 1], False, 0.25),
        (["--quality", "--step", 0.4], [0, 1], False, 0.4),
    ],
)
def test_fast_and_quality(model, predict, capsys, words, folds, mirroring, step):
    """Of a package that does not mirror."""
    report = predict(scan(model), "seg.nii.gz", *words)
    found = report["inference"]
    assert (report["folds"], found["mirroring"], found["step"]) == (folds, mirroring, step)
    said = capsys.readouterr().err
    assert f"x {8 if mirroring else 1} mirroring" in said
    assert f"x {len(folds)} fold" in said
    assert ("with --fast" in said) == ("--fast" not in words)


def test_fast_takes_no_mirroring_from_a_model_that_mirrors(model, predict, tmp_path):
    shutil.copytree(model, tmp_path / "other")
    card = json.loads((model / "model.json").read_text())
    card["inference"]["mirroring"] = ["x"]
    (tmp_path / "other" / "model.json").write_text(json.dumps(card))
    for effort, mirroring in ((None, ("x",)), ("fast", False), ("quality", ("x",))):
        assert Predictor.from_folder("other", effort=effort, device="cpu").recipe.mirroring == mirroring


def passes_said(capsys):
    said = " ".join(capsys.readouterr().err.split())
    return int(re.search(r"at most ([0-9,]+) forward pass", said)[1].replace(",", ""))


@pytest.mark.slow
@pytest.mark.parametrize("border", [0, 8])
def test_the_forward_passes_that_are_said_are_those_that_are_made(
    model, predict, tmp_path, monkeypatch, capsys, border
):
    """Exactly, but for images with a border of zeros, which is cropped."""
    made, adapt = [], sliding_window.adapted

    def counted(network, *rest, **options):
        forward = adapt(network, *rest, **options)
        return lambda batch: made.append(len(batch)) or forward(batch)

    monkeypatch.setattr(sliding_window, "adapted", counted)
    (tmp_path / "in").mkdir()
    for number, shape in enumerate([(40, 70, 60), (24, 60, 100)]):
        voxels = np.random.default_rng(0).normal(1000, 10, [n - 2 * border for n in shape])
        image = sitk.GetImageFromArray(np.pad(voxels, border).astype(np.float32))
        image.SetSpacing(sitk.ReadImage(str(scan(model))).GetSpacing())
        sitk.WriteImage(image, str(tmp_path / "in" / f"{number}.nii.gz"))
    predict("in", "out", "--mirroring")
    said = passes_said(capsys)
    assert (said == sum(made)) if border == 0 else (said > sum(made))
    assert said % 16 == 0  # eight mirrorings, two folds


def test_statistics_and_previews(model, predict):
    predict(images(model), "out", "--statistics", "--preview")
    with Path("out/statistics.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [(row["case"], row["target"], row["name"]) for row in rows] == [
        (f"phantom_00{number}", target, name)
        for number in range(5)
        for target, name in (("1", "organ"), ("2", "lesion"))
    ]
    for row in rows:
        number = int(row["case"][-1])
        inside = labels(model, number) == int(row["target"])
        assert int(row["voxels"]) == inside.sum()
        spacing = sitk.ReadImage(str(scan(model, number))).GetSpacing()
        np.testing.assert_allclose(float(row["volume_ml"]), inside.sum() * np.prod(spacing) / 1000)
        mean = read(scan(model, number))[inside].mean() if inside.any() else None
        assert float(row["mean_intensity_0"] or "nan") == pytest.approx(mean or float("nan"), nan_ok=True)
    for row, found in zip(rows, json.loads(Path("out/statistics.json").read_text()), strict=True):
        assert [str(found["voxels"]), str(found["volume_ml"])] == [row["voxels"], row["volume_ml"]]
        assert found["mean_intensity"] == [
            float(row["mean_intensity_0"]) if row["mean_intensity_0"] else None
        ]
    for number in range(5):
        with PIL.Image.open(f"out/preview/phantom_00{number}.png") as picture:
            assert picture.format == "PNG"


def test_what_is_asked_for_later_is_made_and_what_no_longer_fits_is_removed(model, predict):
    predict(images(model), "out")
    predict(images(model), "out", "--statistics", "--resume")
    assert len(names_in(Path("out/statistics"))) == 5
    before, table = Path("out/phantom_003.nii.gz").stat().st_ino, Path("out/statistics.csv").read_text()
    Path("out/phantom_001.nii.gz").unlink()
    predict(images(model), "out", "--statistics", "--resume")
    assert (Path("out/phantom_003.nii.gz").stat().st_ino, Path("out/statistics.csv").read_text()) == (
        before,
        table,
    )
    predict(images(model), "out", "--preview", "--resume")
    assert not Path("out/statistics.csv").exists()
    assert names_in(Path("out/statistics")) == set()
    assert len(names_in(Path("out/preview"))) == 5


def test_the_scores_of_fast(model, predict, tmp_path, monkeypatch, refused):
    """The same as predicting and evaluating; an interrupted call goes on."""
    data, folds = model.parent / "data", model.parent / "folds.json"
    words = [
        "score-fast",
        "--model",
        model,
        "--dataset",
        data,
        "--folds",
        folds,
        "--device",
        "cpu",
        "--output",
        "fast.json",
    ]
    (held_out,) = json.loads(folds.read_text())[0]["val"]
    predict(scan(model, held_out[-1]), "out", "--fast")
    call("evaluate", "--predictions", "out", "--dataset", data, "--output", "summary.json", "--workers", 1)
    with monkeypatch.context() as broken:
        broken.setattr(score_fast, "summarise", lambda *_: 1 / 0)
        assert main([str(word) for word in words]) == 1
    with monkeypatch.context() as finished:
        finished.setattr(Predictor, "predict_case", lambda *_: pytest.fail("it was predicted already"))
        call(*words)
    found, expected = (json.loads(Path(name).read_text()) for name in ("fast.json", "summary.json"))
    assert (found["foreground_mean"], found["mean"]) == (expected["foreground_mean"], expected["mean"])
    (tmp_path / "folds.json").write_text(folds.read_text().replace(held_out, "nobody"))
    words[words.index(folds)] = "folds.json"
    assert "folds.json names nobody, which is not a case" in refused(*words)


def test_the_predictor_takes_images_and_files(model, tmp_path):
    predictor = Predictor.from_folder(model, device="cpu")
    source = sitk.ReadImage(str(scan(model)))
    found = predictor.predict_image(source)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), labels(model))
    assert (found.GetSpacing(), found.GetOrigin(), found.GetDirection()) == (
        source.GetSpacing(), source.GetOrigin(), source.GetDirection(),
    )  # fmt: skip
    for files in (str(scan(model)), [scan(model)]):
        np.testing.assert_array_equal(predictor.predict_files(files, tmp_path / "seg.nii.gz"), labels(model))
    expected = model.parent / "straight" / "phantom_000.nii.gz"
    assert (tmp_path / "seg.nii.gz").read_bytes() == expected.read_bytes()


def test_closed_streams_change_nothing(model, tmp_path):
    """As of a job that is started with none of them; else files that are opened would take their place."""
    words = ["-m", "segflow", "predict", "-m", model, "-i", images(model), "-o", "out", "--device", "cpu"]
    shell = 'exec "$@" <&- >&- 2>&-'
    ended = subprocess.run(["sh", "-c", shell, "sh", sys.executable, *words], cwd=tmp_path, check=False)
    assert ended.returncode == 0
    for name in names_in(model.parent / "straight"):
        assert (tmp_path / "out" / name).read_bytes() == (model.parent / "straight" / name).read_bytes()
