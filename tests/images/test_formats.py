"""Endings, and files that belong together."""

from __future__ import annotations

from pathlib import Path

import pytest

from segflow.contracts.errors import DatasetError
from segflow.images.formats import (
    ENDINGS,
    companions,
    digest_of_image,
    ending_of,
    geometry_of_picture,
    has_spacing,
    label_ending,
    side_file,
    split_name,
)
from segflow.storage.files import digest_of


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("stem", ["a", "a.b c-ü", "2024.01.02", "a.nii"])
def test_endings(ending, stem):
    assert ending_of(Path(f"{stem}{ending}")) == ending_of(Path(f"{stem}{ending.upper()}")) == ending


@pytest.mark.parametrize("name", ["a", "a.gz", "a.nii.gz.txt", "nii"])
def test_no_ending(name):
    assert ending_of(Path(name)) == ""
    assert split_name(Path(name)) == (name, None)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a_0012.nii.gz", ("a", 12)),
        ("a_0001_0000.PNG", ("a_0001", 0)),
        ("a.mha", ("a", None)),
        ("_0000.nii", ("_0000", None)),
    ],
)
def test_identifier_and_channel_of_a_name(name, parts):
    assert split_name(Path(name)) == parts


def test_labels_are_never_lossy():
    endings = (*ENDINGS, ".JPG", ".NII.GZ")
    assert [label_ending(ending) for ending in endings] == [
        ".png" if ending in {".jpg", ".jpeg", ".JPG"} else ending for ending in endings
    ]


@pytest.mark.parametrize(
    ("name", "side", "found"),
    [
        ("a_0000.tif", "a.json", True),
        ("a_0001.TIFF", "a.json", True),
        ("a.b ü_0000.png", "a.b ü.json", True),
        ("a.tif", "a.json", True),
        ("a_0001.tif", "a_0001.json", True),
        ("a_000.tif", "a.json", False),
        ("a_0000.nii.gz", "a.json", False),
        ("a_0000.tif", "b.json", False),
    ],
)
def test_side_file(name, side, found, tmp_path):
    (tmp_path / side).touch()
    assert side_file(tmp_path / name) == (tmp_path / side if found else None)


def test_the_own_side_file_comes_first(tmp_path):
    for name in ("a.json", "a_0001.json"):
        (tmp_path / name).touch()
    assert side_file(tmp_path / "a_0001.tif") == tmp_path / "a_0001.json"


def test_spacing_of_a_side_file(tmp_path):
    assert geometry_of_picture(tmp_path / "a.tif", (3, 4, 5)).spacing_mm == (1, 1, 1)
    assert geometry_of_picture(tmp_path / "a.tif", (1, 4, 5)).spacing_mm == (999, 1, 1)
    assert not has_spacing(tmp_path / "a.tif")
    (tmp_path / "a.json").write_text('{"spacing": [5, 0.5, 0.25], "more": 1}')
    found = geometry_of_picture(tmp_path / "a_0000.tif", (3, 4, 5))
    assert (found.spacing_mm, found.file_spacing_mm) == ((5.0, 0.5, 0.25), (0.25, 0.5, 5.0))
    assert has_spacing(tmp_path / "a_0000.tif")


@pytest.mark.parametrize("content", ['{"shapes": [], "imagePath": "a.tif"}', '{"EchoTime": 0.03}', "{}"])
def test_a_json_file_of_another_program_is_no_side_file(content, tmp_path):
    """Such as labelme's and those of BIDS."""
    (tmp_path / "a.json").write_text(content)
    assert not has_spacing(tmp_path / "a_0000.png")
    assert geometry_of_picture(tmp_path / "a.tif", (3, 4, 5)).spacing_mm == (1, 1, 1)
    (tmp_path / "a_0000.json").write_text('\ufeff{"spacing": [3, 2, 1]}')  # with a byte-order mark
    assert geometry_of_picture(tmp_path / "a_0000.tif", (3, 4, 5)).spacing_mm == (3, 2, 1)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[1, 1, 1]",
        *(f'{{"spacing": {value}}}' for value in ("[1, 1]", "[0, 1, 1]", "[NaN, 1, 1]", '"1"')),
    ],
)
def test_wrong_side_file(content, tmp_path):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(DatasetError, match=r"a\.json must hold .*three positive numbers"):
        geometry_of_picture(tmp_path / "a.tif", (3, 4, 5))


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("ElementDataFile = a.raw", ["a.raw"]),
        ("ElementDataFile=a b.zraw\n", ["a b.zraw"]),
        ("ElementDataFile = LOCAL\n\x00a.raw", []),
        ("ElementDataFile = LIST\na.raw\na b.zraw\n", ["a.raw", "a b.zraw"]),
        ("ElementDataFile = missing.raw", []),
        ("", []),
    ],
)
def test_files_that_a_header_names(line, names, tmp_path):
    for name in ("a.raw", "a b.zraw"):
        (tmp_path / name).touch()
    assert companions(tmp_path / "a.mhd") == ()
    (tmp_path / "a.mhd").write_text(f"NDims = 3\n{line}")
    assert companions(tmp_path / "a.mhd") == tuple(tmp_path / name for name in names)


@pytest.mark.parametrize(("name", "beside"), [("a.mhd", "a.raw"), ("a_0000.tif", "a.json")])
def test_a_digest_covers_what_belongs_to_the_file(name, beside, tmp_path):
    file = tmp_path / name
    file.write_text("ElementDataFile = a.raw")
    alone = digest_of_image(file)
    assert alone == digest_of(file)
    digests = {alone}
    for content in ("one", "two"):
        (tmp_path / beside).write_text(content)
        digests.add(digest_of_image(file))
    assert len(digests) == 3
