"""Arguments shared by several verbs."""

from __future__ import annotations

import argparse

import pytest

from segflow.commands.options import chunk_of, configuration_of, fold_of, inference_recipe, parse_chunk
from segflow.contracts.errors import ConfigurationError
from segflow.contracts.folds import Fold


@pytest.mark.parametrize(("count", "chunks"), [(10, 3), (7, 7), (5, 1), (100, 32)])
def test_chunks_share_all_items_evenly(count, chunks):
    shares = [chunk_of(range(count), (index, chunks)) for index in range(chunks)]
    assert [item for share in shares for item in share] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("text", ["3/3", "-1/4", "1", "a/b", "0/0"])
def test_a_chunk_that_does_not_exist_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is not I/N"):
        parse_chunk(text)


def test_a_chunk_is_understood():
    assert parse_chunk("2/5") == (2, 5)


def test_a_missing_fold_names_those_there_are():
    folds = [Fold(train=("a",), val=("b",))] * 3
    assert fold_of(folds, 2) is folds[2]
    with pytest.raises(ConfigurationError, match="no fold 3; the folds are 0 to 2"):
        fold_of(folds, 3)


def test_a_missing_configuration_names_those_there_are(plan):
    assert configuration_of(plan, "2d").name == "2d"
    with pytest.raises(ConfigurationError, match="no configuration '3d_lowres'; it has 2d"):
        configuration_of(plan, "3d_lowres")


def test_command_line_beats_package_beats_recipe():
    given = argparse.Namespace(step=0.25, mirroring=None)
    recipe = inference_recipe("nnunet", given, step=0.7, mirroring=False)
    assert (recipe.step, recipe.mirroring) == (0.25, False)
    unset = argparse.Namespace(step=None, mirroring=None)
    assert inference_recipe("nnunet", unset).mirroring is True
