"""Snakemake's reasons for running a job, in words of this project."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

__all__ = ["PlannedJobs", "planned_jobs"]

_HEAD = re.compile(r"^(?:local)?(?P<kind>rule|checkpoint) (?P<rule>\w+):$")
_REASON = re.compile(r"^ {4}reason: (?P<reason>.+)$")
_PARAMS = re.compile(r"Params have changed since last execution: .*?before: (?P<before>.*?) now: (?P<now>.*)")
_TEXT = r"'(?:[^'\\]|\\.)*'"
#: A text, or a list of texts. A text may hold brackets.
_WORD = re.compile(rf"\[(?:{_TEXT}(?:, )?)*\]|{_TEXT}")
_PLAIN = (
    (re.compile(r"Missing output files"), "not made yet"),
    (re.compile(r"Input files updated by another job"), "what it reads is made again"),
    (re.compile(r"Set of input files has changed"), "cases, folds or configurations were added or removed"),
    (re.compile(r"Code has changed"), "its rule was changed"),
    (re.compile(r"Forced execution"), "asked for"),
)
_UPDATED = re.compile(r"Updated input files: (?P<files>.+)")


@dataclass(frozen=True)
class PlannedJobs:
    """Jobs of one rule with one reason.

    Attributes:
        rule: Its name.
        is_checkpoint: What follows is decided when it has run.
        count: How many jobs.
        reason: Why they would run.
    """

    rule: str
    is_checkpoint: bool
    count: int
    reason: str


def planned_jobs(dry_run: str) -> list[PlannedJobs]:
    """Understand what a dry run printed.

    Args:
        dry_run: The output of `snakemake --dry-run`.

    Returns:
        In the order of their first job; the target rule `all` is left out.
    """
    counts: Counter[tuple[str, bool, str]] = Counter()
    head: re.Match[str] | None = None
    for line in dry_run.splitlines():
        head = _HEAD.match(line) or head
        reason = _REASON.match(line)
        if head is not None and reason is not None and head["rule"] != "all":
            counts[head["rule"], head["kind"] == "checkpoint", _explain(reason["reason"])] += 1
            head = None
    return [PlannedJobs(rule, checkpoint, n, why) for (rule, checkpoint, why), n in counts.items()]


def _explain(reason: str) -> str:
    params = _PARAMS.search(reason)
    if params is not None:
        return _changed_params(params["before"], params["now"])
    updated = _UPDATED.search(reason)
    if updated is not None:
        return f"changed: {updated['files']}"
    return next((text for pattern, text in _PLAIN if pattern.search(reason)), reason)


def _changed_params(before: str, now: str) -> str:
    """Code by module, settings by name with both values."""
    old, new = _words(before), _words(now)
    modules = sorted({word.partition("@")[0] for word in (*old, *new) if "@" in word})
    settings = []
    named = {word.partition("=")[0]: word.partition("=")[2] for word in old if "=" in word}
    for word in new:
        name, separator, value = word.partition("=")
        if separator and (before_it := named.pop(name, "nothing")) != value:
            settings.append(f"{name}: {before_it} → {value}")
    settings += [f"{name}: {value} → nothing" for name, value in named.items()]
    code = [f"code changed: {', '.join(modules)}"] if modules else []
    others = [word for word in new if "@" not in word and "=" not in word]
    return "; ".join(
        [*code, *settings, *([f"now {', '.join(others)}"] if others and not settings else [])]
    ) or ("parameters changed")


def _words(text: str) -> list[str]:
    """The strings of a list of reprs; the entries of lists one by one."""
    return [word[1:-1] for part in _WORD.findall(text) for word in re.findall(_TEXT, part)]
