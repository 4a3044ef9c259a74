"""`segflow select`: choose the best model or pair."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from segflow.commands.console import console
from segflow.contracts.scores import Candidate, Summary
from segflow.ensembling import select
from segflow.io.files import read_contract, write_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments. Source: ours."""
    parser.add_argument(
        "--candidates",
        type=Path,
        nargs="+",
        required=True,
        help="NAME/summary.json of every candidate, simpler first; NAME is 3d_fullres or 2d+3d_fullres",
    )
    parser.add_argument("--output", type=Path, required=True, help="selection.json")


def run(options: argparse.Namespace) -> None:
    """Read the candidates' scores, choose, write. Source: method.md section 22."""
    selection = select([_candidate(file, options.output.parent) for file in options.candidates])
    write_text(options.output, selection.to_json())
    console.print(
        f"best: {selection.best.name} (mean foreground Dice {selection.best.foreground_mean_dice:.4f})"
    )


def _candidate(file: Path, relative_to: Path) -> Candidate:
    summary = read_contract(Summary, file)
    name = file.parent.name
    return Candidate(
        name=name,
        configurations=tuple(name.split("+")),
        foreground_mean_dice=summary.foreground_mean.dice,
        summary=os.path.relpath(file, relative_to),
    )
