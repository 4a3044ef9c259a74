"""What the workflow knows of its data sets before any job runs."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segflow.contracts.errors import ConfigurationError, DatasetError, PlanError
from segflow.workflow.chunks import chunk_count, chunk_of
from segflow.workflow.config import WorkflowConfig
from segflow.workflow.datasets import read_sources

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
    assert first == [
        'channel_names={"0": "T1", "1": "T2"}',
        'labels={"background": 0, "organ": 1}',
        'file_ending=".nii.gz"',
    ]
    lay_out(licence="CC0", description="other", numTraining=21, name="Other", reference="x")
    assert sources()["data"].meaning == first


@pytest.mark.parametrize(
    "changes",
    [
        {"channel_names": {"0": "T1", "1": "CT"}},
        {"labels": {"background": 0, "vessel": 1}},
        {"labels": {"background": 0, "organ": 1, "lesion": 2}},
        {"labels": {"background": 0, "organ": [1, 2], "core": 2}, "regions_class_order": [1, 2]},
        {"labels": {"background": 0, "organ": [1, 2], "core": 2}, "regions_class_order": [2, 1]},
    ],
)
def test_meaning_changes_with(changes, lay_out):
    lay_out()
    first = sources()["data"].meaning
    lay_out(**changes)
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
    assert (source.n_folds, source.own_folds) == (5, [])
    folds = [{"train": CASES[:10], "val": CASES[10:]}, {"train": CASES[10:], "val": CASES[:10]}]
    (folder / "splits_final.json").write_text(json.dumps(folds))
    source = sources(folds=[0, 1])["data"]
    assert (source.n_folds, source.own_folds) == (2, ["data/splits_final.json"])


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
    assert source.chunks == [
        ["data/imagesTr/b_0000.nii.gz", "data/imagesTr/b_0001.nii.gz", "data/labelsTr/b.nii.gz"],
    ]


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


# Chunks: bounded in number, and independent of what other cases there are.

IDENTIFIERS = st.lists(st.text(min_size=1), unique=True, max_size=30)
COUNTS = st.sampled_from([1, 2, 4, 8, 32, 1024])
SIZES = {"n_cases": st.integers(0, 10**6), "cases": st.integers(1, 1000), "most": st.integers(1, 1000)}


@given(**SIZES)
def test_a_bounded_power_of_two(n_cases, cases, most):
    count = chunk_count(n_cases, cases=cases, most=most)
    assert 1 <= count <= most
    assert count & (count - 1) == 0
    assert count == 1 or (count // 2) * cases < n_cases  # half as many would not do
    assert count * cases >= n_cases or 2 * count > most  # nor are they too few, unless they may not be more


@given(**SIZES)
def test_a_further_case_never_makes_fewer(n_cases, cases, most):
    few, more = (chunk_count(n, cases=cases, most=most) for n in (n_cases, n_cases + 1))
    assert more in (few, 2 * few)


@pytest.mark.parametrize(
    ("n_cases", "cases", "most", "count"),
    [
        (0, 16, 32, 1),
        (1, 16, 32, 1),
        (16, 16, 32, 1),
        (17, 16, 32, 2),
        (32, 16, 32, 2),
        (33, 16, 32, 4),
        (512, 16, 32, 32),
        (513, 16, 32, 32),
        (10**6, 16, 32, 32),
        (100, 1, 1, 1),
        (100, 1, 33, 32),
        (3, 1, 3, 2),
    ],
)
def test_count(n_cases, cases, most, count):
    assert chunk_count(n_cases, cases=cases, most=most) == count


@given(IDENTIFIERS, COUNTS)
def test_doubling_splits_every_chunk_in_two(identifiers, count):
    for identifier in identifiers:
        assert chunk_of(identifier, 2 * count) % count == chunk_of(identifier, count)


def test_chunks_are_about_even():
    sizes = Counter(chunk_of(f"case_{number:04}", 32) for number in range(32 * 100))
    assert set(sizes) == set(range(32))
    assert min(sizes.values()) > 60
    assert max(sizes.values()) < 140


def test_the_same_on_every_machine():
    """Noted once: another answer would prepare all data sets again."""
    found = {name: chunk_of(name, 2**16) for name in ("phantom_000", "phantom_001", "ä")}
    assert found == {"phantom_000": 13359, "phantom_001": 20614, "ä": 36940}
