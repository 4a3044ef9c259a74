"""How a call of the workflow that does not succeed ends: in the words of its jobs, with the paths of their logs.

Snakemake itself shows the whole command of every job that fails, and calls Ctrl-C an error. What it says is changed
here through its logger; each assumption has a test in tests/workflow/test_ending.py.
"""

from __future__ import annotations

import atexit
import logging
import re
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, Final

import psutil

__all__ = ["end_well"]

_INTERRUPTED: Final = 130
_RECORD = re.compile(r"^\d{4}-\d\d-\d\d [\d:,]+ (?P<level>[A-Z]+) (?P<message>.*)$")
#: What Snakemake puts around the sentence of an error that the rules of this workflow raise.
_PLACE = re.compile(r'^WorkflowError in .*line \d+:\n|\n +File "[^"\n]*", line \d+, in \S+$', re.MULTILINE)
_UNSUCCESSFUL: Final = "At least one job did not complete successfully"
_SAID_OTHERWISE: Final = ("Exiting because a job execution failed", "Terminating processes on user request")


def end_well(snakemakes_logger: logging.Logger, rules: Path, results: Path) -> None:
    """Say what has failed and what is kept, and let jobs save their work when the call is interrupted.

    Args:
        snakemakes_logger: Through which it says all that it says.
        rules: Folder of this workflow's rules.
        results: Folder of the results.
    """
    ending = _Ending(rules, results)
    snakemakes_logger.addFilter(ending)

    def stop(_number: int, _frame: FrameType | None) -> None:
        """Pass SIGINT, also one that Snakemake alone gets, on to its jobs, so that they save their work and end."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # jobs hear a second one
        ending.is_interrupted = True
        atexit.register(ending.say)  # before there are jobs, Snakemake ends without a word
        for job in psutil.Process().children():
            with suppress(psutil.NoSuchProcess):  # it has just ended
                job.send_signal(signal.SIGTERM)
        raise SystemExit(_INTERRUPTED)

    signal.signal(signal.SIGINT, stop)


class _Ending(logging.Filter):
    """Collects the jobs that fail, and changes what is said about them."""

    def __init__(self, rules: Path, results: Path) -> None:
        super().__init__()
        self._rules = str(rules)
        self._results = results
        self._logs: dict[str, str] = {}
        self.is_interrupted = self._is_said = False

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record of Snakemake's is shown, which may be changed."""
        text = str(record.msg)
        if getattr(record, "rule_name", None) and text.startswith("Error in rule"):
            return self._job_failed(record)
        if text.startswith(_SAID_OTHERWISE) or (
            text.startswith("RuleException") and "CalledProcessError" in text
        ):
            return False
        if _UNSUCCESSFUL in text:
            record.msg, self._is_said = self._closing(), True
        elif self._rules in text and text.startswith("WorkflowError"):
            record.msg = f"segflow: {_PLACE.sub('', text).strip()}"
        return True

    def say(self) -> None:
        """The closing line, unless it has been said."""
        if not self._is_said:
            sys.stderr.write(f"{self._closing()}\n")

    def _job_failed(self, record: Any) -> bool:
        record.shellcmd = None  # the provenance of what it makes has it
        for log in record.log or ():
            self._logs[str(log)] = record.rule_name
        return not self.is_interrupted

    def _closing(self) -> str:
        if self.is_interrupted:
            return (
                f"segflow: interrupted; {self._results} keeps what is finished, and trainings up to this moment: "
                "the same call goes on from there"
            )
        lines = [
            f"segflow: {self._results} keeps what is finished; mend what follows, and the same call goes on:"
            if self._logs
            else f"segflow: not finished, for the reasons above; {self._results} keeps what is finished"
        ]
        for log, rule in self._logs.items():
            lines += [f"{rule.replace('_', ' ')}: {_own_error(Path(log))}", f"    log: {log}"]
        return "\n".join(lines)


def _own_error(log: Path) -> str:
    """What the job itself has said last, if that was an error."""
    with suppress(OSError):
        found = [
            _RECORD.match(line) for line in log.read_text(encoding="utf-8", errors="replace").splitlines()
        ]
        if (last := next((match for match in reversed(found) if match), None)) and last["level"] == "ERROR":
            return last["message"]
    return "it ended without saying why: it was killed, by hand, for its memory or for its time"
