"""Arguments shared by several verbs."""

from __future__ import annotations

import argparse

import pytest

from segflow.commands.options import add_settings_argument, devices_for, fold_of
from segflow.contracts.errors import ConfigurationError
from segflow.contracts.plan import Fold


def test_a_missing_fold_names_those_there_are():
    folds = [Fold(train=("a",), val=("b",))] * 3
    assert fold_of(folds, 2) is folds[2]
    with pytest.raises(ConfigurationError, match="no fold 3; the folds are 0 to 2"):
        fold_of(folds, 3)


def test_a_missing_configuration_names_those_there_are(plan):
    assert plan.configuration("2d").name == "2d"
    with pytest.raises(ConfigurationError, match="no configuration '3d_lowres'; it has 2d"):
        plan.configuration("3d_lowres")


def test_settings_are_words_of_the_sections_named(capsys):
    parser = argparse.ArgumentParser()
    add_settings_argument(parser, "training", "augmentation")
    words = ["training.epochs=3", "augmentation.p_rotation=0"]
    assert parser.parse_args(["--settings", *words]).settings == words
    assert parser.parse_args([]).settings == []
    parser.print_help()
    assert "training, augmentation" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("device", "gpus", "devices"),
    [
        ("cpu", 0, ("cpu",)),
        ("cpu", 2, ("cpu",)),  # stand-ins for GPUs
        ("cuda", 0, ("cuda",)),
        ("cuda", 1, ("cuda",)),
        ("cuda", 2, ("cuda:0", "cuda:1")),
    ],
)
def test_devices_of_a_training(device, gpus, devices):
    assert devices_for(device, gpus) == devices
