"""Weights that trainings begin with, as the workflow sees them."""

from __future__ import annotations

import os

import pytest

from segflow.contracts.errors import ConfigurationError
from segflow.recipes.recipe import Recipe
from segflow.recipes.training import TrainingRecipe
from segflow.storage.files import digest_of
from segflow.workflow.recipes import check_pretrained, digest_words

NAMES = ("2d", "3d_fullres")


@pytest.fixture
def file(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"weights")
    return str(tmp_path / "model.pt")


def recipes(pretrained):
    return {"mine": Recipe(name="mine", training=TrainingRecipe(pretrained=pretrained))}


def test_files_that_are_there(file):
    for given in (None, file, {}, {"2d": file}):
        check_pretrained(recipes(given), NAMES)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nowhere.pt", r"recipe 'mine': 'training\.pretrained': there is no file nowhere\.pt"),
        ({"2d": "nowhere.pt"}, r"'training\.pretrained\.2d': there is no file nowhere\.pt"),
        ({"2d": ""}, r"'training\.pretrained\.2d': there is no file "),
    ],
)
def test_files_that_are_not(given, message):
    with pytest.raises(ConfigurationError, match=message):
        check_pretrained(recipes(given), NAMES)


def test_a_configuration_no_plan_has(file):
    with pytest.raises(ConfigurationError, match=r"'training\.pretrained\.3d_full': there is no such conf"):
        check_pretrained(recipes({"3d_full": file}), NAMES)


def test_of_all_or_by_configuration():
    both = TrainingRecipe(pretrained="a.pt")
    one = TrainingRecipe(pretrained={"2d": "a.pt"})
    assert [recipe.pretrained_file("2d") for recipe in (TrainingRecipe(), both, one)] == [
        None,
        "a.pt",
        "a.pt",
    ]
    assert [recipe.pretrained_file("3d_fullres") for recipe in (both, one)] == ["a.pt", None]


def test_content_counts_and_neither_name_nor_age(file, tmp_path):
    assert digest_words(None) == ()
    words = digest_words(file)
    assert words == (f"training.pretrained={digest_of(tmp_path / 'model.pt')[:12]}",)
    os.utime(file, (1, 1))
    (tmp_path / "copy.pt").write_bytes(b"weights")
    (tmp_path / "other.pt").write_bytes(b"others")
    assert digest_words(str(tmp_path / "copy.pt")) == words != digest_words(str(tmp_path / "other.pt"))
