"""What the workflow knows of its data sets before any job runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from segflow.contracts.errors import ConfigurationError, DatasetError, PlanError
from segflow.workflow.config import WorkflowConfig
from segflow.workflow.datasets import chunk_of, read_sources

DESCRIPTION = {
    "channel_names": {"0": "T1", "1": "T2"},
    "labels": {"background": 0, "organ": 1},
    "numTraining": 20,
    "file_ending": ".nii.gz",
}
CASES = [f"case_{number:02}" for number in range(20)]


@pytest.fixture
def lay_out(tmp_path, monkeypatch):
    """A function that lays out a data set of empty files; the working folder is the one above it."""
    monkeypatch.chdir(tmp_path)

    def make(name="data", cases=CASES, **changes):
        folder = tmp_path / name
        for below in ("imagesTr", "labelsTr"):
            (folder / below).mkdir(parents=True, exist_ok=True)
        for case in cases:
            for file in (f"imagesTr/{case}_0000", f"imagesTr/{case}_0001", f"labelsTr/{case}"):
                (folder / f"{file}.nii.gz").touch()
        (folder / "dataset.json").write_text(json.dumps({**DESCRIPTION, **changes}))
        return folder

    return make


def sources(*folders, **settings):
    data = {"datasets": folders or ["data"], "output": "results", "chunks": {"cases": 5, "most": 8}}
    return read_sources(WorkflowConfig.parse({**data, **settings}, where="c", error=ConfigurationError))


def test_every_file_is_in_the_chunk_of_its_case(lay_out):
    lay_out()
    (source,) = sources().values()
    assert source.folder == "data"
    assert source.description == "data/dataset.json"
    assert len(source.chunks) == 4
    for number, files in enumerate(source.chunks):
        cases = [case for case in CASES if chunk_of(case, 4) == number]
        expected = [
            f"data/{file}.nii.gz"
            for case in cases
            for file in (f"imagesTr/{case}_0000", f"imagesTr/{case}_0001", f"labelsTr/{case}")
        ]
        assert list(files) == expected


def test_a_further_case_is_a_matter_of_one_chunk(lay_out):
    lay_out(cases=CASES[:18])
    (before,) = sources().values()
    lay_out(cases=CASES[:19])
    (after,) = sources().values()
    changed = [number for number in range(4) if before.chunks[number] != after.chunks[number]]
    assert changed == [chunk_of(CASES[18], 4)]
    assert set(after.chunks[changed[0]]) > set(before.chunks[changed[0]])
    assert after.cases != before.cases


def test_a_growing_data_set_splits_its_chunks(lay_out):
    lay_out(cases=CASES)
    (before,) = sources().values()
    lay_out(cases=[*CASES, "zz"])
    (after,) = sources().values()
    assert (len(before.chunks), len(after.chunks)) == (4, 8)
    for number, files in enumerate(after.chunks):
        old = set(before.chunks[number % 4])
        assert {file for file in files if "zz" not in file} <= old


def test_no_more_chunks_than_allowed(lay_out):
    lay_out()
    (source,) = sources(chunks={"cases": 1, "most": 2}).values()
    assert len(source.chunks) == 2


def test_cases_say_whether_there_are_others(lay_out):
    lay_out(cases=CASES[:3])
    first = sources()["data"].cases
    assert first == sources()["data"].cases
    assert "\n" not in first
    assert first.startswith("cases=3:")
    lay_out("other", cases=["a", *CASES[:2]])
    assert sources("other")["other"].cases != first


def test_a_label_that_is_missing_is_for_the_check_to_find(lay_out):
    folder = lay_out()
    (folder / "labelsTr" / "case_03.nii.gz").unlink()
    files = [file for chunk in sources()["data"].chunks for file in chunk]
    assert len(files) == 59
    assert "data/labelsTr/case_03.nii.gz" not in files


def test_meaning_is_what_bears_on_images_and_labels(lay_out):
    lay_out()
    first = sources()["data"].meaning
    assert first == (
        'channel_names={"0": "T1", "1": "T2"}',
        'labels={"background": 0, "organ": 1}',
        'file_ending=".nii.gz"',
    )
    lay_out(licence="CC0", description="other", numTraining=21, name="Other", reference="x")
    assert sources()["data"].meaning == first


@pytest.mark.parametrize(
    "changes",
    [
        {"channel_names": {"0": "T1", "1": "CT"}},
        {"labels": {"background": 0, "vessel": 1}},
        {"labels": {"background": 0, "organ": 1, "lesion": 2}},
        {"labels": {"background": 0, "organ": [1, 2], "core": 2}, "regions_class_order": [1, 2]},
    ],
)
def test_meaning_changes_with(changes, lay_out):
    lay_out()
    first = sources()["data"].meaning
    lay_out(**changes)
    assert sources()["data"].meaning != first


def test_the_order_of_regions_has_a_meaning(lay_out):
    labels = {"background": 0, "organ": [1, 2], "core": 2}
    lay_out(labels=labels, regions_class_order=[1, 2])
    first = sources()["data"].meaning
    lay_out(labels=labels, regions_class_order=[2, 1])
    assert sources()["data"].meaning != first


def test_the_old_name_of_the_channels_means_the_same(lay_out):
    folder = lay_out()
    first = sources()["data"].meaning
    old = {**DESCRIPTION, "modality": DESCRIPTION["channel_names"]}
    del old["channel_names"]
    (folder / "dataset.json").write_text(json.dumps(old))
    assert sources()["data"].meaning == first


def test_five_folds_unless_it_has_its_own(lay_out):
    folder = lay_out()
    source = sources()["data"]
    assert (source.n_folds, source.own_folds) == (5, None)
    folds = [{"train": CASES[:10], "val": CASES[10:]}, {"train": CASES[10:], "val": CASES[:10]}]
    (folder / "splits_final.json").write_text(json.dumps(folds))
    source = sources(folds=[0, 1])["data"]
    assert (source.n_folds, source.own_folds) == (2, "data/splits_final.json")


def test_folds_of_its_own_that_are_broken(lay_out):
    folder = lay_out()
    (folder / "splits_final.json").write_text("[{]")
    with pytest.raises(PlanError, match=r"splits_final\.json is not valid JSON"):
        sources()


def test_a_fold_that_one_of_them_does_not_have(lay_out):
    lay_out("five")
    folder = lay_out("two")
    (folder / "splits_final.json").write_text(json.dumps([{"train": CASES, "val": []}] * 2))
    assert list(sources("five", "two", folds=[1])) == ["five", "two"]
    with pytest.raises(ConfigurationError, match=r"folds: there is no fold 2; the folds of two are 0 to 1"):
        sources("five", "two", folds=[0, 2])


def test_names_are_the_folders(lay_out, tmp_path):
    lay_out("one")
    lay_out("deep/er/two")
    found = sources("one", str(tmp_path / "deep" / "er" / "two"))
    assert list(found) == ["one", "two"]
    assert Path(found["two"].folder) == tmp_path / "deep" / "er" / "two"
    assert all(file.startswith(f"{tmp_path}/") for chunk in found["two"].chunks for file in chunk)


def test_cases_listed_in_the_description(lay_out):
    folder = lay_out(cases=["a", "b"])
    listed = {
        "first": {
            "images": ["imagesTr/b_0000.nii.gz", "imagesTr/b_0001.nii.gz"],
            "label": "labelsTr/b.nii.gz",
        }
    }
    (folder / "dataset.json").write_text(json.dumps({**DESCRIPTION, "dataset": listed}))
    (source,) = sources().values()
    assert source.chunks == (
        ("data/imagesTr/b_0000.nii.gz", "data/imagesTr/b_0001.nii.gz", "data/labelsTr/b.nii.gz"),
    )


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "dataset.json").unlink(), r"data/dataset\.json does not exist"),
        (lambda folder: (folder / "dataset.json").write_text("{"), r"dataset\.json is not valid JSON"),
        (lambda folder: (folder / "dataset.json").write_text("{}"), r"dataset\.json lacks channel_names"),
        (lambda folder: (folder / "imagesTr").rename(folder / "images"), r"imagesTr does not exist"),
    ],
)
def test_what_is_no_data_set(spoil, message, lay_out):
    spoil(lay_out())
    with pytest.raises(DatasetError, match=message):
        sources()
