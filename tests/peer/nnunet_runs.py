"""A data set processed by nnU-Net and by segflow; each step runs when it is first needed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from nnunet_data import DataSet
from stage_calls import call

from segflow.storage.cases import CaseStore

WORKER = Path(__file__).with_name("nnunet_worker.py")
TIMEOUT_S = 1500
CONFIGURATIONS = ("2d", "3d_lowres", "3d_fullres")  # a cascade has the cases of 3d_fullres


@dataclass(frozen=True)
class NnUNet:
    """nnU-Net's Python."""

    python: str

    def call(self, function: str, folder: Path, **arguments: Any) -> Any:
        """Call MODULE.FUNCTION of this folder, with nnU-Net's folders and the log below `folder`."""
        variables = {"nnUNet_def_n_proc": "2", "nnUNet_compile": "f", "OMP_NUM_THREADS": "1"}
        for part in ("raw", "preprocessed", "results"):
            (folder / part).mkdir(parents=True, exist_ok=True)
            variables[f"nnUNet_{part}"] = str(folder / part)
        given, answer, log = (folder / f"{function}.{name}" for name in ("arguments", "answer", "log"))
        given.write_text(json.dumps(arguments, default=str))
        with log.open("w") as output:
            process = subprocess.Popen(
                [self.python, WORKER, function, given, answer],
                env=os.environ | variables,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                status = process.wait(TIMEOUT_S)
            finally:
                with suppress(ProcessLookupError):  # nnU-Net's workers outlive it
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        assert status == 0, f"{function} failed:\n{log.read_text()[-3000:]}"
        return read_json(answer)


class Both:
    """A data set, and what nnU-Net and segflow make of it.

    Attributes:
        data: The data set.
        folder: The folder of all files.
        raw: The data set's own folder.
    """

    def __init__(self, data: DataSet, folder: Path, nnunet: NnUNet, shared: Path | None) -> None:
        self.data = data
        self.folder = folder
        self.raw = folder / "raw" / f"Dataset901_{data.name}"
        self.nnunet = nnunet
        data.build(self.raw, shared)

    @cached_property
    def theirs(self) -> Path:
        """What nnU-Net made."""
        return self.plan_with_nnunet("ExperimentPlanner", prepare=True)

    def plan_with_nnunet(self, *planners: str, prepare: bool, fingerprint: Path | None = None) -> Path:
        """Let nnU-Net plan, and perhaps prepare the cases; the folder of the results."""
        output = self.folder / "theirs"
        output.mkdir()
        self.nnunet.call(
            "nnunet_cases.plan_and_prepare",
            self.folder,
            dataset=self.raw.name,
            planners=planners,
            gpu_memory_gb=self.data.gpu_memory_gb,
            spacing_mm=self.data.spacing_mm,
            fingerprint=fingerprint,
            prepare=prepare,
            output=output,
        )
        return output

    @cached_property
    def fingerprint(self) -> Path:
        """Of segflow."""
        file = self.folder / "ours" / "dataset_fingerprint.json"
        call("fingerprint", self.raw, "--output", file, "--workers", 2)
        return file

    @cached_property
    def plan(self) -> Path:
        """Of segflow, from its own fingerprint; with its parts beside it."""
        return self.make_plan(self.fingerprint, self.folder / "ours" / "plans.json")

    def make_plan(self, fingerprint: Path, file: Path, *words: object) -> Path:
        """Of segflow, from any fingerprint."""
        memory, spacing = self.data.gpu_memory_gb, self.data.spacing_mm
        call(
            "plan", "--dataset", self.raw / "dataset.json", "--fingerprint", fingerprint,
            "--output", file, "--parts", file.parent,
            *([] if memory is None else ["--gpu-memory", memory]),
            *([] if spacing is None else ["--spacing", *spacing]),
            *words,
        )  # fmt: skip
        return file

    @cached_property
    def prepared(self) -> Path:
        """Cases prepared by segflow, in a folder per configuration."""
        folder = self.folder / "ours" / "prepared"
        for name in set(CONFIGURATIONS) & set(read_json(self.plan)["configurations"]):
            call(
                "preprocess", self.raw, "--preparation", self.plan.parent / "preparation" / f"{name}.json",
                "--output", folder / name, "--manifest", folder / name / "manifest.json", "--workers", 2,
            )  # fmt: skip
        return folder

    def cases(self) -> Iterator[tuple[str, dict[str, np.ndarray], dict[str, np.ndarray]]]:
        """Every case of every configuration: its name, and its arrays from segflow and from nnU-Net."""
        theirs = sorted((file.parent.name, file.stem) for file in self.theirs.glob("*/*.npz"))
        records = (file for file in self.prepared.glob("*/*.json") if file.name != "manifest.json")
        assert sorted((file.parent.name, file.stem) for file in records) == theirs
        for configuration, name in theirs:
            with np.load(self.theirs / configuration / f"{name}.npz", allow_pickle=False) as file:
                expected = dict(file)
            yield f"{configuration}/{name}", arrays_of(self.prepared / configuration, name), expected


def arrays_of(folder: Path, name: str) -> dict[str, np.ndarray]:
    """A case that segflow prepared, in the format of `nnunet_cases.arrays_of`."""
    record, case = CaseStore(folder).record(name), CaseStore(folder).read(name)
    return {
        "image": case.image,
        "labels": case.labels,
        "spacing": np.array(record.geometry.spacing_mm),
        "shape_before_crop": np.array(record.shape_before_crop),
        "crop_box": np.array(record.crop_box),
        "shape_after_crop": np.array(record.shape_after_crop),
        **{f"locations {json.dumps(target)}": voxels for target, voxels in case.locations.items()},
    }


def read_json(file: Path) -> Any:
    """The content of a JSON file."""
    return json.loads(file.read_text())
