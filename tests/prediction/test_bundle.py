"""Bundles of MONAI: verified and run by MONAI, with the label maps of segflow."""

from __future__ import annotations

import glob
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk
from packages import package_of
from stage_calls import call

from segflow.commands.main import main
from segflow.prediction import bundle

#: What MONAI's specification of bundles requires of metadata.json; its own schema has to be downloaded.
TEXTS = (
    "version",
    "monai_version",
    "pytorch_version",
    "numpy_version",
    "task",
    "description",
    "authors",
    "copyright",
)
DATA = {
    "type": "object",
    "required": [
        "type",
        "format",
        "num_channels",
        "spatial_shape",
        "dtype",
        "value_range",
        "is_patch_data",
        "channel_def",
    ],
    "properties": {
        "num_channels": {"type": "integer"},
        "spatial_shape": {"type": "array", "items": {"type": ["string", "integer"]}},
        "value_range": {"type": "array", "items": {"type": "number"}},
        "is_patch_data": {"type": "boolean"},
        "channel_def": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}
SCHEMA = {
    "type": "object",
    "required": [*TEXTS, "schema", "changelog", "required_packages_version", "network_data_format"],
    "properties": {
        **{name: {"type": "string", "minLength": 1} for name in TEXTS},
        "changelog": {"type": "object", "additionalProperties": {"type": "string"}},
        "required_packages_version": {"type": "object", "additionalProperties": {"type": "string", "minLength": 1}},
        "network_data_format": {
            "type": "object",
            "required": ["inputs", "outputs"],
            "properties": {
                "inputs": {"type": "object", "required": ["image"], "additionalProperties": DATA},
                "outputs": {"type": "object", "required": ["pred"], "additionalProperties": DATA},
            },
        },
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    package_of(folder, "3d_fullres")
    call("export", "monai-bundle", folder / "model", "--output", folder / "bundle")
    return folder


def monai(folder, verb, **options):
    """A verb of MONAI's command line, in the bundle's folder."""
    words = [f"--{name}={value}" for name, value in options.items()]
    done = subprocess.run(
        [sys.executable, "-m", "monai.bundle", verb, *words],
        cwd=folder / "bundle", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def test_metadata(folder, tmp_path):
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    said = monai(
        folder, "verify_metadata", meta_file="configs/metadata.json", filepath=tmp_path / "schema.json"
    )
    assert "metadata is verified with no error" in said
    content = json.loads((folder / "bundle" / "configs" / "metadata.json").read_text())
    assert content["network_data_format"]["outputs"]["pred"]["channel_def"]["2"] == "lesion"


def test_the_network_is_as_the_metadata_say(folder):
    said = monai(
        folder, "verify_net_in_out", net_id="network_def", meta_file="configs/metadata.json",
        config_file="configs/inference.json", any=24, device="cpu",
    )  # fmt: skip
    assert "data shape of network is verified with no error" in said


def test_a_run_gives_the_label_maps_of_segflow(folder, tmp_path):
    images = folder / "data" / "imagesTr"
    call("predict", "-m", folder / "model", "-i", images, "-o", tmp_path / "ours", "--device", "cpu")
    monai(
        folder, "run", meta_file="configs/metadata.json", config_file="configs/inference.json",
        dataset_dir=images, output_dir=tmp_path / "theirs",
    )  # fmt: skip
    files = sorted((tmp_path / "ours").glob("*.nii.gz"))
    assert len(files) == 5
    for file in files:
        name = file.name.removesuffix(".nii.gz")
        ours, theirs = (
            sitk.ReadImage(str(one)) for one in (file, tmp_path / "theirs" / f"{name}_0000_seg.nii.gz")
        )
        np.testing.assert_array_equal(sitk.GetArrayFromImage(ours), sitk.GetArrayFromImage(theirs))
        for of in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
            assert np.allclose(getattr(ours, of)(), getattr(theirs, of)(), atol=1e-4)


def test_a_bundle_names_no_folder(folder):
    files = [file for file in (folder / "bundle").rglob("*") if file.is_file()]
    assert {file.name for file in files} >= {
        "metadata.json",
        "inference.json",
        "README.md",
        "fold_0.safetensors",
    }
    assert not any(str(folder).encode() in file.read_bytes() for file in files)


@pytest.mark.parametrize("files", [("a_0000.nii.gz", "a_0001.nii.gz"), ("a_0000.nii.gz",)])
def test_channels_may_be_in_one_file(files, folder, tmp_path):
    """The expression of the bundle, for a folder whose name holds what `glob` takes for a pattern."""
    images = tmp_path / "images [1]"
    images.mkdir()
    for name in files:
        (images / name).touch()
    expression = json.loads((folder / "bundle" / "configs" / "inference.json").read_text())["datalist"]
    expression = expression.removeprefix("$").replace("@dataset_dir", repr(glob.escape(str(images))))
    (found,) = eval(expression, {"glob": glob})  # noqa: S307  as MONAI does
    assert found["image"] == [str(images / name) for name in files]


@pytest.mark.parametrize("absent", ["monai", "pytorch-ignite"])
def test_without_the_extra(absent, folder, tmp_path, monkeypatch, capsys):
    def missing(name):
        if name == absent:
            raise bundle.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(bundle, "version", missing)
    assert main(["export", "monai-bundle", str(folder / "model"), "--output", str(tmp_path / "b")]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert f"bundles need the package {absent}: pip install 'segflow[monai]'" in said
    assert not (tmp_path / "b").exists()
    shutil.rmtree(tmp_path)
