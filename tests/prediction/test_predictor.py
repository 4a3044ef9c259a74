"""Arrays and cases in, label maps of the same shape out."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from case_samples import CLASSES, configuration_of, plan_of, raw_case, raw_cases
from hypothesis import given
from hypothesis import strategies as st
from report_samples import model_card

from segflow.contracts.errors import PredictionError
from segflow.contracts.scores import Operation
from segflow.prediction.predictor import Predictor
from segflow.prediction.sliding_window import FoldEnsemble
from segflow.recipes.inference import InferenceRecipe

RECIPE = InferenceRecipe(step=0.5, mirroring=False)


def threshold(batch):
    """A network that labels voxels of the first channel above 0.5 as 1 and above 1.5 as 2."""
    first = batch[:, :1]
    return torch.cat([0.5 - first, torch.zeros_like(first), first - 1.5], dim=1)


def ensemble(configuration, network=threshold):
    return FoldEnsemble(configuration, [network], CLASSES, RECIPE, "cpu")


def model_of(*configurations, order=(0, 1, 2), operations=(), stages=()):
    """A package without files, of untrained networks."""
    plan = plan_of(configurations[0], order)
    plan = plan.model_copy(update={"configurations": {c.name: c for c in configurations}})
    names = tuple(c.name for c in configurations if c.name not in stages)
    card = model_card("+".join(names), *operations, inference=RECIPE.model_dump(), stages=tuple(stages))
    return Predictor(
        card=card,
        plan=plan,
        labels=CLASSES,
        channels=len(configurations[0].normalization),
        ending=".nii.gz",
        recipe=RECIPE,
        ensembles={c.name: ensemble(c) for c in configurations},
        device="cpu",
        threads=1,
        digest="",
    )


@given(raw_cases(), st.permutations(range(3)), st.sampled_from([2, 3]))
def test_crop_and_axis_order_are_undone(raw, order, dimensions):
    array, spacing_mm = raw.labels.astype(np.float32), raw.geometry.spacing_mm
    own = tuple(spacing_mm[axis] for axis in order)[-dimensions:]
    found = model_of(configuration_of(own), order=tuple(order)).predict(array, spacing_mm)
    np.testing.assert_array_equal(found, array)
    assert found.dtype == np.uint8


def test_channels_and_flat_images():
    flat = np.array([[0, 1, 2], [2, 1, 0]], np.int16)
    pair = np.stack([flat, 2 - flat])
    one = model_of(configuration_of((1.0, 1.0)))
    two = model_of(configuration_of((1.0, 1.0), ("none", "none")))
    for model, array in ((one, flat), (one, flat[None]), (two, pair)):
        np.testing.assert_array_equal(model.predict(array, (1.0, 1.0)), flat)
    np.testing.assert_array_equal(two.predict(pair[:, None], (3.0, 1.0, 1.0)), flat[None])


def test_a_pair_is_averaged():
    flat, deep = configuration_of((1.0, 1.0)), configuration_of((1.0, 1.0, 1.0))
    pair = model_of(flat, deep)
    array = np.random.default_rng(0).integers(0, 3, (4, 9, 9)).astype(np.float32)
    np.testing.assert_array_equal(pair.predict(array, (1.0, 1.0, 1.0)), array)
    # One network is certain of other labels, so these win.
    pair.ensembles["3d_fullres"] = ensemble(deep, lambda batch: 50 * threshold(2 - batch))
    np.testing.assert_array_equal(pair.predict(array, (1.0, 1.0, 1.0)), 2 - array)


def test_the_first_stage_of_a_cascade_is_run():
    coarse = configuration_of((2.0, 2.0, 2.0)).model_copy(update={"name": "3d_lowres"})
    fine = configuration_of().model_copy(update={"name": "3d_cascade_fullres", "previous_stage": "3d_lowres"})
    channels = set()

    def repeat(batch):
        """The result of the first stage, which is in channels 1 and 2."""
        channels.add(batch.shape[1])
        return torch.cat([0.5 - batch[:, 1:].sum(dim=1, keepdim=True), batch[:, 1:]], dim=1)

    model = model_of(fine, coarse, stages=("3d_lowres",))
    model.ensembles["3d_cascade_fullres"] = ensemble(fine, repeat)
    array = np.ones((8, 12, 16), np.float32)
    array[:, 6:] = 2
    np.testing.assert_array_equal(model.predict(array, (1.0, 1.0, 1.0)), array)
    assert channels == {3}


def test_post_processing_is_applied():
    model = model_of(configuration_of(), operations=(Operation(name="keep_largest", labels=(1,)),))
    array = np.zeros((4, 6, 6), np.float32)
    array[0, 0, 0], array[2:, 3:, 3:], array[3, 0, 0] = 1, 1, 2
    found = model.predict(array, (1.0, 1.0, 1.0))
    array[0, 0, 0] = 0
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_probabilities_fill_the_raw_image(order):
    array = np.zeros((1, 5, 6, 7), np.float32)
    array[0, 1:3, 2:5, 3:6] = 2
    labels, scores = model_of(configuration_of(), order=order).predict_case(
        raw_case(array), probabilities=True
    )
    np.testing.assert_array_equal(labels, array[0])
    assert (scores.shape, scores.dtype) == ((3, 5, 6, 7), np.float32)
    np.testing.assert_array_equal(scores.argmax(axis=0), labels)
    np.testing.assert_array_equal(scores[:, 0, 0, 0], [1, 0, 0])  # outside the crop


@pytest.mark.parametrize(
    ("array", "spacing_mm", "message"),
    [
        (np.ones((4, 4, 4)), (1.0,), "3 positive numbers, or 2"),
        (np.ones((4, 4, 4)), (1.0, 0.0, 1.0), "3 positive numbers, or 2"),
        (np.ones((4, 4)), (1.0, 1.0, 1.0), "does not go with 3 numbers"),
        (np.ones((1, 1, 4, 4, 4)), (1.0, 1.0, 1.0), "does not go with 3 numbers"),
        (np.ones((0, 4, 4)), (1.0, 1.0, 1.0), "none may be empty"),
        (np.ones((2, 4, 4, 4)), (1.0, 1.0, 1.0), "has 2 channels, but the model was trained with 1"),
        (np.full((4, 4, 4), np.nan), (1.0, 1.0, 1.0), "NaN"),
        (np.ones((4, 4, 4), complex), (1.0, 1.0, 1.0), "complex"),
    ],
)
def test_arrays_that_cannot_be_predicted(array, spacing_mm, message):
    with pytest.raises(PredictionError, match=message):
        model_of(configuration_of()).predict(array, spacing_mm)


def test_a_folder_that_is_no_package(tmp_path):
    with pytest.raises(PredictionError, match=r"model\.json does not exist"):
        Predictor.from_folder(tmp_path)


def test_arrays_need_no_image_library():
    program = "import sys, segflow.prediction.predictor; sys.exit('SimpleITK' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
