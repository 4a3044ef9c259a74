"""Every block of README and documentation that can be run is run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from foreseen import BASE
from snippets import PAGES, REPOSITORY, Block, blocks
from workflow_runs import TINY, Experiment

RUN = {"bash", "sh", "console", "python"}
#: Minutes rather than seconds.
SLOW = {"README.md", "docs/how-to/share-a-model.md", "docs/tutorial.md"}
#: What the small experiment was run with, after what a page says.
BUDGET = [
    f"{key}={json.dumps(value)}"
    for name, part in (TINY | BASE).items()
    for key, value in (
        {f"{name}.{key}": part[key] for key in part} if isinstance(part, dict) else {name: part}
    ).items()
]
SEGFLOW = f"""#!{sys.executable}
import sys
from segflow.commands.main import main
words = sys.argv[1:]
sys.exit(main([*words, "--", *{BUDGET}] if words[0] == "run" else words))
"""


@pytest.fixture
def home(finished) -> Path:
    """A folder as a reader of the pages has it after a small experiment."""
    folder = finished.folder
    for name in ("Snakefile", "workflow", "config", "profiles", "envs"):
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy2
        copy(REPOSITORY / name, folder / name)
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
    program = folder / "bin" / "segflow"
    program.parent.mkdir()
    program.write_text(SEGFLOW)
    program.chmod(0o755)
    return folder


@pytest.mark.workflow
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.slow] if page in SLOW else [])
        for page in PAGES
        if any(block.language in RUN and not block.reason for block in blocks(page))
    ],
)
def test_the_blocks_of_a_page_run(page, home, request):
    if page == "docs/tutorial.md":
        decathlon(request.getfixturevalue("shared"), home / "Task04_Hippocampus")
        shutil.make_archive(str(home / "Task04_Hippocampus"), "tar", home, "Task04_Hippocampus")
        shutil.rmtree(home / "Task04_Hippocampus")
    environment = Experiment(home, REPOSITORY).environment()
    environment["PATH"] = f"{home / 'bin'}:{environment['PATH']}"
    for block in blocks(page):
        if block.reason:
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


def decathlon(shared: Path, folder: Path) -> None:
    """A few cases as the Medical Segmentation Decathlon has them: no channel numbers, labels by value."""
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
