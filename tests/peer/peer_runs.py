"""One data set through nnU-Net and through segflow; each step is done when it is first asked for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from peer_data import DataSet

from segflow.commands.main import main
from segflow.storage.cases import CaseStore

__all__ = ["Both", "Peer", "PreparedCase", "read_json"]

SCRIPTS = Path(__file__).parent
PATIENCE_S = 1500
CONFIGURATIONS = ("2d", "3d_lowres", "3d_fullres")  # a cascade has the cases of 3d_fullres
LOCATIONS = "locations "


@dataclass(frozen=True)
class PreparedCase:
    """What is compared of a case.

    Attributes:
        grid: Spacing, shapes and box on the way.
        image, labels: The arrays.
        locations: Target as JSON text to voxels (n, 3), in the order they were drawn.
    """

    grid: dict[str, Any]
    image: np.ndarray
    labels: np.ndarray
    locations: dict[str, np.ndarray]


@dataclass(frozen=True)
class Peer:
    """nnU-Net's Python, which runs the scripts of this folder."""

    python: str

    def run(self, script: str, *words: object, folder: Path) -> None:
        """Run a script with nnU-Net's three folders below `folder`; its output goes to a file there."""
        variables = {"nnUNet_def_n_proc": "2", "nnUNet_compile": "f", "OMP_NUM_THREADS": "1"}
        for part in ("raw", "preprocessed", "results"):
            (folder / part).mkdir(parents=True, exist_ok=True)
            variables[f"nnUNet_{part}"] = str(folder / part)
        log = folder / f"{script}.log"
        command = [self.python, SCRIPTS / script, *map(str, words)]
        with log.open("w") as output:
            process = subprocess.Popen(
                command,
                env=os.environ | variables,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                status = process.wait(PATIENCE_S)
            finally:
                _end_group(process)
        assert status == 0, f"{script} failed:\n{log.read_text()[-3000:]}"


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """nnU-Net's workers outlive it, so the whole group is ended, which is this process's alone."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class Both:
    """A data set, and what nnU-Net and segflow make of it.

    Attributes:
        data: The data set.
        folder: Of all files.
        raw: The data set's own folder.
    """

    def __init__(self, data: DataSet, folder: Path, peer: Peer, shared: Path | None) -> None:
        self.data = data
        self.folder = folder
        self.raw = folder / "raw" / f"Dataset901_{data.name}"
        self._peer = peer
        data.build(self.raw, shared)

    def call(self, *words: object) -> None:
        """A segflow verb, which must succeed."""
        assert main([str(word) for word in words]) == 0

    @cached_property
    def theirs(self) -> Path:
        """What nnU-Net made."""
        return self.run_peer("ExperimentPlanner", prepare=True)

    def run_peer(self, *planners: str, prepare: bool, fingerprint: Path | None = None) -> Path:
        """Let nnU-Net plan, and perhaps prepare; the folder of what it made."""
        output = self.folder / "theirs"
        output.mkdir()
        job = {
            "dataset": self.raw.name,
            "planners": planners,
            "gpu_memory_gb": self.data.gpu_memory_gb,
            "spacing": self.data.spacing_mm,
            "fingerprint": None if fingerprint is None else str(fingerprint),
            "prepare": prepare,
        }
        job_file = self.folder / "job.json"
        job_file.write_text(json.dumps(job))
        self.run_script("peer_preprocess.py", job_file, output)
        return output

    def run_script(self, script: str, *words: object) -> None:
        """Let nnU-Net's Python run a script of this folder."""
        self._peer.run(script, *words, folder=self.folder)

    @cached_property
    def fingerprint(self) -> Path:
        """Ours."""
        file = self.folder / "ours" / "dataset_fingerprint.json"
        self.call("fingerprint", self.raw, "--output", file, "--workers", 2)
        return file

    @cached_property
    def plan(self) -> Path:
        """Ours, from our fingerprint; with the parts beside it that preprocessing reads."""
        return self.make_plan(self.fingerprint, self.folder / "ours" / "plans.json")

    def make_plan(self, fingerprint: Path, file: Path, *words: object) -> Path:
        """Ours, from any fingerprint."""
        memory, spacing = self.data.gpu_memory_gb, self.data.spacing_mm
        self.call(
            "plan", "--dataset", self.raw / "dataset.json", "--fingerprint", fingerprint,
            "--output", file, "--parts", file.parent,
            *([] if memory is None else ["--gpu-memory", memory]),
            *([] if spacing is None else ["--spacing", *spacing]),
            *words,
        )  # fmt: skip
        return file

    @cached_property
    def prepared(self) -> Path:
        """Our prepared cases, a folder per configuration."""
        folder = self.folder / "ours" / "prepared"
        for name in set(CONFIGURATIONS) & set(read_json(self.plan)["configurations"]):
            self.call(
                "preprocess", self.raw, "--preparation", self.plan.parent / "preparation" / f"{name}.json",
                "--output", folder / name, "--manifest", folder / name / "manifest.json", "--workers", 2,
            )  # fmt: skip
        return folder

    def case_names(self) -> list[tuple[str, str]]:
        """Configuration and identifier of all that both prepared."""
        theirs = {(file.parent.name, file.stem) for file in self.theirs.glob("*/*.npz")}
        ours = {
            (file.parent.name, file.stem)
            for file in self.prepared.glob("*/*.json")
            if file.name != "manifest.json"
        }
        assert ours == theirs
        return sorted(ours)

    def our_case(self, configuration: str, name: str) -> PreparedCase:
        """A case as segflow stored it."""
        store = CaseStore(self.prepared / configuration)
        record, case = store.record(name), store.read(name)
        grid = {
            "spacing": list(record.geometry.spacing_mm),
            "shape_before_crop": list(record.shape_before_crop),
            "crop_box": [list(edges) for edges in record.crop_box],
            "shape_after_crop": list(record.shape_after_crop),
            "shape": list(record.shape),
        }
        locations = {json.dumps(target): voxels for target, voxels in case.locations.items()}
        return PreparedCase(grid, case.image, case.labels, locations)

    def their_case(self, configuration: str, name: str) -> PreparedCase:
        """A case as nnU-Net's script stored it."""
        with np.load(self.theirs / configuration / f"{name}.npz", allow_pickle=False) as file:
            arrays = dict(file)
        grid = {
            key: arrays[key].tolist()
            for key in ("spacing", "shape_before_crop", "crop_box", "shape_after_crop")
        }
        locations = {
            key.removeprefix(LOCATIONS): voxels[:, 1:]
            for key, voxels in arrays.items()
            if key.startswith(LOCATIONS)
        }
        labels = arrays["labels"][0]
        return PreparedCase({**grid, "shape": list(labels.shape)}, arrays["image"], labels, locations)


def read_json(file: Path) -> Any:
    """The content of a JSON file."""
    return json.loads(file.read_text())
