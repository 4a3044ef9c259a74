"""The configuration file and its contract say the same."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
import yaml

from segflow.contracts.config import CONFIGURATION_NAMES, ConfigurationName, WorkflowConfig
from segflow.contracts.errors import ConfigurationError

FILES = sorted((Path(__file__).parents[2] / "config").glob("*.yaml"))
NEEDED = {"dataset": "data", "output": "results"}


def parse(data):
    return WorkflowConfig.parse(data, where="config.yaml", error=ConfigurationError)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_file_is_valid(file):
    parse(yaml.safe_load(file.read_text()))


def test_the_commented_file_holds_every_key_at_its_default(repository):
    data = yaml.safe_load((repository / "config" / "config.yaml").read_text())
    assert parse(data) == parse({"dataset": data["dataset"], "output": data["output"]})
    expected = parse(NEEDED).model_dump(mode="json")
    assert {key: set(value) for key, value in data.items() if isinstance(value, dict)} == {
        key: set(value) for key, value in expected.items() if isinstance(value, dict)
    }
    assert set(data) == set(expected)


def test_every_configuration_has_a_place_in_the_order():
    assert set(CONFIGURATION_NAMES) == set(get_args(ConfigurationName))


@pytest.mark.parametrize(
    ("data", "key"),
    [
        ({"folds": []}, "folds"),
        ({"folds": [-1]}, "folds.0"),
        ({"configurations": ["4d"]}, "configurations"),
        ({"device": "tpu"}, "device"),
        ({"seed": -1}, "seed"),
        ({"training": {"epochs": 0}}, "training.epochs"),
        ({"training": {"batch_size": {"4d": 2}}}, "training.batch_size"),
        ({"training": {"batch_size": {"2d": 0}}}, "training.batch_size.2d"),
        ({"inference": {"step": 0}}, "inference.step"),
        ({"inference": {"step": 1.5}}, "inference.step"),
        ({"planning": {"gpu_memory_gb": 0}}, "planning.gpu_memory_gb"),
        ({"planning": {"spacing_mm": [1, 1]}}, "planning.spacing_mm"),
    ],
)
def test_values_out_of_range(data, key):
    with pytest.raises(ConfigurationError, match=rf"'{key}"):
        parse({**NEEDED, **data})


@pytest.mark.parametrize("key", NEEDED)
def test_needed_keys(key):
    with pytest.raises(ConfigurationError, match=rf"'{key}': Field required"):
        parse({k: v for k, v in NEEDED.items() if k != key})
