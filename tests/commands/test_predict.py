"""Labelling new images: what is written, resumed, shared out, refused."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from packages import package_of
from score_calls import read
from stage_calls import call, contents

from segflow.commands.main import main
from segflow.contracts.case import Case
from segflow.images.cases import read_case
from segflow.prediction import sliding_window
from segflow.prediction.predictor import Predictor
from segflow.storage.probabilities import read_probabilities

NAMES = [f"phantom_00{number}.nii.gz" for number in range(5)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A package of two configurations; beside it the images, and what an undisturbed call made of them."""
    model = package_of(tmp_path_factory.mktemp("package"), "2d", "3d_fullres")
    call(*words(model, "straight"))
    return model


def words(model, name, *more, images=None):
    return [
        "predict", "--model", model, "--input", *(images or [model.parent / "data" / "imagesTr"]),
        "--output", model.parent / name, "--device", "cpu", "--threads", 1, *more,
    ]  # fmt: skip


def refused(model, capsys, *more, images=None):
    """What a call that must fail says."""
    assert main([str(word) for word in words(model, "refused", *more, images=images)]) == 1
    return " ".join(capsys.readouterr().err.split())


@pytest.fixture
def output(model, tmp_path):
    """Relative to the package's folder, as `words` wants it."""
    return tmp_path / "labels"


def image(model, number):
    return model.parent / "data" / "imagesTr" / f"phantom_00{number}_0000.nii.gz"


def test_label_maps_and_report(model):
    straight = model.parent / "straight"
    assert sorted(contents(straight)) == [*NAMES, "prediction.json"]
    report = json.loads((straight / "prediction.json").read_text())
    assert list(report["cases"]) == [name.removesuffix(".nii.gz") for name in NAMES]
    assert (report["candidate"], report["folds"], report["failed"]) == ("2d+3d_fullres", [0], {})


@pytest.mark.parametrize("ahead", [0, 3])
def test_overlap_changes_nothing(model, output, ahead):
    call(*words(model, output, "--ahead", ahead))
    assert contents(output) == contents(model.parent / "straight")


def test_the_predictor_gives_the_verb_s_labels(model):
    predictor = Predictor.from_folder(model, device="cpu")
    found = sitk.ReadImage(str(image(model, 0)))
    array, spacing = sitk.GetArrayFromImage(found), found.GetSpacing()[::-1]
    expected = read(model.parent / "straight" / NAMES[0])
    np.testing.assert_array_equal(predictor.predict(array, spacing), expected)
    np.testing.assert_array_equal(predictor.predict(array[None], spacing), expected)


def test_probabilities(model, output):
    call(*words(model, output, "--save-probabilities", images=[image(model, 0)]))
    raw = read_case(Case("phantom_000", (image(model, 0),), None), channels=1)
    labels, scores = Predictor.from_folder(model, device="cpu").predict_case(raw, probabilities=True)
    stored = read_probabilities(output / "probabilities" / "phantom_000.npz", has_regions=False)
    np.testing.assert_allclose(stored, scores, atol=0.51 / 255)
    np.testing.assert_allclose(scores.sum(axis=0), 1, atol=1e-5)
    assert scores.shape[1:] == labels.shape == raw.image.shape[1:]
    np.testing.assert_array_equal(scores.argmax(axis=0), labels)
    expected = contents(model.parent / "straight")
    assert (output / NAMES[0]).read_bytes() == expected[NAMES[0]]


def test_probabilities_as_images(model, output):
    """A file per class in the image's geometry, instead of or beside the npz; another call removes them."""
    folder, image_0 = output / "probabilities", image(model, 0)
    call(*words(model, output, "--save-probabilities", "npz", "nifti", images=[image_0]))
    stored = read_probabilities(folder / "phantom_000.npz", has_regions=False)
    names = [f"phantom_000_{number:04d}.nii.gz" for number in range(len(stored))]
    call(*words(model, output, "--save-probabilities", "nifti", images=[image_0]))
    assert sorted(file.name for file in folder.iterdir()) == names
    source = sitk.ReadImage(str(image_0))
    for name, expected in zip(names, stored, strict=True):
        found = sitk.ReadImage(str(folder / name))
        assert found.GetPixelID() == sitk.sitkFloat32
        np.testing.assert_array_equal(sitk.GetArrayFromImage(found), expected)
        for place in ("GetOrigin", "GetSpacing", "GetDirection"):
            assert getattr(found, place)() == pytest.approx(getattr(source, place)())
    call(*words(model, output, "--save-probabilities", "nifti", "--resume", images=[image_0]))
    assert sorted(file.name for file in folder.iterdir()) == names
    call(*words(model, output, images=[image_0]))
    assert not list(folder.iterdir())


def test_probabilities_on_the_networks_grid(model, tmp_path, capsys):
    """They are those on the image's grid before resampling, and the label map stays as it is."""
    single = package_of(tmp_path, "3d_fullres")
    first = [image(single, 0)]
    call(*words(single, "full", "--save-probabilities", "nifti", images=first))
    more = ("--save-probabilities", "npz", "nifti", "--save-lowres")
    call(*words(single, "coarse", *more, images=first))
    full, coarse = tmp_path / "full", tmp_path / "coarse"
    assert (coarse / NAMES[0]).read_bytes() == (full / NAMES[0]).read_bytes()
    stored = read_probabilities(coarse / "probabilities" / "phantom_000.npz", has_regions=False)
    for number, expected in enumerate(stored):
        name = f"probabilities/phantom_000_{number:04d}.nii.gz"
        small, whole = sitk.ReadImage(str(coarse / name)), sitk.ReadImage(str(full / name))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(small), expected)
        resized = sitk.Resample(small, whole, sitk.Transform(), sitk.sitkLinear, -1.0)
        found, wanted = map(sitk.GetArrayFromImage, (resized, whole))
        inside = found >= 0
        assert inside.mean() > 0.1
        assert np.abs(found - wanted)[inside].mean() < 0.02
    assert "2d+3d_fullres averages two networks" in refused(model, capsys, *more)
    assert "name --save-probabilities" in refused(single, capsys, "--save-lowres")


def test_files_as_input(model, output, tmp_path):
    plain = shutil.copy(image(model, 2), tmp_path / "phantom_002.nii.gz")
    call(*words(model, output, images=[image(model, 1), plain]))
    expected = contents(model.parent / "straight")
    assert {name: content for name, content in contents(output).items() if name in NAMES} == {
        name: expected[name] for name in NAMES[1:3]
    }


def test_nan_is_refused(model, output, tmp_path, capsys):
    file = tmp_path / "holes.mha"
    array = read(image(model, 0)).astype(np.float32)
    array[0, 0, 0] = np.nan
    sitk.WriteImage(sitk.GetImageFromArray(array), str(file))
    assert "NaN" in refused(model, capsys, images=[file])


def test_another_format_is_kept(model, output, tmp_path):
    file = tmp_path / "phantom_000_0000.mha"
    sitk.WriteImage(sitk.ReadImage(str(image(model, 0))), str(file))
    call(*words(model, output, images=[file]))
    found = read(output / "phantom_000.mha")
    expected = read(model.parent / "straight" / NAMES[0])
    np.testing.assert_array_equal(found, expected)


def test_shards_are_disjoint_and_cover_all(model, output):
    made = []
    for part in (1, 2, 3):
        call(*words(model, output, "--shard", f"{part}/3"))
        made.append(list(json.loads((output / f"prediction_{part}_of_3.json").read_text())["cases"]))
    assert made == [["phantom_000", "phantom_003"], ["phantom_001", "phantom_004"], ["phantom_002"]]
    expected = contents(model.parent / "straight")
    assert {name: (output / name).read_bytes() for name in NAMES} == {name: expected[name] for name in NAMES}
    before = (output / NAMES[4]).stat().st_ino
    call(*words(model, output, "--resume"))  # other shards: what is there counts all the same
    assert (output / NAMES[4]).stat().st_ino == before


def test_a_shard_without_cases(model, output):
    call(*words(model, output, "--shard", "2/2", images=[image(model, 0)]))
    assert json.loads((output / "prediction_2_of_2.json").read_text())["cases"] == {}


def test_a_failing_case_among_good_ones(model, output, tmp_path, capsys):
    images = tmp_path / "images"
    shutil.copytree(model.parent / "data" / "imagesTr", images)
    (images / "broken_0000.nii.gz").write_bytes(b"no image")
    shutil.copy(images / "phantom_000_0000.nii.gz", images / "surplus_0000.nii.gz")
    shutil.copy(images / "phantom_000_0000.nii.gz", images / "surplus_0001.nii.gz")
    one = sitk.ReadImage(str(images / "phantom_000_0000.nii.gz"))
    sitk.WriteImage(sitk.Compose([one, one]), str(images / "double_0000.nii.gz"))
    assert main([str(word) for word in words(model, output, images=[images])]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "5 of 8 cases labelled" in said
    failed = json.loads((output / "prediction.json").read_text())["failed"]
    assert list(failed) == ["broken", "double", "surplus"]
    assert "2 channels" in failed["double"]
    assert "one channel too many" in failed["surplus"]
    expected = contents(model.parent / "straight")
    assert {name: (output / name).read_bytes() for name in NAMES} == {name: expected[name] for name in NAMES}


def test_voxel_sizes_far_from_those_of_the_training_cases(model, output, tmp_path, capsys):
    """One would need more memory than any machine has, another is labelled with a warning; the others go on."""
    files = [shutil.copy(image(model, 0), tmp_path)]
    for name, factor in (("huge", 5000), ("tiny", 0.001)):
        one = sitk.ReadImage(str(image(model, 0)))
        one.SetSpacing([factor * mm for mm in one.GetSpacing()])
        files.append(tmp_path / f"{name}_0000.nii.gz")
        sitk.WriteImage(one, str(files[-1]))
    assert main([str(word) for word in words(model, output, images=files)]) == 1
    said = " ".join(capsys.readouterr().err.split())
    for name in ("huge", "tiny"):
        assert f"case {name}: its voxels measure " in said
    assert "case phantom_000" not in said
    failed = json.loads((output / "prediction.json").read_text())["failed"]
    assert list(failed) == ["huge"]
    assert "GB of memory" in failed["huge"]
    assert sorted(file.name for file in output.glob("*.nii.gz")) == [NAMES[0], "tiny.nii.gz"]
    assert (output / NAMES[0]).read_bytes() == (model.parent / "straight" / NAMES[0]).read_bytes()


def test_memory_that_does_not_suffice_is_the_case_s_fault(model, output, monkeypatch, capsys):
    original = Predictor.label

    def label(self, ready, *, keep=None):
        if ready.record.identifier == "phantom_001":
            raise RuntimeError("CUDA out of memory")
        return original(self, ready, keep=keep)

    monkeypatch.setattr(Predictor, "label", label)
    assert main([str(word) for word in words(model, output)]) == 1
    assert "phantom_001 does not fit into memory" in " ".join(capsys.readouterr().err.split())
    assert sorted(file.name for file in output.glob("*.nii.gz")) == [NAMES[0], *NAMES[2:]]


class Shortage:
    """A network's device whose memory runs out in every call after some, or in that one only."""

    def __init__(self, monkeypatch, after, *, once):
        self.calls, self.after, self.once = 0, after, once
        original = sliding_window._Window._scores

        def scores(window, batch, n_tiles):
            self.calls += 1
            if self.calls == after + 1 or (self.calls > after and not once):
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            return original(window, batch, n_tiles)

        monkeypatch.setattr(sliding_window._Window, "_scores", scores)
        monkeypatch.setattr(sliding_window, "BATCH_VOXELS", 2 * 64 * 64)


def test_a_device_whose_memory_runs_out_for_a_moment(model, output, monkeypatch):
    """Another size of batches changes last bits, which may decide a voxel."""
    shortage = Shortage(monkeypatch, 5, once=True)
    call(*words(model, output, images=[image(model, 0)]))
    assert shortage.calls > 10
    found, expected = (read(folder / NAMES[0]) for folder in (output, model.parent / "straight"))
    assert (found != expected).mean() < 1e-4


def test_a_device_whose_memory_does_not_suffice_leaves_nothing_behind(model, output, monkeypatch, capsys):
    Shortage(monkeypatch, 5, once=False)
    more = ("--save-probabilities", "--mirroring")
    assert main([str(word) for word in words(model, output, *more, images=[image(model, 0)])]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert re.search(
        r"case phantom_000: an image of \d+ x \d+ x \d+ voxels does not fit into the memory of", said
    )
    assert (
        "at a time and sums in main memory; switch mirroring off, or use a machine with more memory" in said
    )
    assert [name for name in contents(output) if ".unfinished/" not in name] == ["prediction.json"]


def test_a_fault_of_the_program_is_not_a_case_s(model, output, monkeypatch, capsys):
    monkeypatch.setattr(Predictor, "label", lambda *_, **__: 1 / 0)
    assert main([str(word) for word in words(model, output)]) == 1
    said = capsys.readouterr().err
    assert "this is a fault of segflow itself" in said
    assert "ZeroDivisionError" in said
    assert "case " not in said.partition("Traceback")[0]


def test_finished_cases_are_left_alone(model, output):
    call(*words(model, output))
    before = {name: (output / name).stat().st_mtime_ns for name in NAMES}
    (output / NAMES[1]).write_bytes(b"damaged")
    (output / NAMES[2]).unlink()
    call(*words(model, output, "--resume"))
    after = {name: (output / name).stat().st_mtime_ns for name in NAMES}
    assert [name for name in NAMES if before[name] == after[name]] == [NAMES[0], *NAMES[3:]]
    assert contents(output) == contents(model.parent / "straight")
    call(*words(model, output))
    anew = {name: (output / name).stat().st_mtime_ns for name in NAMES}
    assert all(anew[name] > before[name] for name in NAMES)


@pytest.mark.parametrize(
    "change",
    [
        "image",
        *(
            pytest.param(one, marks=pytest.mark.slow)
            for one in ("step", "precision", "model", "probabilities")
        ),
    ],
)
def test_what_was_made_of_something_else_is_made_again(model, output, tmp_path, change):
    images, other = tmp_path / "images", tmp_path / "model"
    shutil.copytree(model.parent / "data" / "imagesTr", images)
    shutil.copytree(model, other)
    here = ["predict", "--model", other, "--input", images, "--output", output, "--device", "cpu"]
    call(*here)
    report = json.loads((output / "prediction.json").read_text())["cases"]
    more = {"step": ["--step", 1], "precision": ["--precision", "bfloat16"]}.get(change, [])
    if change == "image":
        shutil.copy(images / "phantom_001_0000.nii.gz", images / "phantom_000_0000.nii.gz")
    elif change == "model":
        card = json.loads((other / "model.json").read_text())
        (other / "model.json").write_text(json.dumps({**card, "recipe": "another"}))
    elif change == "probabilities":
        more = ["--save-probabilities"]
    call(*here, "--resume", *more)
    again = json.loads((output / "prediction.json").read_text())["cases"]
    differing = [name for name in report if report[name]["key"] != again[name]["key"]]
    assert differing == (["phantom_000"] if change == "image" else list(report))
    assert (output / "probabilities" / "phantom_004.npz").exists() == (change == "probabilities")


@pytest.mark.parametrize(
    ("how", "after"),
    [
        (signal.SIGKILL, 1),
        *(
            pytest.param(how, after, marks=pytest.mark.slow)
            for how in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
            for after in (0, 1, 3)
            if (how, after) != (signal.SIGKILL, 1)
        ),
    ],
)
def test_killed_and_resumed(model, output, how, after):
    """Stopped when so many label maps are there; only whole files are, and a second call ends with the same."""
    program = Path(sys.executable).with_name("segflow")  # not python -m: see test_main.py about Ctrl-C
    everything = ("--save-probabilities", "--statistics", "--preview")
    command = [program, *map(str, words(model, output, *everything))]
    reference = model.parent / "with_everything"
    if not reference.exists():
        call(*words(model, reference, *everything))
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ
    ) as process:
        while process.poll() is None and len(list(output.glob("[!.]*.nii.gz"))) < after:
            time.sleep(0.005)
        if after == 0:
            while process.poll() is None and not output.exists():
                time.sleep(0.005)
        process.send_signal(how)
        ended = process.wait(timeout=60)
    assert ended in {
        {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}[how],
        0,
    }  # or it was faster
    expected = contents(reference)
    found = {name: file for name, file in contents(output).items() if name in expected}
    assert found.items() <= expected.items()
    kept = [file.stem for file in (output / "prediction.unfinished").glob("[!.]*.json")]
    before = {case: (output / f"{case}.nii.gz").stat() for case in kept}
    call(*words(model, output, *everything, "--resume"))
    visible = {name: file for name, file in contents(output).items() if "/." not in f"/{name}"}
    assert visible == expected
    for case, status in before.items():
        now = (output / f"{case}.nii.gz").stat()
        assert (now.st_ino, now.st_mtime_ns) == (status.st_ino, status.st_mtime_ns)


def test_misuse(model, capsys, tmp_path):
    folder = model.parent / "data" / "imagesTr"
    assert "has no fold 3; it has 0" in refused(model, capsys, "--folds", 3)
    assert "step" in refused(model, capsys, "--step", 7)
    assert "a folder beside other input" in refused(model, capsys, images=[folder, image(model, 0)])
    text = shutil.copy(image(model, 0), tmp_path / "notes.txt")
    assert "is no image: its ending is none of" in refused(model, capsys, images=[text])


def test_scores_that_are_not_finite_name_the_case(model, tmp_path, capsys, monkeypatch):
    """As where half precision overflows."""
    monkeypatch.setattr(
        sliding_window, "sliding_window", lambda *_, **__: iter([np.full((3, 1, 1, 1), np.inf, np.float32)])
    )
    assert main([str(word) for word in words(model, tmp_path / "labels", images=[image(model, 1)])]) == 1
    assert re.search(r"case phantom_001: .*scores are not finite", " ".join(capsys.readouterr().err.split()))
