"""All that the workflow takes from Snakemake beyond its documented interface.

Each assumption has a test in tests/workflow/test_snakemake.py that bears its name, so that a new version of Snakemake
that breaks one says which. Snakemake gives its logger plugins the reason of a job as the same text that it prints; that
is why `planned_jobs` reads a dry run.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator, Set
from contextlib import suppress
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segflow.contracts.errors import ConfigurationError
from segflow.processes.locks import named, try_lock

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = [
    "PlannedJobs",
    "accept_any_age",
    "granted",
    "hold_results",
    "is_dated_ahead",
    "keep_records",
    "planned_jobs",
    "recover_records",
    "search_programs",
    "settle",
    "unsettle",
]

_RECORDS = Path(".snakemake", "metadata")
_LOCK = Path(".snakemake", "segflow.lock")
#: Stands for the folder of the results in copies of records.
_HERE = "{results}"
_AT_WORK = "at_work"

_HEAD = re.compile(r"^(?:local)?(?P<kind>rule|checkpoint) (?P<rule>\w+):$")
_REASON = re.compile(r"^ {4}reason: (?P<reason>.+)$")
_PARAMS = re.compile(r"Params have changed since last execution: .*?before: (?P<before>.*?) now: (?P<now>.*)")
_OUTPUT = re.compile(r"^ {4}output: (?P<files>.+)$")
_MADE_AGAIN = re.compile(r"Input files updated by another job: (?P<files>.+)")
_IF_OTHERWISE = "only if what it reads comes out otherwise"
_UPDATED = re.compile(r"Updated input files: (?P<files>.+)")
_TEXT = r"'(?:[^'\\]|\\.)*'"
#: A text, or a list of texts. A text may hold brackets.
_WORD = re.compile(rf"\[(?:{_TEXT}(?:, )?)*\]|{_TEXT}")
_PLAIN = {
    "Missing output files": "not made yet",
    "Input files updated by another job": "what it reads is made again",
    "Set of input files has changed": "files, cases, folds or configurations were added, removed or moved",
    "Code has changed": "its rule was changed",
    "Forced execution": "forced",
}


# The start and the end of a call.


def search_programs(workflow: Any, launcher: Path) -> None:
    """Let jobs find the command `segflow`: where no environment provides it, the one beside this Python.

    It is ahead of others on the path, of whose code the rules take no digests. A conda environment holds the packages
    only. There it is `launcher`, the folder of a command that runs this checkout's code, ahead of any `segflow` with
    other packages.
    """
    folders = [str(Path(sys.executable).parent), *os.get_exec_path()]
    if "CONDA" in {method.name for method in workflow.deployment_settings.deployment_method}:
        folders.insert(0, str(launcher))
    os.environ["PATH"] = os.pathsep.join(folders)


def hold_results(results: Path) -> list[BaseFileLock]:
    """Keep other calls away from this folder and from the results until this one ends, however it ends.

    The kernel's lock needs no `--unlock` after a crash, which is why the profiles turn Snakemake's own off. It is free
    again when nothing refers to it any more.

    Raises:
        ConfigurationError: Another call holds one of them, or there can be no lock.
    """
    locks = []
    places = (
        ("this folder", _LOCK, "wait for it, or start this one in another folder"),
        (str(results), results / _LOCK.name, "wait for it, or stop it"),
    )
    for what, file, remedy in places:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            lock = try_lock(file)
        except OSError as problem:
            raise ConfigurationError(
                f"{file} cannot be used as a lock ({problem.strerror}); make its folder writable, and remove it if it "
                "is a link"
            ) from None
        if lock is None:
            raise ConfigurationError(f"another call is at work in {what}{named(file)}; {remedy}")
        locks.append(lock)
    return locks


def accept_any_age() -> None:
    """Keep what a job has made though an input is dated later.

    Snakemake deletes it, because such a date may come of clocks that differ, and would repeat the job in the next call.
    Here digests decide, and `is_dated_ahead` sees to the users' files.
    """
    from snakemake.dag import DAG  # type: ignore[import-untyped]  # noqa: PLC0415  only where rules are read

    async def accept(*_: object) -> None:
        pass

    DAG.check_output_mtime = accept


def is_dated_ahead(file: str) -> bool:
    """Whether a file is from the future: then its age does not say that it has changed."""
    return Path(file).exists() and Path(file).stat().st_mtime > time.time()


def granted(workflow: Any, name: str) -> int | None:
    """How much of a resource a call may use: of "gpu", or of "_cores"; None if that is not limited."""
    value = workflow.global_resources.get(name)
    value = getattr(value, "value", value)
    return None if value is None else int(value)


def settle(workflow: Any, results: Path) -> None:
    """Let no result be older than what it is made from, and copy what Snakemake remembers to their folder `records`.

    A stage whose result came out as before leaves what follows alone, which is then older than its input. Snakemake
    knows better as long as it remembers the inputs' digests; with these ages and the copy, `.snakemake` can be lost.
    Results that are made from files of others keep their age: such files may change at any time. So do all that are
    not older, since what follows from them may have no part in this call.
    """
    jobs = list(workflow.dag.jobs)
    made = {file: number for number, job in enumerate(jobs) for file in job.output}
    graph = {n: {made[file] for file in job.input if file in made} for n, job in enumerate(jobs)}
    for job in (jobs[number] for number in TopologicalSorter(graph).static_order()):
        if all(file in made or file.is_ancient for file in job.input):
            read = (_dated(file) for file in job.input if not file.is_ancient)
            newest = max((file.stat().st_mtime_ns for file in read if file.exists()), default=0)
            # A result counts as old as the oldest of what its job wrote, its benchmark file included.
            for file in filter(os.path.exists, [*job.output, *filter(None, [job.benchmark])]):
                if _dated(file).stat().st_mtime_ns < newest:
                    os.utime(_dated(file), ns=(newest, newest))
    keep_records(results)


# Snakemake's records: parameters, code and inputs of each result.


def unsettle(results: Path) -> None:
    """Note that a call is at work on these results, so that their ages count until `settle` has run."""
    (results / "records").mkdir(parents=True, exist_ok=True)
    (results / "records" / _AT_WORK).touch()


def keep_records(results: Path) -> None:
    """Copy the records of these results to their folder `records`, in such a way that it can be moved with them."""
    kept, fresh = results / "records", results / "records.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for result, text in _read_records(_RECORDS):
        if result.is_relative_to(results):
            _write_record(fresh, result.relative_to(results), _moved(text, str(results), _HERE))
    shutil.rmtree(kept, ignore_errors=True)
    fresh.rename(kept)


def recover_records(results: Path) -> None:
    """Give Snakemake the copy of these results' records back where it has none or older ones: else, changes go unseen.

    Copied files have any age. Where Snakemake knew nothing of these results, and no call has been at work on them since
    they were settled, they get one age again.
    """
    kept = dict(_read_records(results / "records"))
    own = {result: text for result, text in _read_records(_RECORDS) if result.is_relative_to(results)}
    settled = not own and not (results / "records" / _AT_WORK).exists()
    now = time.time_ns()
    for name, text in kept.items():
        file = results / name
        if _ended(own.get(file)) < _ended(text):
            _write_record(_RECORDS, file, _moved(text, _HERE, str(results)))
        if settled and file.exists() and all(of.startswith(f"{_HERE}/") for of in json.loads(text)["input"]):
            os.utime(_dated(file), ns=(now, now))


def _dated(result: str | Path) -> Path:
    """The file that says how old a result is: of a folder, one that Snakemake keeps in it."""
    stamp = Path(result, ".snakemake_timestamp")
    return stamp if stamp.exists() else Path(result)


def _moved(text: str, old: str, new: str) -> str:
    """A record with the paths below one folder as paths below another."""
    old, new = (json.dumps(folder)[1:-1] for folder in (old, new))
    return re.sub(rf"(?<![\w./~-]){re.escape(old)}/", lambda _: f"{new}/", text)


def _ended(record: str | None) -> float:
    return 0.0 if record is None else float(json.loads(record).get("endtime") or 0)


def _read_records(folder: Path) -> Iterator[tuple[Path, str]]:
    """Results and their records, which are JSON; one that is not complete counts as absent, as for Snakemake."""
    for file in folder.rglob("*"):
        if file.is_file():
            text = file.read_text(encoding="utf-8", errors="replace")
            with suppress(ValueError):
                if isinstance(json.loads(text), dict):
                    yield _result_of(file.relative_to(folder)), text


def _write_record(folder: Path, result: Path, text: str) -> None:
    """A record is named by its result, in base 64; long names are broken into folders that begin with @."""
    folder.mkdir(parents=True, exist_ok=True)
    name = base64.urlsafe_b64encode(str(result).encode()).decode()
    length = os.pathconf(folder, "PC_NAME_MAX") - 1
    parts = [name[start : start + length] for start in range(0, len(name), length)]
    file = folder.joinpath(*(f"@{part}" for part in parts[:-1]), parts[-1])
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def _result_of(record: Path) -> Path:
    text = "".join(part.removeprefix("@") for part in record.parts)
    try:
        return Path(base64.urlsafe_b64decode(text).decode())
    except ValueError:
        return Path(text)


# The text of a dry run.


@dataclass(frozen=True)
class PlannedJobs:
    """Jobs of one rule that would run for the same reason, which is given in this project's terms.

    What follows from a checkpoint is decided when it has run.
    """

    rule: str
    is_checkpoint: bool
    count: int
    reason: str


def planned_jobs(dry_run: str) -> list[PlannedJobs]:
    """The jobs in the output of `snakemake --dry-run`, in the order of their first one, without targets."""
    jobs = list(_jobs(dry_run))
    undecided = {file for job in jobs if job.is_checkpoint for file in job.output}
    for _ in jobs:  # along the longest chain
        undecided |= {file for job in jobs if job.follows_from(undecided) for file in job.output}
    counts = Counter(
        (job.rule, job.is_checkpoint, _IF_OTHERWISE if job.follows_from(undecided) else _explain(job.reason))
        for job in jobs
    )
    return [PlannedJobs(rule, checkpoint, n, why) for (rule, checkpoint, why), n in counts.items()]


@dataclass(frozen=True)
class _Job:
    """One job of a dry run, with Snakemake's reason."""

    rule: str
    is_checkpoint: bool
    output: frozenset[str]
    reason: str

    def follows_from(self, files: Set[str]) -> bool:
        """Whether it would run because these files are made again, and for no other reason."""
        made = _MADE_AGAIN.fullmatch(self.reason)
        return made is not None and set(made["files"].split(", ")) <= files


def _jobs(dry_run: str) -> Iterator[_Job]:
    head: re.Match[str] | None = None
    output: frozenset[str] = frozenset()
    for line in dry_run.splitlines():
        if found := _HEAD.match(line):
            head, output = found, frozenset()
        elif written := _OUTPUT.match(line):
            output = frozenset(written["files"].split(", "))
        elif (reason := _REASON.match(line)) and head is not None and output:  # targets have none
            yield _Job(head["rule"], head["kind"] == "checkpoint", output, reason["reason"])
            head = None


def _explain(reason: str) -> str:
    if params := _PARAMS.search(reason):
        return _changed_params(_words(params["before"]), _words(params["now"]))
    if updated := _UPDATED.search(reason):
        return f"changed: {updated['files']}"
    return next((text for start, text in _PLAIN.items() if start in reason), reason)


def _changed_params(old: list[str], new: list[str]) -> str:
    """Code by module, settings by name with both values."""
    modules = sorted({word.partition("@")[0] for word in (*old, *new) if "@" in word})
    before, now = (dict(word.split("=", 1) for word in words if "=" in word) for words in (old, new))
    changes = [f"code changed: {', '.join(modules)}"] if modules else []
    changes += [
        f"{name}: {before.get(name, 'nothing')} → {now.get(name, 'nothing')}"
        for name in {**now, **before}
        if before.get(name) != now.get(name)
    ]
    others = [word for word in new if "@" not in word and "=" not in word]
    return "; ".join(changes) or (f"now {', '.join(others)}" if others else "parameters changed")


def _words(text: str) -> list[str]:
    """The strings of a list of reprs; the entries of lists one by one."""
    return [word[1:-1] for part in _WORD.findall(text) for word in re.findall(_TEXT, part)]
