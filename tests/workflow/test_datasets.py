"""What the workflow knows of its data sets before any job runs."""

from __future__ import annotations

import json
import os
from collections import Counter

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


def files_of(case, folder="data"):
    return [
        f"{folder}/{file}.nii.gz"
        for file in (f"imagesTr/{case}_0000", f"imagesTr/{case}_0001", f"labelsTr/{case}")
    ]


def test_every_file_is_in_the_chunk_of_its_case(lay_out):
    folder = lay_out()
    (source,) = sources().values()
    assert (source.folder, source.description) == ("data", "data/dataset.json")
    assert source.n_chunks == 4
    for number, files in enumerate(source.chunks):
        assert files == [file for case in CASES if chunk_of(case, 4) == number for file in files_of(case)]

    (folder / "labelsTr" / "case_03.nii.gz").unlink()  # which is for the check to find
    files = [file for chunk in sources()["data"].chunks for file in chunk]
    assert (len(files), "data/labelsTr/case_03.nii.gz" in files) == (59, False)


def test_another_case_changes_one_chunk_or_splits_them(lay_out):
    lay_out(cases=CASES[:18])
    (before,) = sources().values()
    lay_out(cases=CASES[:19])
    (after,) = sources().values()
    changed = [number for number in range(4) if before.chunks[number] != after.chunks[number]]
    assert changed == [chunk_of(CASES[18], 4)]
    assert set(after.chunks[changed[0]]) - set(before.chunks[changed[0]]) == set(files_of(CASES[18]))
    assert after.cases != before.cases

    lay_out(cases=[*CASES, "zz"])
    (split,) = sources().values()
    assert split.n_chunks == 8
    for number, files in enumerate(split.chunks):
        new = {file for case in ("zz", CASES[19]) for file in files_of(case)}
        assert set(files) - new <= set(after.chunks[number % 4])


def test_a_word_says_which_cases_there_are(lay_out):
    lay_out(cases=CASES[:3])
    first = sources()["data"].cases
    assert first == sources()["data"].cases
    assert first.startswith("cases=3:")
    assert "\n" not in first
    lay_out("other", cases=["a", *CASES[:2]])
    assert sources("other")["other"].cases != first


def test_meaning_is_what_bears_on_images_and_labels(lay_out):
    folder = lay_out()
    first = sources()["data"].meaning
    assert first == [
        'channel_names={"0": "T1", "1": "T2"}',
        'labels={"background": 0, "organ": 1}',
        'file_ending=".nii.gz"',
    ]
    lay_out(licence="CC0", description="other", numTraining=21, name="Other", reference="x")
    assert sources()["data"].meaning == first
    old = {**DESCRIPTION, "modality": DESCRIPTION["channel_names"]}  # nnU-Net's old name of the channels
    del old["channel_names"]
    (folder / "dataset.json").write_text(json.dumps(old))
    assert sources()["data"].meaning == first


def test_tolerances_go_to_the_data_sets_that_have_the_class(lay_out):
    lay_out()
    lay_out("other", labels={"background": 0, "lesion": 1})
    found = sources("data", "other", evaluation={"nsd_tolerance_mm": {"lesion": 3, "organ": 2}})
    assert [one.evaluation.nsd_tolerance_mm for one in found.values()] == [{"organ": 2}, {"lesion": 3}]
    assert sources(evaluation={"nsd_tolerance_mm": 1})["data"].evaluation.nsd_tolerance_mm == 1
    with pytest.raises(ConfigurationError, match="nsd_tolerance_mm: no data set has a class 'liver'"):
        sources("data", "other", evaluation={"nsd_tolerance_mm": {"liver": 3}})


REGIONS = {"background": 0, "organ": [1, 2], "core": 2}


def test_meaning_changes_with_channels_labels_and_the_order_of_regions(lay_out):
    meanings = []
    for changes in (
        {},
        {"channel_names": {"0": "T1", "1": "CT"}},
        {"labels": {"background": 0, "vessel": 1}},
        {"labels": {"background": 0, "organ": 1, "lesion": 2}},
        {"labels": REGIONS, "regions_class_order": [1, 2]},
        {"labels": REGIONS, "regions_class_order": [2, 1]},
    ):
        lay_out(**changes)
        meanings.append(tuple(sources()["data"].meaning))
    assert len(set(meanings)) == len(meanings)


def split_into_two(folder):
    write_folds(folder, [{"train": CASES[:2], "val": CASES[2:4]}, {"train": CASES[2:4], "val": CASES[:2]}])


def write_folds(folder, folds):
    (folder / "splits_final.json").write_text(json.dumps(folds))


def test_five_folds_unless_it_has_its_own(lay_out):
    folder = lay_out()
    source = sources()["data"]
    assert (source.n_folds, source.folds, source.own_folds) == (5, [0, 1, 2, 3, 4], [])
    split_into_two(folder)
    source = sources()["data"]
    assert (source.n_folds, source.folds, source.own_folds) == (2, [0, 1], ["data/splits_final.json"])
    (folder / "splits_final.json").write_text("[{]")
    with pytest.raises(PlanError, match=r"splits_final\.json is not valid JSON"):
        sources()


def test_folds_that_do_not_fit_are_refused_before_any_job(lay_out):
    folder = lay_out()
    write_folds(folder, [{"train": CASES[:2], "val": CASES[2:4]}] * 3)
    with pytest.raises(ConfigurationError, match=r"splits_final\.json: folds 0, 2 hold case_02 out 2 times"):
        sources(folds=[0, 2])
    assert sources(folds=[2])["data"].folds == [2]
    write_folds(folder, [{"train": ["case_2"], "val": CASES[2:4]}])
    with pytest.raises(PlanError, match=r"splits_final\.json: fold 0 names case_2, which is not a case"):
        sources(folds=[0])


def test_patients_by_an_expression_or_a_file(lay_out):
    folder = lay_out()
    source = sources()["data"]
    assert (source.patients, source.patients_file) == ([], [])
    source = sources(patients=r"\d{2}$")["data"]
    assert (source.patients, source.patients_file) == (["--patients", r"\d{2}$"], [])
    (folder / "patients.csv").write_text("case,patient\n" + "".join(f"{case},{case[-1]}\n" for case in CASES))
    source = sources()["data"]
    assert (source.patients, source.patients_file) == ([], ["data/patients.csv"])
    write_folds(folder, [{"train": CASES[:2], "val": CASES[10:12]}])
    with pytest.raises(PlanError, match=r"splits_final\.json: fold 0 trains on .* which are of one patient"):
        sources(folds=[0])


def test_patients_that_are_too_few_or_not_in_a_name(lay_out):
    lay_out()
    with pytest.raises(
        ConfigurationError, match=r"data: 20 cases of 2 patients cannot be held out in 5 folds"
    ):
        sources(patients="case_(.)")
    assert sources(patients="case_(.)", folds="all")["data"].folds == ["all"]
    with pytest.raises(DatasetError, match=r"patients: case_1 finds no patient in the name of case case_00"):
        sources(patients="case_1")


@pytest.mark.parametrize("case", ["a{b}", "x}"])
def test_names_that_snakemake_would_take_for_wildcards(case, lay_out):
    lay_out(cases=[case])
    with pytest.raises(DatasetError, match=r"_0000\.nii\.gz has a brace in it, which Snakemake takes"):
        sources()


def test_a_fold_that_one_of_them_does_not_have(lay_out):
    lay_out("five")
    split_into_two(lay_out("two"))
    assert list(sources("five", "two", folds=[1])) == ["five", "two"]
    with pytest.raises(ConfigurationError, match=r"folds: there is no fold 2; the folds of two are 0 to 1"):
        sources("five", "two", folds=[0, 2])


def test_of_few_cases_all_are_trained_on(lay_out):
    folder = lay_out(cases=CASES[:4])
    for folds in ([0, 1, 2, 3, 4], [7], "all"):
        source = sources(folds=folds)["data"]
        assert (source.folds, source.is_scored) == (["all"], False)
        assert not source.holds_out_all
    split_into_two(folder)
    source = sources(folds=[1])["data"]
    assert (source.folds, source.is_scored, source.holds_out_all) == ([1], True, True)


def test_a_single_split_does_not_hold_out_every_case(lay_out):
    folder = lay_out(cases=CASES[:4])
    write_folds(folder, [{"train": CASES[:3], "val": CASES[3:4]}])
    source = sources(folds=[0])["data"]
    assert (source.is_scored, source.holds_out_all) == (True, False)


def test_all_cases_are_trained_on_where_that_is_asked_for(lay_out):
    folder = lay_out(cases=CASES[:5])
    assert sources(folds=[4, 0])["data"].folds == [4, 0]
    assert sources(folds="all")["data"].folds == ["all"]
    split_into_two(folder)
    message = (
        r"folds: all trains on every case, but data has a splits_final\.json that holds some out; name some"
    )
    with pytest.raises(ConfigurationError, match=message):
        sources(folds="all")


def test_names_are_those_of_the_folders(lay_out, tmp_path):
    lay_out("one")
    deep = lay_out("deep/er/two")
    found = sources("one/", str(deep))
    assert [(name, source.folder) for name, source in found.items()] == [("one", "one"), ("two", str(deep))]
    assert all(file.startswith(f"{tmp_path}/") for chunk in found["two"].chunks for file in chunk)


def test_cases_listed_in_the_description(lay_out):
    *images, label = files_of("b", ".")
    lay_out(cases=["a", "b"], dataset={"first": {"images": images, "label": label}})
    (source,) = sources().values()
    assert source.chunks == [files_of("b")]


# Chunks: bounded in number, and independent of what other cases there are.

SIZES = {"n_cases": st.integers(0, 10**6), "cases": st.integers(1, 1000), "most": st.integers(1, 1000)}


@given(**SIZES)
def test_a_bounded_power_of_two_that_never_falls_with_another_case(n_cases, cases, most):
    count, more = (chunk_count(n, cases=cases, most=most) for n in (n_cases, n_cases + 1))
    assert 1 <= count <= most
    assert count & (count - 1) == 0
    assert count == 1 or (count // 2) * cases < n_cases  # half as many would not do
    assert count * cases >= n_cases or 2 * count > most  # nor are they too few, unless they may not be more
    assert more in (count, 2 * count)


@pytest.mark.parametrize(
    ("n_cases", "cases", "most", "count"),
    [
        (0, 16, 32, 1), (1, 16, 32, 1), (16, 16, 32, 1), (17, 16, 32, 2), (32, 16, 32, 2), (33, 16, 32, 4),
        (512, 16, 32, 32), (513, 16, 32, 32), (10**6, 16, 32, 32), (100, 1, 1, 1), (100, 1, 33, 32), (3, 1, 3, 2),
    ],
)  # fmt: skip
def test_count(n_cases, cases, most, count):
    assert chunk_count(n_cases, cases=cases, most=most) == count


@given(st.text(min_size=1), st.sampled_from([1, 2, 4, 8, 32, 1024]))
def test_doubling_splits_every_chunk_in_two(identifier, count):
    assert chunk_of(identifier, 2 * count) % count == chunk_of(identifier, count)


def test_chunks_are_about_even():
    sizes = Counter(chunk_of(f"case_{number:04}", 32) for number in range(32 * 100))
    assert set(sizes) == set(range(32))
    assert min(sizes.values()) > 60
    assert max(sizes.values()) < 140


@pytest.mark.parametrize(
    ("kb", "count"), [(0, 1), (1, 1), (500, 1), (1000, 2), (2000, 4), (5000, 8), (50_000, 8)]
)
def test_jobs_have_16_cases_or_64_mb_of_files(kb, count, lay_out):
    folder = lay_out(cases=[f"case_{number:03}" for number in range(110)])
    for file in folder.glob("*/*"):
        os.truncate(file, kb * 1024 // 3)  # a case has three files
    assert sources(chunks={})["data"].n_chunks == count


def test_the_same_on_every_machine():
    """Noted once: another answer would prepare all data sets again."""
    found = {name: chunk_of(name, 2**16) for name in ("phantom_000", "phantom_001", "ä")}
    assert found == {"phantom_000": 13359, "phantom_001": 20614, "ä": 36940}
