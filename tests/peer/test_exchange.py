"""segflow's networks in nnU-Net, and the other way round: the same label maps."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import SimpleITK as sitk
from packages import package_of
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
    call("export-nnunet", "--model", model, "--output", tmp_path / "exported")
    return tmp_path / "exported" / f"nnUNetTrainer__nnUNetPlans__{name}"


@pytest.fixture
def predict_both(nnunet, package, tmp_path):
    """Predicts in both programs; the share of equal voxels, and the number of labels."""

    def predict(model, results, precision="half"):
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
        names = sorted(file.name for file in ours.glob("*.nii.gz"))
        assert len(names) == 5
        maps = [
            [sitk.GetArrayFromImage(sitk.ReadImage(str(folder / name))) for name in names]
            for folder in (ours, theirs)
        ]
        equal = [(a == b).mean() for a, b in zip(*maps, strict=True)]
        return float(np.mean(equal)), len(np.unique(maps[0][0]))

    return predict


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
    call("import-nnunet", "--folders", exported, "--output", tmp_path / "model")
    equal, labels = predict_both(tmp_path / "model", exported)
    note_difference(f"imported {package[1]}, voxels", f"{1 - equal:.1e} differ, {labels} labels")
    assert labels > 1
    assert equal > LEAST_AGREEMENT["half"]
