"""A label map per case, and a second attempt that goes on where the first stopped."""

from __future__ import annotations

import json

import pytest

from segflow.commands.resume import label_cases
from segflow.storage.files import digest_of, key_of

CASES = {"a": "ka", "b": "kb", "c": "kc"}


class Maker:
    """Writes files, remembers for which cases, and stops before one of them."""

    def __init__(self, folder, stop_at=None, content="of "):
        self.folder = folder
        self.stop_at = stop_at
        self.content = content
        self.made = []

    def __call__(self, case):
        if case == self.stop_at:
            raise KeyboardInterrupt
        self.made.append(case)
        file = self.folder / f"{case}.nii.gz"
        file.write_text(self.content + case)
        return [file]


@pytest.fixture
def manifest(tmp_path):
    return tmp_path / "manifest.json"


@pytest.fixture
def interrupted(tmp_path, manifest):
    """The case "a" is done."""
    with pytest.raises(KeyboardInterrupt):
        label_cases("t", CASES, Maker(tmp_path, stop_at="b"), manifest)
    assert names(tmp_path) == ["a.nii.gz", "unfinished"]


def names(folder):
    return sorted(file.name for file in folder.iterdir())


def test_every_stop_is_survived(tmp_path, manifest):
    made = []
    for stop_at in ("a", "b", "c", None):
        maker = Maker(tmp_path, stop_at)
        try:
            label_cases("t", CASES, maker, manifest)
        except KeyboardInterrupt:
            assert not manifest.exists()
        made += maker.made
    assert made == ["a", "b", "c"]
    found = json.loads(manifest.read_text())["cases"]
    assert found == {case: key_of(digest_of(tmp_path / f"{case}.nii.gz")) for case in CASES}
    assert names(tmp_path) == ["a.nii.gz", "b.nii.gz", "c.nii.gz", "manifest.json"]


def test_every_file_of_a_case_counts(tmp_path, manifest):
    """Pairs are made of the probabilities beside the label map."""

    found = set()
    for texts in (("map", "one"), ("map", "two"), ("other", "two")):
        files = [tmp_path / "a.nii.gz", tmp_path / "a.npz"]
        for file, text in zip(files, texts, strict=True):
            file.write_text(text)
        label_cases("t", {"a": "ka"}, {"a": files}.__getitem__, manifest)
        found.add(json.loads(manifest.read_text())["cases"]["a"])
    assert len(found) == 3


def test_no_cases(manifest):
    label_cases("t", {}, Maker(manifest.parent), manifest)
    assert json.loads(manifest.read_text())["cases"] == {}


@pytest.mark.usefixtures("interrupted")
def test_a_case_made_from_something_else_is_made_again(tmp_path, manifest):
    maker = Maker(tmp_path, content="new ")
    label_cases("t", {**CASES, "a": "other"}, maker, manifest)
    assert maker.made == ["a", "b", "c"]
    assert json.loads(manifest.read_text())["cases"]["a"] == key_of(digest_of(tmp_path / "a.nii.gz"))


@pytest.mark.usefixtures("interrupted")
def test_a_case_that_is_no_longer_wanted_is_left_out(tmp_path, manifest):
    label_cases("t", {"c": "kc"}, Maker(tmp_path), manifest)
    assert list(json.loads(manifest.read_text())["cases"]) == ["c"]


def test_after_success_all_is_made_anew(tmp_path, manifest):
    """Whoever calls again has a reason; what is up to date is the workflow's business."""
    for _ in range(2):
        maker = Maker(tmp_path)
        label_cases("t", CASES, maker, manifest)
        assert maker.made == ["a", "b", "c"]
