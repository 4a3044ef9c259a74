"""A faulty data set or configuration stops the run at once, with one message that says where and what."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk
import yaml
from workflow_runs import Experiment

pytestmark = pytest.mark.workflow


def drop_a_channel(experiment: Experiment) -> None:
    description = experiment.dataset / "dataset.json"
    content = json.loads(description.read_text())
    description.write_text(json.dumps(content | {"channel_names": {"0": "MR", "1": "T2"}}))
    for image in (experiment.dataset / "imagesTr").glob("*_0000.nii.gz"):
        if "phantom_003" not in image.name:
            image.with_name(image.name.replace("_0000", "_0001")).write_bytes(image.read_bytes())


def relabel(case: str, change):
    def spoil(experiment: Experiment) -> None:
        file = str(experiment.dataset / "labelsTr" / f"{case}.nii.gz")
        image = sitk.ReadImage(file)
        changed = sitk.GetImageFromArray(change(sitk.GetArrayFromImage(image)))
        changed.SetSpacing(image.GetSpacing())
        changed.SetOrigin(image.GetOrigin())
        sitk.WriteImage(changed, file)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "messages"),
    [
        (drop_a_channel, ["case phantom_003", "phantom_003_0000.nii.gz", "2"]),
        pytest.param(
            relabel("phantom_002", lambda array: array[1:]),
            ["case phantom_002: data/labelsTr/phantom_002.nii.gz has shape"],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            relabel("phantom_004", lambda array: np.where(array == 2, 7, array).astype(np.uint8)),
            ["case phantom_004: label file data/labelsTr/phantom_004.nii.gz holds the value 7"],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_faulty_cases(experiment, spoil, messages):
    spoil(experiment)
    said = experiment.fail()
    assert all(message in said for message in messages), said
    assert not (experiment.shared / "dataset_fingerprint.json").exists()
    assert not (experiment.shared / "preprocessed").exists()


LABELS = {"background": 0, "organ": 1}
DESCRIPTION = {"channel_names": {"0": "MR"}, "labels": LABELS, "numTraining": 1, "file_ending": ".nii.gz"}
CLASH = "recipes 'nnunet' and 'clash' plan differently, but both call their plan 'nnUNetPlans'"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training": {"epoch": 3}}, "unknown key 'training.epoch': did you mean 'epochs'?"),
        ({"datasets": ["data", "copy/data"]}, "two data sets have the same folder name"),
        ({"recipes": ["nnunet", "clash.yaml"]}, CLASH),
        ({"dataset": "nowhere"}, "nowhere/dataset.json does not exist"),
    ],
)
def test_faulty_configurations(tmp_path, changes, message):
    experiment = Experiment(tmp_path)
    for folder in ("imagesTr", "labelsTr"):
        (experiment.dataset / folder).mkdir(parents=True)
    for name in "abcde":
        (experiment.dataset / "imagesTr" / f"{name}_0000.nii.gz").touch()
    (experiment.dataset / "dataset.json").write_text(json.dumps(DESCRIPTION))
    (tmp_path / "clash.yaml").write_text(yaml.safe_dump({"planning": {"gpu_memory_gb": 12}}))
    experiment.configure(**changes)
    assert message in experiment.fail()
    assert not experiment.output.exists()
