"""The types of arguments: one clear sentence for a path of the wrong kind, in every verb."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import get_args, get_origin, get_type_hints

import pytest
from cyclopts import App, CoercionError

from segflow.commands import arguments
from segflow.commands.arguments import Chunk, DatasetFile, ModelPackage, Shard, marks_of
from segflow.commands.main import COMMANDS, application, main
from segflow.commands.raw_cases import cases_of_chunk
from segflow.contracts.case import Case
from segflow.contracts.errors import ConfigurationError
from segflow.contracts.plan import Fold, fold_of

CASES = tuple(Case(f"case_{n:03}", (Path(f"case_{n:03}_0000.nii.gz"),), None) for n in range(40))
TYPES = {
    name: getattr(arguments, name)
    for name in arguments.__all__
    if hasattr(getattr(arguments, name), "__metadata__")
}
PATHS = {name: hint for name, hint in TYPES.items() if hint.__origin__ is Path}


def parsed(hint, word):
    app = App(result_action="return_value")

    def function(*, value):
        return value

    function.__annotations__["value"] = hint
    words = [str(word)] * (2 if get_origin(hint) is tuple and ... not in get_args(hint) else 1)
    app.default(function)
    return app(["--value", *words], exit_on_error=False, print_error=False)


def path_arguments():
    for verb, module in COMMANDS.items():
        function = getattr(importlib.import_module(f"segflow.commands.{module}"), module)
        for name, hint in get_type_hints(function, include_extras=True).items():
            kind = next((one for one in PATHS if PATHS[one].__metadata__[0] in marks_of(hint)), None)
            if kind is not None:
                yield pytest.param(hint, kind, id=f"{verb}-{name}")


@pytest.mark.parametrize(("hint", "kind"), list(path_arguments()))
def test_a_path_of_the_wrong_kind(hint, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    wrong = {
        "InputFile": ["folder", "nowhere"],
        "InputFolder": ["file", "nowhere"],
        "ExperimentFolder": ["file", "nowhere"],
        "InputPath": ["nowhere"],
        "DatasetFile": ["nowhere", "nowhere.json", "folder", "file"],
        "ModelPackage": ["nowhere", "folder", "file"],
        "OutputFile": ["folder", "file/below"],
        "ResultFile": ["folder", "file/below"],
        "OutputFolder": ["file", "file/below"],
        "OutputPath": ["file/below"],
    }[kind]
    for word in wrong:
        with pytest.raises(ConfigurationError, match=word) as problem:
            parsed(hint, word)
        assert "\n" not in str(problem.value)


def test_a_wrong_path_ends_a_verb_with_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["folds", "nowhere", "--output", "splits_final.json"]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("segflow: ")
    assert "nowhere" in shown
    assert shown.count("\n") == 1


def test_every_path_of_a_verb_has_such_a_type():
    for module in COMMANDS.values():
        function = getattr(importlib.import_module(f"segflow.commands.{module}"), module)
        for name, hint in get_type_hints(function, include_extras=True).items():
            if "Path" in str(hint):
                assert any(PATHS[kind].__metadata__[0] in marks_of(hint) for kind in PATHS), (module, name)


@pytest.mark.parametrize("word", ["data", "data/dataset.json"])
def test_a_data_set_is_named_by_its_folder_or_its_description(word, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    Path("data/dataset.json").write_text("{}")
    assert parsed(DatasetFile, word) == Path("data/dataset.json")


@pytest.mark.parametrize("word", ["experiment", "experiment/model", "experiment/model/model.json"])
def test_a_model_is_named_by_its_package_or_its_experiment(word, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("experiment/model").mkdir(parents=True)
    Path("experiment/model/model.json").write_text("{}")
    assert parsed(ModelPackage, word) == Path("experiment/model")


@pytest.mark.parametrize(("word", "found"), [("--no-compile-network", False), ("--compile-network", True)])
def test_options_that_the_workflow_gives_a_training(word, found, tmp_path, monkeypatch):
    """Of `resources.compile: false` and `true`."""
    monkeypatch.chdir(tmp_path)
    for name in ("dataset.json", "f"):
        Path(name).touch()
    words = "train --dataset . --network f --folds f --fold 0 --prepared f --output o --history h --work w"
    _, bound, _ = application([]).parse_args([*words.split(), word], exit_on_error=False, print_error=False)
    assert bound.arguments["compile_network"] is found


def test_a_path_that_no_library_can_open(capsys):
    assert main(["check", os.fsdecode(b"M\xfcller")]) == 1
    assert "'M\\udcfcller' is not UTF-8; rename it" in capsys.readouterr().err


def test_a_path_is_the_one_that_its_user_means(tmp_path, monkeypatch, capsys):
    """Shells leave the ~ in --output=~/x."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert main(["phantom", "~/data", "--cases", "1"]) == 0
    assert (tmp_path / "data" / "dataset.json").exists()
    assert main(["phantom", "./-data", "--cases", "1"]) == 0
    assert (tmp_path / "-data" / "dataset.json").exists()


@pytest.mark.parametrize("text", ["3/3", "1", "a/b", "0/0", "1/2/3", "1.0/2", " 1/2"])
def test_a_chunk_that_does_not_exist_is_refused(text):
    with pytest.raises(CoercionError, match="is not I/N"):
        parsed(Chunk, text)


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/0", "a/b", "²/3"])
def test_a_shard_that_does_not_exist_is_refused(text):
    with pytest.raises(CoercionError, match="is not one of 1/N to N/N"):
        parsed(Shard, text)


def test_chunks_and_shards_are_understood():
    assert parsed(Chunk, "2/5") == (2, 5)
    assert parsed(Shard, "5/5") == (5, 5)


@pytest.mark.parametrize("count", [1, 2, 8, 64])
def test_every_case_is_in_one_chunk_and_they_keep_their_order(count):
    shares = [cases_of_chunk(CASES, (index, count)) for index in range(count)]
    assert sorted(case.identifier for share in shares for case in share) == [
        case.identifier for case in CASES
    ]
    assert all(list(share) == [case for case in CASES if case in share] for share in shares)


def test_a_missing_fold_names_those_there_are():
    folds = [Fold(train=("a",), val=("b",))] * 3
    assert fold_of(folds, 2) is folds[2]
    with pytest.raises(ConfigurationError, match="no fold 3; the folds are 0 to 2"):
        fold_of(folds, 3)
