"""`segflow manifest`: sum up the prepared cases of all chunks."""

from __future__ import annotations

import argparse
from pathlib import Path

from segflow.storage.manifests import write_prepared


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--chunks", type=Path, nargs="+", required=True, help="manifest of every chunk")
    parser.add_argument("--output", type=Path, required=True, help="prepared.json, beside the chunks' folder")


def run(options: argparse.Namespace) -> None:
    """Write one small file that changes if any prepared case does."""
    write_prepared(options.output, options.chunks)
