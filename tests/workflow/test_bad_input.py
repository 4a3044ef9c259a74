"""A faulty data set or configuration stops the run at once, with one message that says where and what."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import SimpleITK as sitk
from workflow_runs import Experiment

pytestmark = pytest.mark.workflow


def check_only(experiment: Experiment) -> str:
    """What a run that must fail in its first rule prints; nothing may be left of that rule or a later one."""
    done = experiment.run()
    assert done.returncode != 0
    assert not (experiment.shared / "dataset_fingerprint.json").exists()
    assert not (experiment.shared / "preprocessed").exists()
    return re.sub(r"\s+", " ", done.stdout + done.stderr)


def rewrite(file: str, change) -> None:
    image = sitk.ReadImage(file)
    changed = sitk.GetImageFromArray(change(sitk.GetArrayFromImage(image)))
    changed.SetSpacing(image.GetSpacing())
    changed.SetOrigin(image.GetOrigin())
    sitk.WriteImage(changed, file)


def test_missing_channel(experiment):
    description = experiment.dataset / "dataset.json"
    content = json.loads(description.read_text())
    description.write_text(json.dumps(content | {"channel_names": {"0": "MR", "1": "T2"}}))
    for image in (experiment.dataset / "imagesTr").glob("*_0000.nii.gz"):
        if "phantom_003" not in image.name:
            image.with_name(image.name.replace("_0000", "_0001")).write_bytes(image.read_bytes())
    said = check_only(experiment)
    assert "case phantom_003" in said
    assert "phantom_003_0000.nii.gz" in said
    assert "2" in said


def test_label_of_another_shape(experiment):
    label = experiment.dataset / "labelsTr" / "phantom_002.nii.gz"
    rewrite(str(label), lambda array: array[1:])
    said = check_only(experiment)
    assert f"case phantom_002: data/labelsTr/{label.name} has shape" in said


def test_unknown_label_value(experiment):
    label = experiment.dataset / "labelsTr" / "phantom_004.nii.gz"
    rewrite(str(label), lambda array: np.where(array == 2, 7, array).astype(np.uint8))
    said = check_only(experiment)
    assert f"case phantom_004: label file data/labelsTr/{label.name} holds the value 7" in said


def test_unknown_configuration_key_names_the_nearest(experiment):
    experiment.configure(training={"epoch": 3})
    said = check_only(experiment)
    assert "unknown key 'training.epoch': did you mean 'epochs'?" in said


def test_missing_data_set(experiment):
    experiment.configure(dataset=str(experiment.folder / "nowhere"))
    assert "nowhere/dataset.json does not exist" in check_only(experiment)


def test_fold_that_does_not_exist(experiment):
    experiment.configure(folds=[5])
    assert "there is no fold 5" in check_only(experiment)
