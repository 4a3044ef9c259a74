"""Running the workflow in a folder of its own, as a user would from the shell."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import yaml
from snakemake_calls import call_snakemake

from segflow.commands.main import main

REPOSITORY = Path(__file__).resolve().parents[2]

#: A budget that reaches every stage in seconds.
TINY = {
    "folds": [0, 1],
    "device": "cpu",
    "forecast": False,
    "training": {
        "epochs": 2,
        "iterations": 2,
        "validation_iterations": 1,
        "base_width": 4,
        "batch_size": {"2d": 2, "3d_fullres": 2, "3d_lowres": 2, "3d_cascade_fullres": 2},
    },
    "inference": {"mirroring": False},
    "chunks": {"cases": 4},
    "resources": {"workers": 0},
}

STARTED = re.compile(r"^(?:local)?(?:rule|checkpoint) (\w+):$", re.MULTILINE)


@dataclass
class Experiment:
    """A folder with a data set, a configuration and the workflow's results; all its paths are relative to it.

    Attributes:
        folder: Where Snakemake is called.
        program: A checkout of segflow: this one, or the copy that `own_program` makes.
    """

    folder: Path
    program: Path = REPOSITORY

    @property
    def dataset(self) -> Path:
        return self.folder / "data"

    @property
    def output(self) -> Path:
        return self.folder / "results"

    @property
    def shared(self) -> Path:
        """What recipes share."""
        return self.output / "data"

    @property
    def results(self) -> Path:
        """Of the one recipe."""
        return self.shared / "nnunet"

    def configure(self, **changes: object) -> None:
        settings = {**TINY, "dataset": "data", "output": "results", **changes}
        (self.folder / "config.yaml").write_text(yaml.safe_dump(settings))

    def copy(self, folder: Path) -> Experiment:
        """The experiment with its results and all that Snakemake remembers, elsewhere."""
        shutil.copytree(self.folder, folder)
        return Experiment(folder)

    def own_program(self) -> Path:
        """From now on the experiment uses a copy of segflow, which a test may edit; the copy's modules."""
        self.program = self.folder / "program"
        for name in ("src", "workflow", "config", "profiles", "envs"):
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(REPOSITORY / name, self.program / name, ignore=ignored)
        shutil.copy2(REPOSITORY / "Snakefile", self.program)
        return self.program / "src" / "segflow"

    def words(self, *options: str) -> list[str]:
        return [
            "--snakefile", str(self.program / "Snakefile"), "--configfile", "config.yaml",
            "--workflow-profile", str(self.program / "profiles" / "default"),
            "--resources", "gpu=1", "--cores", "2", *options,
        ]  # fmt: skip

    def environment(self, **changes: str) -> dict[str, str]:
        """This process's, with the scripts of its Python and the program's code first."""
        scripts = str(Path(sys.executable).parent)
        return {
            **os.environ,
            "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.program / "src"),
            "OMP_NUM_THREADS": "1",
            **changes,
        }

    def start(
        self, *options: str, output: int | IO[str] = subprocess.PIPE, python: str | Path = sys.executable
    ) -> subprocess.Popen[str]:
        """The workflow in a process group of its own, as in a terminal."""
        return subprocess.Popen(
            [python, "-m", "snakemake", *self.words(*options)],
            cwd=self.folder,
            env=self.environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def finish(self, *options: str, **environment: str) -> str:
        """What a call prints that must succeed."""
        done = call_snakemake(self.words(*options), self.folder, self.environment(**environment))
        assert done.returncode == 0, done.stdout
        return done.stdout

    def fail(self, *options: str) -> str:
        """What a call prints that must fail, in one line."""
        done = call_snakemake(self.words(*options), self.folder, self.environment())
        assert done.returncode != 0, done.stdout
        return re.sub(r"\s+", " ", done.stdout)

    def jobs(self, *options: str) -> Counter[str]:
        """What a call runs: rule to number of jobs. With `--dry-run`, what it would run."""
        said = self.finish("--quiet", "host", "progress", *options)
        print(said)  # noqa: T201  shown where a test fails
        return Counter(name for name in STARTED.findall(said) if name != "all")


def new_experiment(folder: Path, cases: int = 6) -> Experiment:
    """Some phantom cases, not yet configured."""
    made = Experiment(folder)
    assert main(["phantom", str(made.dataset), "--cases", str(cases)]) == 0
    return made


def label_new_images(
    experiment: Experiment, results: Path | None = None, *, broken: bool = False
) -> list[Path]:
    """What `segflow predict` writes for one image, with a broken image beside it or not."""
    images, output = experiment.folder / "new", experiment.folder / "labels"
    images.mkdir(exist_ok=True)
    shutil.copy(experiment.dataset / "imagesTr" / "phantom_000_0000.nii.gz", images)
    if broken:
        (images / "broken_0000.nii.gz").write_bytes(b"not an image")
    words = ["predict", "--model", str((results or experiment.results) / "model"), "--input", str(images)]
    assert main([*words, "--output", str(output), "--device", "cpu"]) == int(broken)
    return sorted(output.iterdir())
