"""What the benchmarks beside the peer share: calling either program, taking turns, and tables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

PEER_SETTINGS = {"nnUNet_def_n_proc": "2", "nnUNet_n_proc_DA": "2", "nnUNet_compile": "f"}


def call(words: Sequence[object], environment: Mapping[str, str] | None = None) -> str:
    """Run a program to its end; give what it said."""
    done = subprocess.run(
        [str(word) for word in words], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{words} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def segflow(*words: object) -> None:
    """One command of ours."""
    call([sys.executable, "-m", "segflow", *words], dict(os.environ))


def peer_environment(folder: Path) -> dict[str, str]:
    """Its three folders below one."""
    roots = {f"nnUNet_{name}": str(folder / name) for name in ("raw", "preprocessed", "results")}
    return os.environ | roots | PEER_SETTINGS


def call_one(script: Path, program: str, job: Mapping[str, object], options, folder: Path, threads) -> dict:
    """A script's job in a process of its own, with the program's Python.

    Args:
        script: Takes "ours" or "peer" and a file, and prints one line of JSON at its end.
        program: "ours" or "peer".
        job: What is in the file.
        options: Of the benchmark; knows the peer's Python.
        folder: For the file, and for the peer.
        threads: What our program's environment says of threads.
    """
    file = folder / "job.json"
    file.write_text(json.dumps(job))
    python = sys.executable if program == "ours" else options.peer
    environment = os.environ | threads if program == "ours" else peer_environment(folder)
    return last_json(call([python, script, program, file], environment))


def last_json(said: str) -> dict:
    """The last line of what a program said."""
    return json.loads(said.splitlines()[-1])


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def in_turn(run: int) -> tuple[str, str]:
    """Who goes first changes from run to run."""
    return ("ours", "peer") if run % 2 == 0 else ("peer", "ours")


def runs() -> dict[str, list]:
    """Where the figures of both are collected."""
    return {"ours": [], "peer": []}


def pair(found: Mapping[str, list], figure: Callable[[dict], float], unit: str) -> tuple[list, list, str]:
    """One figure of every run of both."""
    return [figure(one) for one in found["ours"]], [figure(one) for one in found["peer"]], unit


def show_tables(tables: Mapping[str, Mapping[str, tuple[list, list, str]]]) -> None:
    """Print Markdown: medians, and the ratio of every run that both have made."""
    for name, rows in tables.items():
        print(f"\n## {name}\n\n| What | ours | peer | peer / ours | per run |\n|---|---|---|---|---|")
        for what, (ours, theirs, unit) in rows.items():
            ratios = [their / our for our, their in zip(ours, theirs, strict=False)]
            each = " ".join(f"{ratio:.3g}" for ratio in ratios)
            ratio = f"{median(ratios):.3g}" if ratios else ""
            figures = [f"{median(values):.3g} {unit}" if values else "" for values in (ours, theirs)]
            print(f"| {what} | {' | '.join(figures)} | {ratio} | {each} |")
