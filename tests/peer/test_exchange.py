"""Networks of segflow in the hands of nnU-Net, and the other way round: the same label maps."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import SimpleITK as sitk
from packages import package_of
from stage_calls import call

pytestmark = pytest.mark.peer

#: nnU-Net adds up its logits in half precision (method.md section 16).
#: Made to do so in float32, it differs in ties only.
LEAST_AGREEMENT = {"half": 0.995, "float32": 0.9999}


@pytest.fixture(scope="module", params=["2d", "3d_fullres"])
def package(request, tmp_path_factory):
    """A package of one configuration, and its name."""
    return package_of(tmp_path_factory.mktemp("package"), request.param), request.param


def agreement(ours, theirs):
    """Share of equal voxels, over all cases, and how many labels there are."""
    equal, labels = [], set()
    for file in sorted(ours.glob("*.nii.gz")):
        a, b = (sitk.GetArrayFromImage(sitk.ReadImage(str(folder / file.name))) for folder in (ours, theirs))
        equal.append((a == b).mean())
        labels |= set(np.unique(a))
    assert len(equal) == 5
    return float(np.mean(equal)), len(labels)


def predict_both(peer, package, results, folder, images, precision):
    call("predict", "--model", package, "--input", images, "--output", folder / "ours", "--device", "cpu")
    peer.run("peer_predict.py", results, images, folder / "theirs", precision, folder=folder)
    return agreement(folder / "ours", folder / "theirs")


@pytest.mark.parametrize("precision", LEAST_AGREEMENT)
def test_the_peer_predicts_with_our_network(peer, package, precision, tmp_path, note_difference):
    ours, name = package
    call("export-nnunet", "--model", ours, "--output", tmp_path / "exported")
    results = tmp_path / "exported" / f"nnUNetTrainer__nnUNetPlans__{name}"
    equal, labels = predict_both(peer, ours, results, tmp_path, ours.parent / "data" / "imagesTr", precision)
    note_difference(f"exported {name}, {precision}, voxels", f"{1 - equal:.1e} differ, {labels} labels")
    assert labels > 1
    assert equal > LEAST_AGREEMENT[precision]


def test_we_predict_with_the_peer_s_network(peer, package, tmp_path, note_difference):
    ours, name = package
    call("export-nnunet", "--model", ours, "--output", tmp_path / "exported")
    results = tmp_path / "exported" / f"nnUNetTrainer__nnUNetPlans__{name}"
    shutil.rmtree(results / "fold_0")
    images = ours.parent / "data" / "imagesTr"
    peer.run("peer_predict.py", results, images, tmp_path / "theirs", folder=tmp_path)
    call("import-nnunet", "--folders", results, "--output", tmp_path / "model")
    call(
        "predict",
        "--model",
        tmp_path / "model",
        "--input",
        images,
        "--output",
        tmp_path / "ours",
        "--device",
        "cpu",
    )
    equal, labels = agreement(tmp_path / "ours", tmp_path / "theirs")
    note_difference(f"imported {name}, voxels", f"{1 - equal:.1e} differ, {labels} labels")
    assert labels > 1
    assert equal > LEAST_AGREEMENT["half"]
