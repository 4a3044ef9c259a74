"""Arrays and cases in, label maps of the same shape out."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from case_samples import CLASSES, configuration_of, plan_of, raw_case
from hypothesis import given
from hypothesis import strategies as st

from segflow.contracts.errors import ConfigurationError, PredictionError
from segflow.contracts.model import ModelCard
from segflow.contracts.scores import Candidate, Operation, PostProcessing, Selection
from segflow.network.device import choose_device
from segflow.prediction.predictor import Predictor
from segflow.prediction.sliding_window import FoldEnsemble
from segflow.recipes.inference import InferenceRecipe

RECIPE = InferenceRecipe(step=0.5, mirroring=False)


def threshold(batch):
    """A network that calls voxels above 0.5 in the first channel 1, above 1.5 it calls them 2."""
    first = batch[:, :1]
    return torch.cat([0.5 - first, torch.zeros_like(first), first - 1.5], dim=1)


def model_of(*configurations, order=(0, 1, 2), network=threshold, operations=(), stages=()):
    """A package without files, of untrained networks."""
    plan = plan_of(configurations[0], order)
    plan = plan.model_copy(update={"configurations": {c.name: c for c in configurations}})
    names = tuple(c.name for c in configurations if c.name not in stages)
    best = Candidate(name="+".join(names), configurations=names, foreground_mean_dice=0.5, summary="")
    nothing = {"foreground_mean_dice_before": math.nan, "foreground_mean_dice_after": math.nan}
    card = ModelCard(
        dataset="sample",
        recipe="nnunet",
        inference=RECIPE.model_dump(),
        configurations=names,
        stages=tuple(stages),
        folds=(0,),
        postprocessing=PostProcessing(operations=operations, steps=(), **nothing),
        selection=Selection(best=best, candidates=(best,)),
        versions={},
    )
    return Predictor(
        card=card,
        plan=plan,
        labels=CLASSES,
        channels=len(configurations[0].normalization),
        ending=".nii.gz",
        recipe=RECIPE,
        ensembles={c.name: FoldEnsemble(c, [network], CLASSES, RECIPE, "cpu") for c in configurations},
        device="cpu",
        threads=1,
        files=(),
    )


@st.composite
def volumes(draw):
    """Values 0, 1, 2 in an array that they need not fill, and its spacing."""
    shape = draw(st.tuples(*[st.integers(1, 12)] * 3))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    array = np.zeros(shape, np.float32)
    low = [draw(st.integers(0, edge - 1)) for edge in shape]
    inner = tuple(slice(start, draw(st.integers(start + 1, n))) for start, n in zip(low, shape, strict=True))
    array[inner] = rng.integers(0, 3, array[inner].shape)
    return array, draw(st.tuples(*[st.sampled_from([0.5, 1.0, 2.0, 5.0])] * 3))


@given(volumes(), st.permutations(range(3)), st.sampled_from([2, 3]))
def test_crop_and_axis_order_are_undone(volume, order, dimensions):
    array, spacing_mm = volume
    own = tuple(spacing_mm[axis] for axis in order)[-dimensions:]
    found = model_of(configuration_of(own), order=tuple(order)).predict(array, spacing_mm)
    np.testing.assert_array_equal(found, array)
    assert found.dtype == np.uint8


@given(volumes(), st.permutations(range(3)), st.tuples(*[st.sampled_from([0.4, 0.9, 1.7])] * 3))
def test_resampling_gives_the_image_s_own_shape(volume, order, target_mm):
    array, spacing_mm = volume
    found = model_of(configuration_of(target_mm), order=tuple(order)).predict(array, spacing_mm)
    assert found.shape == array.shape


def test_a_box_comes_back_where_it_was():
    array = np.zeros((20, 24, 28), np.float32)
    array[4:16, 6:18, 3:21] = 2
    for order in ((0, 1, 2), (2, 0, 1)):
        found = model_of(configuration_of((0.7, 1.4, 1.1)), order=order).predict(array, (1.0, 1.0, 1.0))
        overlap = 2 * ((found == 2) & (array == 2)).sum() / ((found == 2).sum() + (array == 2).sum())
        assert overlap > 0.95


def test_channels_and_flat_images():
    flat = np.array([[0, 1, 2], [2, 1, 0]], np.int16)
    one = model_of(configuration_of((1.0, 1.0)))
    np.testing.assert_array_equal(one.predict(flat, (1.0, 1.0)), flat)
    np.testing.assert_array_equal(one.predict(flat[None], (1.0, 1.0)), flat)
    two = model_of(configuration_of((1.0, 1.0), ("none", "none")))
    np.testing.assert_array_equal(two.predict(np.stack([flat, 2 - flat]), (1.0, 1.0)), flat)
    deep = np.stack([flat, 2 - flat])[:, None]
    np.testing.assert_array_equal(two.predict(deep, (3.0, 1.0, 1.0)), flat[None])


def test_a_pair_is_averaged():
    flat, deep = configuration_of((1.0, 1.0)), configuration_of((1.0, 1.0, 1.0))
    pair = model_of(flat, deep)
    array = np.random.default_rng(0).integers(0, 3, (4, 9, 9)).astype(np.float32)
    np.testing.assert_array_equal(pair.predict(array, (1.0, 1.0, 1.0)), array)
    certain = FoldEnsemble(deep, [lambda batch: 50 * threshold(2 - batch)], CLASSES, RECIPE, "cpu")
    pair.ensembles["3d_fullres"] = certain  # and of another opinion: it wins
    np.testing.assert_array_equal(pair.predict(array, (1.0, 1.0, 1.0)), 2 - array)


def test_the_first_stage_of_a_cascade_is_run():
    coarse = configuration_of((2.0, 2.0, 2.0)).model_copy(update={"name": "3d_lowres"})
    fine = configuration_of().model_copy(update={"name": "3d_cascade_fullres", "previous_stage": "3d_lowres"})
    seen = []

    def second(batch):
        """Repeats what the first stage has said: channels 1 and 2 are its labels."""
        seen.append(batch.shape[1])
        said = batch[:, 1:]
        return torch.cat([0.5 - said.sum(dim=1, keepdim=True), said], dim=1)

    model = model_of(fine, coarse, stages=("3d_lowres",))
    model.ensembles["3d_cascade_fullres"] = FoldEnsemble(fine, [second], CLASSES, RECIPE, "cpu")
    array = np.ones((8, 12, 16), np.float32)
    array[:, 6:] = 2
    np.testing.assert_array_equal(model.predict(array, (1.0, 1.0, 1.0)), array)
    assert set(seen) == {3}


def test_post_processing_is_applied():
    model = model_of(configuration_of(), operations=(Operation(name="keep_largest", labels=(1,)),))
    array = np.zeros((4, 6, 6), np.float32)
    array[0, 0, 0], array[2:, 3:, 3:], array[3, 0, 0] = 1, 1, 2
    expected = array.copy()
    expected[0, 0, 0] = 0
    np.testing.assert_array_equal(model.predict(array, (1.0, 1.0, 1.0)), expected)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_probabilities_fill_the_raw_image(order):
    array = np.zeros((1, 5, 6, 7), np.float32)
    array[0, 1:3, 2:5, 3:6] = 2
    model = model_of(configuration_of(), order=order)
    labels, scores = model.predict_case(raw_case(array), probabilities=True)
    np.testing.assert_array_equal(labels, array[0])
    assert scores.shape == (3, 5, 6, 7)
    assert scores.dtype == np.float32
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


def test_folders_that_are_no_package(tmp_path):
    with pytest.raises(PredictionError, match=r"model\.json does not exist"):
        Predictor.from_folder(tmp_path)


def test_an_unknown_device():
    with pytest.raises(ConfigurationError, match="must be 'auto', 'cpu' or 'cuda'"):
        choose_device("tpu")


def test_arrays_need_no_image_library():
    program = "import sys, segflow.prediction.predictor; sys.exit('SimpleITK' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
