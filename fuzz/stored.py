"""What reads the files that segflow itself has written, which may have been damaged or exchanged since."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from segflow.contracts.errors import PredictionError, SegflowError
from segflow.contracts.fingerprint import CaseExtent, CaseMeasurement
from segflow.contracts.model import ModelCard
from segflow.nnunet.checkpoints import load_nnunet_checkpoint, load_weights_and_card
from segflow.nnunet.postprocessing import read_postprocessing
from segflow.storage.cases import CaseStore, _opened, _read_data
from segflow.storage.files import digest_of, read_contract, write_text
from segflow.storage.measurements import keep_or_measure
from segflow.storage.probabilities import read_probabilities
from segflow.storage.results import Entry, ResultFolder
from segflow.storage.weights import CheckpointFile, load_network
from segflow.training.state import state_of

#: Of the checkpoint among the seeds.
JOB = {"fold": "0"}


def weights(file: Path) -> object:
    return _in_one_line(load_network, file)


def pretrained(file: Path) -> object:
    return _in_one_line(load_weights_and_card, file)


def nnunet_checkpoint(file: Path) -> object:
    return _in_one_line(load_nnunet_checkpoint, file)


def nnunet_postprocessing(file: Path) -> object:
    return read_postprocessing(file)


def _in_one_line(load: Callable[[Path], object], file: Path) -> object:
    """Tensors that do not fit are listed below the sentence."""
    try:
        return load(file)
    except SegflowError as problem:
        raise SegflowError(str(problem).partition("\n  ")[0]) from None


def checkpoint(file: Path) -> object:
    return state_of(CheckpointFile(file).load(), JOB)


def card(file: Path) -> object:
    return read_contract(ModelCard, file, error=PredictionError)


def probabilities(file: Path) -> object:
    return read_probabilities(file, has_regions=False)


def prepared_array(file: Path) -> object:
    """The image of a case whose other files are whole."""
    for part, shape in (("labels", (2, 3, 4)), ("voxels", (0, 3))):
        np.save(file.with_name(f"a_{part}.npy"), np.zeros(shape, np.int32))
    entry = Entry(key="", files={}, data={"record": json.loads(RECORD), "locations": []})
    write_text(file.with_name("a.json"), entry.model_dump_json())
    _opened.cache_clear()
    store = CaseStore(file.parent)
    return store.read("a").image.sum()


def prepared_entry(file: Path) -> object:
    """The entry of a prepared case."""
    _read_data.cache_clear()
    return CaseStore(file.parent).record("a")


def keyed_result(file: Path) -> object:
    found = ResultFolder(file.parent).find("a", "key")
    return found and found.digest


def measurement(file: Path) -> object:
    """The array of a measurement that is noted as whole; a damaged one is measured again."""
    extent = CaseExtent(shape_after_crop=(2, 3, 4), spacing_mm=(1, 1, 1), relative_size=1)
    entry = Entry(key="k", files={file.name: digest_of(file)}, data=extent.model_dump(mode="json"))
    write_text(file.with_suffix(".json"), entry.model_dump_json())
    again = CaseMeasurement(extent, np.zeros((1, 0), np.float32))
    return keep_or_measure(ResultFolder(file.parent), "a", "k", lambda: again).foreground.sum()


RECORD = (
    '{"identifier": "a", "geometry": {"shape": [2, 3, 4], "spacing_mm": [1, 1, 1], "file_dimensions": 3, '
    '"file_spacing_mm": [1, 1, 1], "origin_mm": [0, 0, 0], "direction": [1, 0, 0, 0, 1, 0, 0, 0, 1]}, '
    '"shape_before_crop": [2, 3, 4], "crop_box": [[0, 2], [0, 3], [0, 4]], "spacing_mm": [1, 1, 1], "shape": [2, 3, 4]}'
)
