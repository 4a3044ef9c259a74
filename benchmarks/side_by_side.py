"""Shared by the benchmarks beside nnU-Net: calling either program, taking turns, and tables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

NNUNET_SETTINGS = {"nnUNet_def_n_proc": "2", "nnUNet_n_proc_DA": "2", "nnUNet_compile": "f"}


def call(words: Sequence[object], environment: Mapping[str, str] | None = None) -> str:
    """Run a program to its end and return its output."""
    done = subprocess.run(
        [str(word) for word in words], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{words} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def segflow(*words: object) -> None:
    """Run a command of segflow."""
    call([sys.executable, "-m", "segflow", *words], dict(os.environ))


def nnunet_environment(folder: Path) -> dict[str, str]:
    """nnU-Net's environment variables, with its three folders in this one."""
    roots = {f"nnUNet_{name}": str(folder / name) for name in ("raw", "preprocessed", "results")}
    return os.environ | roots | NNUNET_SETTINGS


def call_one(script: Path, program: str, job: Mapping[str, object], options, folder: Path, threads) -> dict:
    """A script's job in a process of its own, with the program's Python.

    Args:
        script: Takes "segflow" or "nnunet" and a file, and prints one line of JSON at its end.
        program: "segflow" or "nnunet".
        job: Content of the file.
        options: Of the benchmark, with nnU-Net's Python.
        folder: For the file, and for nnU-Net.
        threads: Environment variables about threads, for segflow.
    """
    file = folder / "job.json"
    file.write_text(json.dumps(job))
    python = sys.executable if program == "segflow" else options.nnunet
    environment = os.environ | threads if program == "segflow" else nnunet_environment(folder)
    return last_json(call([python, script, program, file], environment))


def last_json(output: str) -> dict:
    """The last line of a program's output."""
    return json.loads(output.splitlines()[-1])


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def in_turn(run: int) -> tuple[str, str]:
    """The order of the programs, which alternates from run to run."""
    return ("segflow", "nnunet") if run % 2 == 0 else ("nnunet", "segflow")


def runs() -> dict[str, list]:
    """An empty list of figures for each program."""
    return {"segflow": [], "nnunet": []}


def pair(found: Mapping[str, list], figure: Callable[[dict], float], unit: str) -> tuple[list, list, str]:
    """One figure of every run of both programs."""
    return [figure(one) for one in found["segflow"]], [figure(one) for one in found["nnunet"]], unit


def show_tables(tables: Mapping[str, Mapping[str, tuple[list, list, str]]]) -> None:
    """Print Markdown: medians, and the ratio of every run that both have made."""
    for name, rows in tables.items():
        print(
            f"\n## {name}\n\n| What | segflow | nnU-Net | nnU-Net / segflow | per run |\n|---|---|---|---|---|"
        )
        for what, (ours, theirs, unit) in rows.items():
            ratios = [their / our for our, their in zip(ours, theirs, strict=False)]
            each = " ".join(f"{ratio:.3g}" for ratio in ratios)
            ratio = f"{median(ratios):.3g}" if ratios else ""
            figures = [f"{median(values):.3g} {unit}" if values else "" for values in (ours, theirs)]
            print(f"| {what} | {' | '.join(figures)} | {ratio} | {each} |")
