"""Which label maps of a folder count."""

from __future__ import annotations

from segflow.contracts.artefacts import Manifest
from segflow.storage.manifests import list_label_maps


def test_all_of_a_kind_without_a_manifest(tmp_path):
    """But none that somebody is writing, or was killed at."""
    for name in ("b.nii.gz", "a.nii.gz", "a.txt", ".123.c.nii.gz"):
        (tmp_path / name).touch()
    assert [file.name for file in list_label_maps(tmp_path, ".nii.gz")] == ["a.nii.gz", "b.nii.gz"]


def test_a_manifest_leaves_out_what_an_earlier_run_left(tmp_path):
    for name in ("a.nii.gz", "stale.nii.gz"):
        (tmp_path / name).touch()
    (tmp_path / "manifest.json").write_text(Manifest(cases={"a": "0"}).to_json())
    assert list_label_maps(tmp_path, ".nii.gz") == [tmp_path / "a.nii.gz"]


def test_an_empty_folder(tmp_path):
    assert list_label_maps(tmp_path, ".png") == []
