"""Running the workflow in a folder of its own, as a user would from the shell."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]

#: A budget that reaches every stage in seconds.
TINY = {
    "folds": [0, 1],
    "device": "cpu",
    "training": {
        "epochs": 2,
        "iterations": 2,
        "validation_iterations": 1,
        "base_width": 4,
        "batch_size": {"2d": 2, "3d_fullres": 2, "3d_lowres": 2, "3d_cascade_fullres": 2},
        "workers": 0,
    },
    "inference": {"mirroring": False},
    "chunks": {"preprocess": 3},
}


@dataclass(frozen=True)
class Experiment:
    """A folder with a data set, a configuration and the workflow's results."""

    folder: Path

    @property
    def dataset(self) -> Path:
        return self.folder / "data"

    @property
    def results(self) -> Path:
        return self.folder / "results"

    def configure(self, **changes: object) -> None:
        settings = {**TINY, "dataset": str(self.dataset), "output": str(self.results), **changes}
        (self.folder / "config.yaml").write_text(yaml.safe_dump(settings))

    def command(self, *options: str) -> list[str]:
        return [
            sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile"),
            "--directory", str(self.folder), "--configfile", str(self.folder / "config.yaml"),
            "--workflow-profile", str(REPOSITORY / "profiles" / "default"),
            "--cores", "2", "--resources", "gpu=1", *options,
        ]  # fmt: skip

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*options),
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=580,
        )


def environment() -> dict[str, str]:
    """This process's, with the scripts of its Python first."""
    scripts = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
