"""The table of targets: everything that reads a file which a user may have damaged or made up.

To add one, write a function that takes a path and reads it, add a row to `TARGETS`, and put one or more small files
that it reads into `fuzz/seeds/NAME/` (made by us, a few hundred bytes). `tests/fuzz` reads all seeds, and fuzzes every
target for a few seconds. The function may return anything, or raise a SegflowError of one line; any other exception, a
process that dies or an input that takes longer than 30 s is an escape. Once that is mended, its input
becomes a seed.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

from fuzz import nifti, stored, texts
from segflow.contracts.case import Geometry
from segflow.images.cases import read_image
from segflow.images.dicom.labels import label_map, names_of
from segflow.images.formats import geometry_of_picture

#: Of the image that the seeds of label objects belong to.
GRID = Geometry(
    shape=(2, 4, 5),
    spacing_mm=(2.5, 1.1, 0.8),
    file_dimensions=3,
    file_spacing_mm=(0.8, 1.1, 2.5),
    origin_mm=(-31.0, 12.5, 140.25),
    direction=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
)


@dataclass(frozen=True)
class Target:
    """What is fuzzed.

    Attributes:
        file: The name that an input is given, as endings decide.
        parse: Reads it, alone in a folder.
        unpack, pack: To and from what mutations change in half of the inputs, where checksums would refuse all others.
        make: Makes an input, instead of mutations; seeds are what it found.
    """

    file: str
    parse: Callable[[Path], object]
    unpack: Callable[[bytes], bytes] | None = None
    pack: Callable[[bytes], bytes] | None = None
    make: Callable[[Random], bytes] | None = None


def _image(file: Path) -> object:
    return read_image([file], case="a")


def _dicom_labels(file: Path) -> object:
    return names_of(file), label_map([file], {"c1": 1, "c2": 2}, GRID)


def _header_and_voxels(file: Path) -> object:
    file.with_name("b.raw").write_bytes(bytes(120))
    return _image(file)


def _side_file(file: Path) -> object:
    return geometry_of_picture(file.with_name("a_0000.tif"), (3, 4, 5))


def _gunzip(content: bytes) -> bytes:
    with suppress(OSError, EOFError, zlib.error):
        return gzip.decompress(content)
    return content


def _png_checksums(content: bytes) -> bytes:
    """The same chunks, with checksums that are right."""
    fixed, place = bytearray(content), 8
    while place + 12 <= len(content):
        (size,) = struct.unpack_from(">I", content, place)
        end = place + 8 + size
        if end + 4 <= len(content):
            struct.pack_into(">I", fixed, end, zlib.crc32(content[place + 4 : end]))
        place = end + 4
    return bytes(fixed)


TARGETS: dict[str, Target] = {
    **{
        ending: Target(f"a_0000.{ending}", _image)
        for ending in ("nii", "mha", "nrrd", "gipl", "tif", "bmp", "jpg")
    },
    "nii_gz": Target("a_0000.nii.gz", _image, _gunzip, partial(gzip.compress, mtime=0)),
    "png": Target("a_0000.png", _image, bytes, _png_checksums),
    "dicom": Target("a.dcm", _image),
    "dicom_labels": Target("seg.dcm", _dicom_labels),
    "side_file": Target("a.json", _side_file),
    "mhd": Target("a_0000.mhd", _header_and_voxels),
    "dataset": Target("dataset.json", texts.description),
    "folds": Target("splits_final.json", texts.folds),
    "config": Target("config.yaml", texts.configuration),
    "recipe": Target("own.yaml", texts.recipe),
    "plans": Target("plans.json", texts.plan),
    "command": Target("words", texts.command),
    "weights": Target("model.pt", stored.weights),
    "packed_weights": Target("fold_0.safetensors", stored.weights),
    "nnunet_postprocessing": Target("postprocessing.json", stored.nnunet_postprocessing),
    "pretrained": Target("model.pt", stored.pretrained),
    "nnunet_checkpoint": Target("checkpoint_final.pth", stored.nnunet_checkpoint),
    "checkpoint": Target("checkpoint.pt", stored.checkpoint),
    "card": Target("model.json", stored.card),
    "probabilities": Target("a.npz", stored.probabilities),
    "prepared_array": Target("a_image.npy", stored.prepared_array),
    "prepared_entry": Target("a.json", stored.prepared_entry),
    "keyed_result": Target("a.json", stored.keyed_result),
    "measurement": Target("a.npy", stored.measurement),
    "nifti_compared": Target("a_0000.nii", nifti.compare, make=nifti.make),
}
