"""segflow's networks in nnU-Net, and the other way round: the same label maps."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import SimpleITK as sitk
from packages import package_of
from scipy import ndimage
from stage_calls import call

pytestmark = pytest.mark.peer

#: nnU-Net adds up its logits in half precision (method.md section 16); in float32, the two differ in ties only.
LEAST_AGREEMENT = {"half": 0.995, "float32": 0.9999}


@pytest.fixture(scope="module", params=["2d", "3d_fullres"])
def package(request, tmp_path_factory):
    """A package of one configuration, and its name."""
    return package_of(tmp_path_factory.mktemp("package"), request.param), request.param


@pytest.fixture
def exported(package, tmp_path):
    """The package as nnU-Net's results folder."""
    model, name = package
    call("export", "nnunet", model, "--output", tmp_path / "exported")
    return tmp_path / "exported" / f"nnUNetTrainer__nnUNetPlans__{name}"


@pytest.fixture
def predict_both(nnunet, package, tmp_path):
    """Predicts in both programs; the share of equal voxels, and the number of labels."""

    def predict(model, results, precision="half", finish=None):
        images = package[0].parent / "data" / "imagesTr"
        ours, theirs = tmp_path / "ours", tmp_path / "theirs"
        call("predict", "--model", model, "--input", images, "--output", ours, "--device", "cpu")
        nnunet.call(
            "nnunet_prediction.predict",
            tmp_path,
            results=results,
            images=images,
            output=theirs,
            precision=precision,
        )
        return agreement(ours, theirs if finish is None else finish(theirs))

    return predict


def agreement(ours, theirs):
    names = sorted(file.name for file in ours.glob("*.nii.gz"))
    assert len(names) == 5
    maps = [[read(folder / name) for name in names] for folder in (ours, theirs)]
    equal = [(a == b).mean() for a, b in zip(*maps, strict=True)]
    return float(np.mean(equal)), len(np.unique(maps[0][0]))


def read(file):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(file)))


@pytest.mark.parametrize("precision", LEAST_AGREEMENT)
def test_nnunet_predicts_with_a_network_of_segflow(
    package, exported, predict_both, precision, note_difference
):
    equal, labels = predict_both(package[0], exported, precision)
    note_difference(f"exported {package[1]}, {precision}, voxels", f"{1 - equal:.1e} differ, {labels} labels")
    assert labels > 1
    assert equal > LEAST_AGREEMENT[precision]


def test_segflow_predicts_with_a_network_of_nnunet(
    nnunet, package, exported, predict_both, tmp_path, note_difference
):
    shutil.rmtree(exported / "fold_0")
    nnunet.call("nnunet_prediction.make_checkpoint", tmp_path, results=exported)
    call("import-model", exported, "--output", tmp_path / "model")
    equal, labels = predict_both(tmp_path / "model", exported)
    note_difference(f"imported {package[1]}, voxels", f"{1 - equal:.1e} differ, {labels} labels")
    assert labels > 1
    assert equal > LEAST_AGREEMENT["half"]


# Zips.


def test_nnunet_installs_a_zip_of_segflow(nnunet, package, predict_both, tmp_path, note_difference):
    call("export", "zip", package[0], "--output", tmp_path / "model.zip")
    nnunet.call("nnunet_prediction.install", tmp_path, file=tmp_path / "model.zip")
    installed = tmp_path / "results" / "Dataset999_data" / f"nnUNetTrainer__nnUNetPlans__{package[1]}"
    equal, labels = predict_both(package[0], installed, "float32")
    note_difference(f"zip, {package[1]}, float32, voxels", f"{1 - equal:.1e} differ, {labels} labels")
    assert labels > 1
    assert equal > LEAST_AGREEMENT["float32"]


def test_segflow_installs_a_zip_of_nnunet(nnunet, package, predict_both, tmp_path, note_difference):
    """Its post-processing is decided by label maps with specks, and changes what the network predicts."""
    results = tmp_path / "results" / "Dataset901_phantom" / f"nnUNetTrainer__nnUNetPlans__{package[1]}"
    call("export", "nnunet", package[0], "--output", results.parent)
    shutil.rmtree(results / "fold_0")
    nnunet.call("nnunet_prediction.make_checkpoint", tmp_path, results=results)
    specked(package[0].parent / "data" / "labelsTr", tmp_path / "maps")
    operations = nnunet.call(
        "nnunet_prediction.export",
        tmp_path,
        results=results,
        maps=tmp_path / "maps",
        file=tmp_path / "theirs.zip",
    )
    assert operations
    call("import-model", tmp_path / "theirs.zip", "--output", tmp_path / "model")

    def finish(labels):
        before, after = labels, tmp_path / "finished"
        nnunet.call("nnunet_prediction.postprocess", tmp_path, results=results, labels=before, output=after)
        changed = [(read(file) != read(after / file.name)).any() for file in before.glob("*.nii.gz")]
        assert any(changed)
        return after

    equal, labels = predict_both(tmp_path / "model", results, "float32", finish)
    note_difference(f"their zip, {package[1]}, float32, voxels", f"{1 - equal:.1e} differ, {labels} labels")
    assert labels > 1
    assert equal > LEAST_AGREEMENT["float32"]


def specked(references, folder):
    """References, and predictions that differ by a speck of each label far from the others."""
    (folder / "labelsTr").mkdir(parents=True)
    (folder / "theirs").mkdir()
    for file in sorted(references.glob("*.nii.gz")):
        image = sitk.ReadImage(str(file))
        voxels = sitk.GetArrayFromImage(image)
        free = np.argwhere(ndimage.distance_transform_cdt(voxels == 0) > 2)
        for value, place in zip((1, 2), (free[0], free[-1]), strict=True):
            voxels[tuple(place)] = value
        found = sitk.GetImageFromArray(voxels)
        found.CopyInformation(image)
        sitk.WriteImage(found, str(folder / "theirs" / file.name))
        shutil.copy(file, folder / "labelsTr")
