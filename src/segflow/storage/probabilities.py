"""Class probabilities on disk: a byte per voxel and class, compressed, with only a few planes in memory at a time.

A file is a .npz as numpy reads it, with these arrays:

    probabilities   (z, k, y, x), uint8: probabilities times 255, on the crop of the transposed raw image
    box             (3, 2): where the crop lies in the transposed raw image, half-open
    shape           (3,): of the transposed raw image
    transpose       (3,): axis of the transposed image for each axis of the raw one

docs/decisions/0013 has the figures.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np

from segflow.contracts.arrays import Scores, Shape3
from segflow.contracts.case import CaseRecord
from segflow.contracts.errors import PredictionError
from segflow.contracts.plan import Preparation
from segflow.storage.files import DAMAGE, open_atomically
from segflow.volumes.crop import Box, uncrop_probabilities

__all__ = ["probability_slabs", "read_placement", "read_probabilities", "write_probabilities"]

_SCALE: Final = 255
_MEMBER: Final = "probabilities.npy"
_COMPRESSION: Final = 1  # zlib's fastest; the best makes files a sixth smaller in three times the time
_SLAB_BYTES: Final = 2**24


@contextmanager
def write_probabilities(
    path: Path, record: CaseRecord, preparation: Preparation, *, n_outputs: int
) -> Iterator[Callable[[Scores], None]]:
    """Write the probabilities of a case plane by plane; the file appears when all have been written.

    Args:
        path: Ends in .npz.
        record: The record of the case's preprocessing.
        preparation: How the case was prepared.
        n_outputs: Classes or regions.

    Yields:
        A function that takes consecutive planes (k, n, y, x) of the crop of the transposed raw image.
    """
    z, y, x = record.shape_after_crop
    header = {"descr": "|u1", "fortran_order": False, "shape": (z, n_outputs, y, x)}
    placement = {
        "box": record.crop_box,
        "shape": record.shape_before_crop,
        "transpose": preparation.transpose_backward,
    }
    with (
        open_atomically(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=_COMPRESSION) as archive,
    ):
        for name, values in placement.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, np.array(values), version=(1, 0))
        with archive.open(_MEMBER, "w", force_zip64=True) as file:
            np.lib.format.write_array_header_1_0(file, header)

            def keep(planes: Scores) -> None:
                file.write(np.rint(planes * _SCALE).astype(np.uint8).swapaxes(0, 1).tobytes())

            yield keep


def probability_slabs(path: Path) -> Iterator[Scores]:
    """Read a file of `write_probabilities` some planes at a time, the same number for all files of a case.

    Yields:
        Consecutive planes (k, n, y, x), float32, of the crop of the transposed raw image.

    Raises:
        PredictionError: The file is missing or damaged.
    """
    with _damage_named(path), zipfile.ZipFile(path) as archive, archive.open(_MEMBER) as file:
        np.lib.format.read_magic(file)
        (z, k, y, x), _, dtype = np.lib.format.read_array_header_1_0(file)
        if dtype != np.uint8:
            raise ValueError(f"{dtype} instead of bytes")
        planes = max(1, _SLAB_BYTES // (k * y * x))
        for start in range(0, z, planes):
            n = min(planes, z - start)
            content = np.frombuffer(file.read(n * k * y * x), np.uint8)
            yield np.divide(content.reshape(n, k, y, x).swapaxes(0, 1), _SCALE, dtype=np.float32)


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """What Python and NumPy say of a file that is not whole, with its name."""
    try:
        yield
    except FileNotFoundError:
        raise PredictionError(f"{path} does not exist; predict again with probabilities") from None
    except (*DAMAGE, OSError, zipfile.BadZipFile, zlib.error) as problem:
        if isinstance(problem, OSError) and problem.filename is not None:  # it cannot be opened
            raise
        raise PredictionError(f"{path} is damaged ({problem}); predict again with probabilities") from None


def read_placement(path: Path) -> tuple[Box, Shape3, tuple[int, int, int]]:
    """Where the crop of a file of `write_probabilities` lies: its box, shape and transpose.

    Raises:
        PredictionError: The file is missing or damaged.
    """
    with _damage_named(path), np.load(path, allow_pickle=False) as stored:
        box, shape, transpose = (stored[name].tolist() for name in ("box", "shape", "transpose"))
        if sorted(transpose) != [0, 1, 2]:
            raise ValueError("its axes are not three")
    return box, tuple(shape), tuple(transpose)


def read_probabilities(path: Path, *, has_regions: bool, target: int | None = None) -> Scores:
    """Read a file of `write_probabilities` as a whole, or one class or region of it.

    Outside the crop all regions have probability 0; of classes, the background has 1.

    Args:
        path: The file.
        has_regions: Whether the targets are regions.
        target: The place of the only one to read.

    Returns:
        (k, z, y, x), float32, on the raw image's grid.

    Raises:
        PredictionError: The file is missing or damaged.

    Source: method.md section 17.
    """
    with _damage_named(path):
        wanted = slice(None) if target is None else slice(target, target + 1)
        inside = np.concatenate([slab[wanted] for slab in probability_slabs(path)], axis=1)
        box, shape, transpose = read_placement(path)
        if [end - start for start, end in box] != [*inside.shape[1:]]:
            raise ValueError("its crop does not have its size")
    return uncrop_probabilities(inside, box, shape, transpose, has_regions=has_regions or bool(target))
