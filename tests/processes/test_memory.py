"""Memory is asked for before it is taken, and what others are about to take counts."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import pytest

from segflow.commands.raw_cases import for_each_case
from segflow.contracts.case import Case
from segflow.contracts.errors import DatasetError, MemoryShortageError
from segflow.processes import memory
from segflow.processes.memory import check_memory


@pytest.fixture
def free(monkeypatch):
    """One gigabyte, whatever the machine has."""
    monkeypatch.setattr(memory, "available_bytes", lambda: 10**9)


def test_a_shortage_is_said_in_numbers(free):
    check_memory(10**9, "a lot")
    with pytest.raises(
        MemoryShortageError, match=r"^a lot, which need 1\.5 GB of memory, and 1\.0 GB are available;"
    ):
        check_memory(1.5e9, "a lot")


def test_small_needs_are_not_looked_up(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", None)
    check_memory(10**7, "a little")


def ask(case: Case, *, folder: Path, wait_s: float) -> str:
    with (folder / case.identifier).open("a") as notes:
        notes.write(".")
    check_memory(float(case.identifier) * 1e6, f"case {case.identifier}: its voxels")
    time.sleep(wait_s)
    return case.identifier


def test_what_does_not_fit_beside_others_is_tried_alone(free, tmp_path):
    names = ["700", "701", "100", "702"]
    work = partial(ask, folder=tmp_path, wait_s=0.4)
    assert list(for_each_case("try", work, [Case(name, ()) for name in names], workers=3)) == names
    tries = {name: len((tmp_path / name).read_text()) for name in names}
    assert tries["100"] == 1
    assert sum(tries.values()) > 4


def test_what_does_not_fit_at_all_is_named_and_the_others_go_on(free, tmp_path):
    names = ["1700", "10", "300"]
    with pytest.raises(
        DatasetError, match=r"^case 1700: its voxels, which need 1\.7 GB of memory, and [^\n]*$"
    ):
        for_each_case(
            "try", partial(ask, folder=tmp_path, wait_s=0), [Case(name, ()) for name in names], workers=2
        )
    assert {file.name for file in tmp_path.iterdir()} == set(names)


def test_a_case_that_is_done_claims_nothing(free, tmp_path):
    names = [str(900 + number) for number in range(6)]
    for_each_case(
        "try", partial(ask, folder=tmp_path, wait_s=0), [Case(name, ()) for name in names], workers=1
    )
    assert {file.read_text() for file in tmp_path.iterdir()} == {"."}


@pytest.mark.parametrize(
    ("own", "root", "job", "names"),
    [
        ("0::/slurm/job_7/step_0", "", "slurm/job_7", ("max", "current", "file", "shmem")),
        (
            "5:cpu:/other\n4:memory:/slurm/job_7\n0::/none", "memory", "slurm/job_7",
            ("limit_in_bytes", "usage_in_bytes", "total_cache", "total_shmem"),
        ),
        ("0::/docker/abc", "", "", ("max", "current", "file", "shmem")),
    ],
    ids=["version 2", "version 1", "a container that sees its own group alone"],
)  # fmt: skip
def test_the_limit_of_a_cluster_s_job_counts(own, root, job, names, tmp_path, monkeypatch):
    """It is that of a group above the process's own; file cache counts as free."""
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path / "groups")
    monkeypatch.setattr(memory, "_OWN_GROUPS", tmp_path / "own")
    (tmp_path / "own").write_text(f"{own}\n")
    folder = tmp_path / "groups" / root / job
    (folder / "step_0").mkdir(parents=True)
    most, now, cache, shared = names
    (folder / "step_0" / f"memory.{most}").write_text("max\n")
    (folder / f"memory.{most}").write_text("5000000\n")
    (folder / f"memory.{now}").write_text("3000000\n")
    (folder / "memory.stat").write_text(f"anon 1\n{cache} 1500000\n{shared} 500000\n")
    assert memory.available_bytes() == 3_000_000
