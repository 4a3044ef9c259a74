"""A model package as nnU-Net's results folders, or as one file that both programs install.

Source: method.md sections 1, 15, 24.
"""

from __future__ import annotations

import logging
import re
import shutil
from pathlib import Path
from typing import Final
from zipfile import ZipFile, ZipInfo

from segflow.contracts.errors import PredictionError
from segflow.nnunet.checkpoints import NNUNET_TRAINER, save_nnunet_checkpoint
from segflow.nnunet.plans import read_plan, write_plan
from segflow.recipes.inference import InferenceRecipe
from segflow.storage.files import open_atomically, temporary_folder
from segflow.storage.packages import (
    CARD,
    CODES,
    FINGERPRINT,
    MODEL_CARD,
    PLAIN,
    check_package,
    copied,
    read_card,
    weights_files,
)
from segflow.storage.weights import load_network

__all__ = ["OWN_FOLDER", "export_package", "export_zip"]

#: Beside the results folders of a zip: all of a package but its weights, which are in the checkpoints.
OWN_FOLDER: Final = "segflow"
#: nnU-Net finds data sets by such names.
_NUMBERED = re.compile(r"Dataset[0-9]{3}_.+")

_logger = logging.getLogger("segflow")


def export_package(package: Path, output: Path) -> tuple[Path, ...]:
    """Write a model package as results folders that nnU-Net can predict with.

    Post-processing is left out: nnU-Net stores it as pickled functions, and applies no other.

    Args:
        package: Folder of the package.
        output: Folder for a data set's results, such as nnUNet_results/Dataset004_Hippocampus.

    Returns:
        The folders, one per configuration, such as nnUNetTrainer__nnUNetPlans__2d.

    Raises:
        PredictionError: A file of the package is missing or cannot be understood, or one of the folders is there.
        PlanError: Its plan cannot be understood.
    """
    card = read_card(package)
    weights = weights_files(package, card)
    check_package(package, card, weights)
    trained = {name: load_network(files[0])[0].configuration for name, files in weights.items()}
    plan = read_plan(package / "plans.json")
    plan = plan.model_copy(update={"configurations": plan.configurations | trained})
    folders = tuple(output / f"{NNUNET_TRAINER}__{plan.plans_name}__{name}" for name in weights)
    there = next(filter(Path.exists, folders), None)
    if there is not None:
        raise PredictionError(
            f"{there} exists already, perhaps with networks that nnU-Net has trained; choose another folder, or move it"
        )
    for files, folder in zip(weights.values(), folders, strict=True):
        write_plan(folder / "plans.json", plan)
        copied(package, folder, ("dataset.json", FINGERPRINT))
        for file in files:
            network_card, network = load_network(file)
            save_nnunet_checkpoint(
                folder / file.stem / "checkpoint_final.pth",
                network.state_dict(),
                network_card,
                mirroring=InferenceRecipe.model_validate(card.inference).mirroring,
            )
    if card.postprocessing.operations:
        done = ", ".join(f"{made.description} of {made.labels}" for made in card.postprocessing.operations)
        _logger.warning(
            "for nnU-Net there is no post-processing (%s), which it takes as pickled functions only", done
        )
    return folders


def export_zip(package: Path, output: Path) -> None:
    """Write a model package as one file, which `segflow import-model` and nnU-Net's own command install.

    It holds nnU-Net's results folders, and beside them what else a package has. Equal packages give equal files.

    Args:
        package: Folder of the package.
        output: The file. nnU-Net will call the data set by its name, or Dataset999_NAME if that has no number.
    """
    name = read_card(package).dataset
    name = name if _NUMBERED.fullmatch(name) else f"Dataset999_{name}"
    with temporary_folder(output.parent) as temporary:
        folder = temporary / name
        export_package(package, folder)
        copied(package, folder / OWN_FOLDER, (*PLAIN, FINGERPRINT, CODES, MODEL_CARD, CARD))
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        with open_atomically(output) as file, ZipFile(file, "w") as archive:
            for member in files:
                entry = ZipInfo(member.relative_to(temporary).as_posix())  # dated 1980
                with member.open("rb") as source, archive.open(entry, "w", force_zip64=True) as target:
                    shutil.copyfileobj(source, target)
