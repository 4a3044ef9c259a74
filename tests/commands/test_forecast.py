"""`segflow forecast` and what `segflow plan` says of the costs, on five phantom cases."""

from __future__ import annotations

import math
import re
import subprocess

import pytest
from stage_calls import TINY, call, plan_words

from segflow.commands.forecast import _About, _passes
from segflow.commands.main import main
from segflow.contracts.forecast import Forecast
from segflow.nnunet.plans import read_plan
from segflow.recipes.inference import InferenceRecipe
from segflow.storage.files import read_contract


@pytest.fixture
def forecast_of(planned, tmp_path):
    """What is forecast with some options."""

    def forecast(*words):
        file = tmp_path / "forecast.json"
        call(
            "forecast", "--dataset", planned / "data", "--plan", planned / "plans.json", "--output", file, "--device",
            "cpu", "--threads", 1, "--minutes", 0.1, *words,
        )  # fmt: skip
        return read_contract(Forecast, file)

    return forecast


def test_the_planned_networks_as_they_would_be_trained(forecast_of, planned, capsys):
    made = forecast_of("--folds", 0, 1, "--save-probabilities", "--hours", 99, "--settings", *TINY)
    plan = read_plan(planned / "plans.json")
    assert [one.configuration for one in made.networks] == list(plan.configurations)
    assert made.steps == 2 * sum(one.epochs * one.iterations for one in made.networks)
    assert all(one.prediction_s > 0 and one.gpu_memory_gb is None for one in made.networks)
    held_out = 2.0  # of five cases
    assert made.networks[0].predictions_gb * 1e9 == held_out * math.prod(plan.median_shape) * (1 + 3)
    said = capsys.readouterr().err
    assert "forecast: 4 trainings (2 configurations, 2 folds)" in said
    assert re.search(r"training\.epochs=\d+ fits 99 h 00 min", said)


def test_all_cases_leave_none_to_predict(forecast_of):
    (network,) = forecast_of("--folds", "all", "--configurations", "2d", "--settings", *TINY).networks
    assert (network.prediction_s, network.validation_iterations, network.predictions_gb) == (0, 0, 0)


def test_a_configuration_that_is_not_planned(planned, refused):
    words = ["forecast", "--dataset", str(planned / "data"), "--plan", str(planned / "plans.json")]
    assert "has no configuration '3d_lowres'" in refused(*words, "--configurations", "3d_lowres")


@pytest.mark.parametrize(
    ("name", "recipe", "passes"),
    [
        ("2d", {}, 4),
        ("2d", {"mirroring": ("z", "x")}, 2),
        ("3d_fullres", {}, 8),
        ("3d_fullres", {"mirroring": False}, 1),
        ("3d_fullres", {"mirroring": False, "step": 0.25}, 1),
    ],
)
def test_forward_passes_of_a_case(name, recipe, passes, planned):
    plan = read_plan(planned / "plans.json")
    configuration = plan.configuration(name)
    covered = configuration.model_copy(update={"median_shape": tuple(map(float, configuration.patch_shape))})
    about = _About(plan, InferenceRecipe(**recipe), n_cases=5, held_out=5, kept_maps=1, seconds=1)
    slices = plan.median_shape[0] if name == "2d" else 1
    assert _passes(covered, about) == passes * slices
    larger = covered.model_copy(update={"median_shape": tuple(2.0 * size for size in covered.patch_shape)})
    step = recipe.get("step", 0.5)
    assert _passes(larger, about) == passes * slices * (1 + 1 / step) ** len(covered.patch_shape)


@pytest.mark.slow
def test_a_plan_made_by_hand_says_what_it_will_cost(planned, tmp_path, capfd, monkeypatch):
    words = [word for word in plan_words(planned)[:-1] if word != "--no-forecast"]
    real = subprocess.run
    quick = lambda command, **options: real([*command, "--minutes", "0.02"], **options)  # noqa: E731
    monkeypatch.setattr(subprocess, "run", quick)
    call(*words, tmp_path / "plans.json", "--settings", "planning.gpu_memory_gb=9", "training.epochs=7")
    said = capfd.readouterr().err
    assert "forecast: 10 trainings (2 configurations, 5 folds), 17,500 steps: about" in said
    assert "planned for a GPU of 9 GB; disk:" in said


def test_a_forecast_that_fails_leaves_the_plan(planned, tmp_path, capfd, monkeypatch):
    words = [word for word in plan_words(planned)[:-1] if word != "--no-forecast"]
    file = tmp_path / "plans.json"
    assert main([*map(str, words), str(file), "--settings", "training.epochs=0"]) == 1
    assert (
        f"{file} is written, but its cost cannot be said; --no-forecast leaves it out"
        in capfd.readouterr().err
    )
    assert read_plan(file).configurations
