"""nnU-Net's post-processing: what it notes in words beside its pickled functions. Source: method.md section 23."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import ConfigDict

from segflow.contracts.codec import Contract
from segflow.contracts.errors import PredictionError
from segflow.contracts.plan import FoldName
from segflow.contracts.scores import Operation, PostProcessing
from segflow.storage.files import read_json

__all__ = ["UNKNOWN", "postprocessing_file", "read_postprocessing"]

#: None, and no scores.
UNKNOWN: Final = PostProcessing(
    operations=(), steps=(), foreground_mean_dice_before=math.nan, foreground_mean_dice_after=math.nan
)
_LARGEST = "remove_all_but_largest_component_from_segmentation"

_logger = logging.getLogger("segflow")


def postprocessing_file(folders: Sequence[Path], folds: Sequence[FoldName]) -> Path | None:
    """Where nnU-Net has noted the post-processing of these results, in words beside its pickled functions."""
    if len(folders) == 1:
        found = sorted(folders[0].glob("crossval_results_folds_*"))
    else:
        names = {folder.name for folder in folders}
        ensembles = sorted((folders[0].parent / "ensembles").glob("ensemble___*"))
        found = [one for one in ensembles if set(one.name.split("___")[1:-1]) == names]
    ending = "_".join(map(str, folds))
    same = [one for one in found if one.name.endswith(f"_{ending}")] or (found if len(found) == 1 else [])
    files = [one / "postprocessing.json" for one in same]
    if files and files[0].exists():
        return files[0]
    _logger.warning(
        "%s: no post-processing is known of these folds; if there is one, name its postprocessing.json with "
        "--postprocessing",
        ", ".join(map(str, folders)),
    )
    return None


class _Noted(Contract):
    """What is read of nnU-Net's postprocessing.json."""

    model_config = ConfigDict(extra="ignore")

    postprocessing_fns: tuple[str, ...]
    postprocessing_kwargs: tuple[dict[str, Any], ...]


def read_postprocessing(file: Path) -> PostProcessing:
    """The operations of a postprocessing.json, and the scores before and after them.

    Raises:
        PredictionError: It cannot be understood, or names an operation that segflow does not have.
    """
    content = read_json(file, error=PredictionError)
    noted = _Noted.parse(content, where=str(file), error=PredictionError)
    if len(noted.postprocessing_fns) != len(noted.postprocessing_kwargs):
        raise PredictionError(f"{file}: postprocessing_fns and postprocessing_kwargs must be as many")
    operations = []
    for function, arguments in zip(noted.postprocessing_fns, noted.postprocessing_kwargs, strict=True):
        labels = _flat(arguments.get("labels_or_regions"))
        if function != _LARGEST or not labels or arguments.get("background_label", 0) != 0:
            raise PredictionError(f"{file}: segflow has no post-processing {function} with {arguments}")
        operations.append(Operation(name="keep_largest", labels=tuple(sorted(set(labels)))))
    return PostProcessing(
        operations=tuple(operations),
        steps=(),
        foreground_mean_dice_before=_dice(content.get("input_folder")),
        foreground_mean_dice_after=_dice(content.get("postprocessed")),
    )


def _flat(labels: object) -> list[int]:
    """A label, or those of a list of labels and regions: the operation works on their union."""
    if isinstance(labels, list):
        return [value for part in labels for value in _flat(part)]
    return [labels] if isinstance(labels, int) else []


def _dice(summary: object) -> float:
    found = summary.get("foreground_mean") if isinstance(summary, dict) else None
    dice = found.get("Dice") if isinstance(found, dict) else None
    return float(dice) if isinstance(dice, int | float) else math.nan
