"""DICOM series in, label maps out, by a network that is known: its label is a function of the intensity."""

from __future__ import annotations

import pytest
import SimpleITK as sitk
import torch
from case_samples import CLASSES, configuration_of, plan_of
from dicom_samples import ORIENTATIONS, oriented, volume_of_labels, write_series
from report_samples import model_card
from scipy.spatial.transform import Rotation

from segflow.commands import predict as verb
from segflow.images.dicom_files import find_series, headers_below
from segflow.prediction.predictor import Predictor
from segflow.prediction.sliding_window import FoldEnsemble
from segflow.recipes.inference import InferenceRecipe

OBLIQUE = Rotation.from_euler("xyz", (11, -23, 37), degrees=True).as_matrix()
SPACING = (2.5, 1.1, 0.8)


def threshold(batch):
    """Voxels of the first channel above 0.5 are 1, and above 1.5 are 2."""
    first = batch[:, :1]
    return torch.cat([0.5 - first, torch.zeros_like(first), first - 1.5], dim=1)


@pytest.fixture
def predict(tmp_path, monkeypatch):
    """A call with that network, in the spacing of the image; gives the folder of results."""
    recipe = InferenceRecipe(step=0.5, mirroring=False)

    def run(source, spacing_mm, *, channels=1, output=tmp_path / "out", **options):
        configuration = configuration_of(spacing_mm, ("none",) * channels)
        monkeypatch.setattr(
            Predictor,
            "from_folder",
            lambda *_, **__: Predictor(
                card=model_card(configuration.name, inference=recipe.model_dump()),
                plan=plan_of(configuration, (0, 1, 2)),
                labels=CLASSES,
                channels=channels,
                ending=".nii.gz",
                recipe=recipe,
                ensembles={
                    configuration.name: FoldEnsemble(configuration, [threshold], CLASSES, recipe, "cpu")
                },
                device="cpu",
                threads=1,
                digest="",
            ),
        )
        verb.predict(model=tmp_path, input=[source], output=output, device="cpu", threads=1, **options)
        return output

    return run


def displaced(found, expected):
    """Voxels that do not have the same label at the same place."""
    assert found.GetNumberOfPixels() == expected.GetNumberOfPixels()
    same = sitk.Resample(found, expected, sitk.Transform(), sitk.sitkNearestNeighbor, 99)
    return int((sitk.GetArrayFromImage(same) != sitk.GetArrayFromImage(expected)).sum())


@pytest.fixture(scope="module")
def orientations(tmp_path_factory):
    """Folders by the order of the axes, with a series and a NIfTI file of every flip, straight and oblique."""
    root = tmp_path_factory.mktemp("orientations")
    images = {}
    for order, flips in ORIENTATIONS:
        for rotation in (None, OBLIQUE):
            folder = root / "".join(map(str, order))
            name = "".join("-+"[flip] for flip in flips).replace("-", "n").replace("+", "p")
            name += "s" if rotation is None else "o"
            image = oriented(volume_of_labels(), order, flips, rotation=rotation)
            write_series(folder / "dicom" / name, image, PatientID=name)
            (folder / "nifti").mkdir(exist_ok=True)
            sitk.WriteImage(image, str(folder / "nifti" / f"{name}_0000.nii.gz"))
            images[folder, name] = image
    assert len(images) == 96
    return images


def of_every_orientation(orientations, predict, tmp_path, kind, **options):
    """The image and the folder of results of each."""
    for folder in sorted({folder for folder, _ in orientations}):
        names = [name for parent, name in orientations if parent == folder]
        if kind == "dicom":
            headers = headers_below(folder / "dicom")
            options["series"] = [one.text("SeriesInstanceUID") for one in find_series(headers)]
        spacing_mm = orientations[folder, names[0]].GetSpacing()[::-1]
        made = predict(folder / kind, spacing_mm, output=tmp_path / folder.name, **options)
        yield from ((orientations[folder, name], made, name) for name in names)


@pytest.mark.parametrize("kind", ["dicom", "nifti"])
def test_no_voxel_is_displaced(kind, orientations, predict, tmp_path):
    found = [
        displaced(sitk.ReadImage(str(folder / f"{name}.nii.gz")), image)
        for image, folder, name in of_every_orientation(orientations, predict, tmp_path, kind)
    ]
    assert found == [0] * 96
