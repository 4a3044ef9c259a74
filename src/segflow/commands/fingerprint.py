"""`segflow fingerprint`: measure a data set."""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path

from segflow.commands.console import progress_bar
from segflow.commands.pool import map_cases
from segflow.contracts.dataset import Case
from segflow.fingerprint import CaseFingerprint, describe_case, pool_cases, samples_per_case
from segflow.io.dataset import read_dataset
from segflow.io.files import write_text
from segflow.io.images import read_case


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments. Source: ours."""
    parser.add_argument("dataset", type=Path, help="folder with dataset.json, imagesTr and labelsTr")
    parser.add_argument("--output", type=Path, required=True, help="dataset_fingerprint.json")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: all cores)")


def run(options: argparse.Namespace) -> None:
    """Measure every case, pool, write. Source: method.md section 5."""
    dataset = read_dataset(options.dataset)
    n_channels, n_cases = len(dataset.channel_names), len(dataset.cases)
    describe = partial(_describe, channels=n_channels, n_samples=samples_per_case(n_cases))
    parts = []
    with progress_bar("fingerprint", n_cases) as bar:
        for part in map_cases(describe, dataset.cases, workers=options.workers):
            parts.append(part)
            bar.advance()
    write_text(options.output, pool_cases(parts, n_channels).to_json())


def _describe(case: Case, *, channels: int, n_samples: int) -> CaseFingerprint:
    return describe_case(read_case(case, channels=channels), n_samples)
