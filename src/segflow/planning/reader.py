"""The peer's name for what reads a data set's files. Source: method.md section 3."""

from __future__ import annotations

from segflow.contracts.fingerprint import Fingerprint

__all__ = ["reader_name"]

_DEFAULT = "SimpleITKIO"
_FLAT_TIF, _TIF = "NaturalImage2DIO", "Tiff3DIO"
_BY_ENDING = {
    ".png": "NaturalImage2DIO",
    ".bmp": "NaturalImage2DIO",
    ".tif": _TIF,
    ".tiff": _TIF,
    ".nii": "NibabelIO",
}
_NAMES = {*_BY_ENDING.values(), _DEFAULT, "SimpleITKIOWithReorient", "NibabelIOWithReorient"}


def reader_name(file_ending: str, fingerprint: Fingerprint, *, wanted: str | None = None) -> str:
    """Which of its readers the peer would use; segflow writes the name to plans.json for it.

    Args:
        file_ending: Of image files, with its dot.
        fingerprint: Tells flat .tif images from volumes.
        wanted: `overwrite_image_reader_writer` of dataset.json; a name the peer does not know is passed over.

    Returns:
        The name of a class of the peer.

    Source: method.md sections 2, 3.
    """
    if wanted in _NAMES:
        return str(wanted)
    ending = file_ending.lower()
    if ending == ".tif" and all(shape[0] == 1 for shape in fingerprint.shapes_after_crop):
        return _FLAT_TIF
    return _BY_ENDING.get(ending, _DEFAULT)
