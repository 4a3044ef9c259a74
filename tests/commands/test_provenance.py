"""A job records how its result came about; the types of the verb's arguments say what to record."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from segflow.commands.arguments import (
    Call,
    DatasetFile,
    ExperimentFolder,
    InputFile,
    InputFolder,
    OutputFile,
    OutputFolder,
    ResultFile,
)
from segflow.commands.provenance import provenance_file, recorded
from segflow.contracts.artefacts import Provenance
from segflow.contracts.errors import PlanError
from segflow.storage.files import digest_of, read_contract, versions

COMMAND = ("segflow", "verb", "--job")
CODE = {"segflow.commands.verb": "abc"}


def verb(
    dataset: DatasetFile,
    *,
    plan: InputFile,
    chunks: list[InputFile],
    predictions: InputFolder | None = None,
    results: ExperimentFolder | None = None,
    models: Path | None = None,
    seed: int = 0,
    output: ResultFile | None = None,
    history: OutputFile | None = None,
    work: OutputFolder | None = None,
) -> None:
    """One with arguments of every kind."""


@pytest.fixture
def arguments(tmp_path):
    read = ("a.json", "b.json", "data/dataset.json", "labels/manifest.json", "r/model/model.json")
    for name in (*read, "labels/other.json", "models/m.pt", "history.csv", "work/checkpoint.pt"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(f"content of {name}")
    return {
        "dataset": tmp_path / "data" / "dataset.json",
        "plan": tmp_path / "a.json",
        "chunks": [tmp_path / "a.json", tmp_path / "b.json"],
        "predictions": tmp_path / "labels",
        "results": tmp_path / "r",
        "models": tmp_path / "models",
        "seed": 3,
        "output": tmp_path / "result.json",
        "history": tmp_path / "history.csv",
        "work": tmp_path / "work",
    }


def made(arguments):
    return read_contract(Provenance, provenance_file(arguments["output"]))


def test_what_is_recorded(arguments, tmp_path):
    """Files that are read, and of a folder those that say what is in it; nothing that is written."""
    before = datetime.now(UTC) - timedelta(seconds=1)
    call = Call(job=True)
    with recorded(verb, arguments, call, COMMAND, CODE):
        assert not provenance_file(arguments["output"]).exists()
        call.reads(tmp_path / "models" / "m.pt")  # only running tells
    found = made(arguments)
    assert (found.command, found.code, found.versions, found.device) == (COMMAND, CODE, versions(), "cpu")
    read = [
        "a.json",
        "b.json",
        "data/dataset.json",
        "labels/manifest.json",
        "r/model/model.json",
        "models/m.pt",
    ]
    assert found.inputs == {str(tmp_path / name): digest_of(tmp_path / name) for name in read}
    started, finished = map(datetime.fromisoformat, (found.started, found.finished))
    assert before <= started <= finished <= datetime.now(UTC)
    assert started.utcoffset() == timedelta(0)


def test_inputs_are_as_they_were_before(arguments):
    before = digest_of(arguments["plan"])
    with recorded(verb, arguments, Call(job=True), COMMAND, CODE):
        arguments["plan"].write_text("later")
    assert made(arguments).inputs[str(arguments["plan"])] == before


def test_no_result_no_record(arguments, tmp_path):
    with recorded(verb, arguments | {"output": None}, Call(job=True), COMMAND, CODE):
        pass
    assert not list(tmp_path.rglob("*.provenance"))


@pytest.mark.parametrize("problem", [PlanError("no"), KeyboardInterrupt(), SystemExit(143), MemoryError()])
def test_a_failed_run_leaves_the_record_of_the_result_that_is_there(problem, arguments):
    with pytest.raises(type(problem)), recorded(verb, arguments, Call(job=True), COMMAND, CODE):
        raise problem
    assert not provenance_file(arguments["output"]).exists()
    with recorded(verb, arguments, Call(job=True), COMMAND, CODE):
        pass
    before = made(arguments)
    with pytest.raises(type(problem)), recorded(verb, arguments, Call(job=True), ("other",), CODE):
        raise problem
    assert made(arguments) == before
