"""Every block of README and documentation that can be run is run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
import yaml
from cluster import NoClusterError, one_node_cluster
from dicom_samples import segmentation, volume_of_labels, write_series
from foreseen import BASE
from job_server import shared_jobs
from packages import package_of
from pydicom.uid import generate_uid
from snippets import PAGES, REPOSITORY, Block, blocks
from workflow_runs import TINY, Experiment

RUN = {"bash", "sh", "console", "python"}
#: Minutes rather than seconds.
SLOW = {
    "README.md",
    "docs/tutorial.md",
    *(
        f"docs/how-to/{name}.md"
        for name in (
            "dicom",
            "edit-a-plan",
            "from-nnunet",
            "predict",
            "rerun",
            "several-experiments",
            "share-a-model",
        )
    ),
}
#: What the small experiment was run with, after what a page says.
BUDGET = [
    f"{key}={json.dumps(value)}"
    for name, part in (TINY | BASE).items()
    for key, value in (
        {f"{name}.{key}": part[key] for key in part} if isinstance(part, dict) else {name: part}
    ).items()
]
#: Programs of a reader, but with a small budget, downloads that are there already, no GPU, and jobs that start fast.
PROGRAMS = {
    "segflow": f"""#!{sys.executable}
import os, sys
sys.executable = os.environ["PYTHON_OF_CALLS"]
from segflow.commands.main import main
words = sys.argv[1:]
sys.exit(main([*words, "--", *{BUDGET}] if words[0] == "run" else words))
""",
    "snakemake": '#!/bin/sh\nexec "$PYTHON_OF_CALLS" -m snakemake "$@"\n',
    "curl": '#!/bin/sh\ntest -f "${2##*/}"\n',
    "nnUNetv2_install_pretrained_model_from_zip": '#!/bin/sh\nexec "$PEER/${0##*/}" "$@"\n',
    "nnUNetv2_predict": '#!/bin/sh\nexec "$PEER/${0##*/}" "$@" -device cpu\n',
}
#: Tests and targets of make are named but not run: these have runs of their own.
VARIABLES = {
    "PYTEST_ADDOPTS": "--collect-only -q -p no:cacheprovider",
    "MAKEFLAGS": "n",
    "PIP_NO_DEPS": "1",
    "EDITOR": r"sed -i s/#.\(slurm_partition:.cpu\)/\1/",  # as a user fills in the site sheet
    "SBATCH_WAIT": "1",  # for the end of the job, and with its status
}


@pytest.fixture
def home(finished) -> Path:
    """A folder as a reader of the pages has it after a small experiment."""
    folder = finished.folder
    for name in ("Snakefile", "workflow", "config", "profiles", "envs", "Makefile", "pyproject.toml"):
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy2
        copy(REPOSITORY / name, folder / name)
    for name in ("tests", "constraints.txt"):
        (folder / name).symlink_to(REPOSITORY / name)
    (folder / ".venv").symlink_to(sys.prefix)
    for parent in (folder, folder / "results"):
        (parent / "data").rename(parent / "MyDataset")
    settings = TINY | BASE | {"dataset": "MyDataset", "output": "results"}
    (folder / "my.yaml").write_text(yaml.safe_dump(settings))
    results = folder / "results" / "MyDataset"
    for name, original in {
        "IMAGES": folder / "MyDataset" / "imagesTr",
        "NEW_IMAGES": folder / "MyDataset" / "imagesTr",
        "TRUTH": folder / "MyDataset" / "labelsTr",
        "LABELS": results / "nnunet" / "final",
        "EXPERIMENT/predictions": results / "nnunet" / "predictions",
        "results/OtherDataset": results,
    }.items():
        shutil.copytree(original, folder / name)
    (folder / "MODEL").symlink_to(results / "nnunet" / "model")
    shutil.copy(min((folder / "IMAGES").iterdir()), folder / "scan.nii.gz")
    probabilities = min(results.rglob("probabilities/*.npz"))
    (folder / "LABELS" / "probabilities").mkdir()
    shutil.copy(probabilities, folder / "LABELS" / "probabilities" / "scan_7.npz")
    for name, text in PROGRAMS.items():
        program = folder / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(text)
        program.chmod(0o755)
    return folder


def parameters() -> Iterator[object]:
    """Every page with something to run, and once more for each program that some of its blocks need."""
    for page in PAGES:
        found = [block for block in blocks(page) if block.language in RUN and not block.reason]
        for need in sorted({block.need for block in found}):
            marks = [getattr(pytest.mark, need)] if need else [pytest.mark.slow] * (page in SLOW)
            yield pytest.param(page, need, marks=marks, id=f"{page}-{need}" if need else page)


@pytest.mark.workflow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("page", "need"), [*parameters()])
def test_the_blocks_of_a_page_run(page, need, home, request):
    add_files(PAGES[page], home, request)
    environment = Experiment(home, REPOSITORY).environment(**VARIABLES)
    python = sys.executable if need else str(shared_jobs().python)  # a cluster starts jobs itself
    environment |= {"PATH": f"{home / 'bin'}:{environment['PATH']}", "PYTHON_OF_CALLS": python}
    environment |= nnunet(home) if need == "peer" else {}
    with cluster(home) if need == "slurm" else nullcontext():
        for block in blocks(page):
            if block.reason or block.need not in {"", need}:
                continue
            if block.file:
                (home / block.file).write_text(block.text)
            elif block.language in RUN:
                done = subprocess.run(
                    command(block), cwd=home, env=environment, capture_output=True, text=True, check=False
                )
                assert done.returncode == 0, f"{page}:\n{block.text}\n{done.stdout}\n{done.stderr}"


def command(block: Block) -> list[str]:
    if block.language == "python":
        return [sys.executable, "-c", block.text]
    return ["bash", "-euo", "pipefail", "-c", block.text]


def add_files(text: str, home: Path, request: pytest.FixtureRequest) -> None:
    """What single pages begin with."""
    if "Task04_Hippocampus.tar" in text:
        hippocampus(request.getfixturevalue("shared"), home)
    if "pip install ./segflow" in text:
        left_out = shutil.ignore_patterns(".*", "tests", "docs", "build", "*.egg-info")
        shutil.copytree(REPOSITORY, home / "segflow", ignore=left_out)
    if "STUDY" in text:
        studies(home)
    if "-f 0 1 2 3 4" in text and "peer" in request.keywords:
        five_folds(home)


def hippocampus(shared: Path, home: Path) -> None:
    """A few cases as the Medical Segmentation Decathlon has them: no channel numbers, labels by value."""
    folder = home / "Task04_Hippocampus"
    for name in ("imagesTr", "labelsTr", "imagesTs"):
        (folder / name).mkdir(parents=True)
    for label in sorted((shared / "data" / "hippocampus" / "labelsTr").glob("*.nii.gz"))[:10]:
        image = label.parents[1] / "imagesTr" / label.name.replace(".nii", "_0000.nii")
        shutil.copy(label, folder / "labelsTr")
        shutil.copy(image, folder / "imagesTr" / label.name)
    shutil.copy(image, folder / "imagesTs" / label.name)
    names = [file.name for file in (folder / "labelsTr").iterdir()]
    training = [{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names]
    labels = {"0": "background", "1": "Anterior", "2": "Posterior"}
    description = {"modality": {"0": "MRI"}, "labels": labels, "numTraining": 260, "training": training}
    (folder / "dataset.json").write_text(json.dumps(description))
    shutil.make_archive(str(folder), "tar", home, folder.name)
    shutil.rmtree(folder)


def studies(folder: Path) -> None:
    """A CT series without labels, two with them, and patients with two kinds of MR images."""
    write_series(folder / "STUDY", volume_of_labels())
    for number in (1, 2):
        write_series(folder / f"STUDY_{number}", volume_of_labels(), PatientID=f"P{number}")
        segmentation(folder / f"STUDY_{number}", ["liver", "spleen"], slice(None))
        study = {"StudyInstanceUID": generate_uid(), "PatientID": f"P{number}", "modality": "MR"}
        for kind in ("t1_vibe", "t2_haste"):
            series = folder / "ALL_STUDIES" / str(number) / kind
            write_series(series, volume_of_labels(), SeriesDescription=kind, **study)
        segmentation(series, ["liver", "spleen"], slice(None))


def five_folds(home: Path) -> None:
    """The package of the experiment has as many networks as pages say."""
    model = home / "results" / "MyDataset" / "nnunet" / "model"
    shutil.rmtree(model)
    made = package_of(home / "package", "3d_fullres", folds=(0, 1, 2, 3, 4)).rename(model) / "model.json"
    made.write_text(made.read_text().replace('"dataset": "data"', '"dataset": "MyDataset"'))


def nnunet(folder: Path) -> dict[str, str]:
    """The variables that nnU-Net needs, and where its programs are."""
    python = os.environ.get("SEGFLOW_PEER_PYTHON")
    if not python:
        pytest.skip("SEGFLOW_PEER_PYTHON does not name the Python of an environment with nnunetv2")
    (folder / "nnunet-environment").symlink_to(Path(python).parents[1])
    parts = {f"nnUNet_{part}": str(folder / f"nnUNet_{part}") for part in ("raw", "preprocessed", "results")}
    return parts | {"PEER": str(Path(python).parent)}


@contextmanager
def cluster(folder: Path) -> Iterator[None]:
    """A cluster, and something for it to do."""
    (folder / "results" / "MyDataset" / "nnunet" / "report.html").unlink()
    try:
        with one_node_cluster():
            yield
    except NoClusterError as reason:
        pytest.skip(str(reason))
