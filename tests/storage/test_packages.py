"""What a package's files are called, and what of a data set's description goes into it."""

from __future__ import annotations

import json

import pytest
from report_samples import model_card

from segflow.contracts.errors import PredictionError
from segflow.storage.packages import copy_description, weights_files


def test_a_description_without_the_places_of_its_files(tmp_path):
    listed = {"a": {"images": ["/elsewhere/a.nii"], "label": "/elsewhere/b.nii"}}
    given = {"channel_names": {"0": "T1"}, "licence": "CC0", "dataset": listed, "test": ["/elsewhere/c"]}
    (tmp_path / "dataset.json").write_text(json.dumps(given))
    copy_description(tmp_path / "dataset.json", tmp_path / "copy.json")
    assert json.loads((tmp_path / "copy.json").read_text()) == {
        "channel_names": {"0": "T1"},
        "licence": "CC0",
    }


def test_files_of_networks(tmp_path):
    card = model_card("2d+3d_fullres", stages=("3d_lowres",), folds=(0, 3))
    (tmp_path / "2d").mkdir()
    (tmp_path / "2d" / "fold_3.pt").touch()
    found = weights_files(tmp_path, card)
    assert list(found) == ["3d_lowres", "2d", "3d_fullres"]
    assert [file.name for file in found["2d"]] == ["fold_0.safetensors", "fold_3.pt"]
    (tmp_path / "2d" / "fold_3.safetensors").touch()
    assert weights_files(tmp_path, card, (3,))["2d"] == [tmp_path / "2d" / "fold_3.safetensors"]
    with pytest.raises(PredictionError, match="has no fold 1; it has 0, 3"):
        weights_files(tmp_path, card, (1,))
