"""Label maps lie where their image lies, in every format, and are complete or absent."""

from __future__ import annotations

import json

import numpy as np
import PIL.Image
import pytest
import SimpleITK as sitk
from image_samples import read_one, save, somewhere

from segflow.contracts.errors import DatasetError
from segflow.images import image_files
from segflow.images.cases import read_geometry, read_labels, write_labels
from segflow.images.image_files import write_image
from segflow.storage.files import digest_of


def labels_like(geometry, high=4):
    return np.random.default_rng(0).integers(0, high, geometry.shape).astype(np.uint8)


EXACT = [".nii.gz", ".nii", ".mha", ".mhd", ".gipl"]


@pytest.mark.parametrize("ending", [*EXACT, ".nrrd", *(ending.upper() for ending in (*EXACT, ".nrrd"))])
@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("kind", ["rotated", "flipped"])
def test_a_label_map_lies_where_its_image_lies(ending, axes, kind, tmp_path, frozen):
    for seed in range(3):
        _, geometry = read_one(somewhere(tmp_path / f"in{seed}", ending, axes, seed, kind=kind))
        path = tmp_path / f"out{seed}" / f"a{ending}"
        labels = frozen(labels_like(geometry))
        write_labels(path, labels, geometry)
        np.testing.assert_array_equal(read_labels(path, case="a"), labels)
        found = read_geometry(path, case="a")
        if ending.lower() == ".nrrd":  # its header holds direction times spacing: the last digit is lost
            for name in ("spacing_mm", "file_spacing_mm", "origin_mm", "direction"):
                np.testing.assert_allclose(
                    getattr(found, name), getattr(geometry, name), rtol=1e-14, atol=1e-15, err_msg=name
                )
            assert (found.shape, found.file_dimensions) == (geometry.shape, geometry.file_dimensions)
        else:
            assert found == geometry
        names = {f"a{ending}"} | ({"a.zraw"} if ending.lower() == ".mhd" else set())
        assert {other.name for other in path.parent.iterdir()} == names


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_an_image_is_read_as_it_was_written(ending, tmp_path, frozen):
    _, geometry = read_one(somewhere(tmp_path / "in", ".mha", 3, 0))  # another format's: no header to copy
    channel = frozen(np.random.default_rng(0).normal(size=geometry.shape).astype(np.float32))
    write_image(tmp_path / f"a_0000{ending}", channel, geometry)
    image, found = read_one(tmp_path / f"a_0000{ending}")
    np.testing.assert_array_equal(image[0], channel)
    for name in ("spacing_mm", "origin_mm", "direction"):
        np.testing.assert_allclose(getattr(found, name), getattr(geometry, name), atol=1e-5, err_msg=name)


PICTURES = [".png", ".bmp", ".tif", ".tiff", ".PNG", ".BMP"]
STACKS = [".tif", ".tiff", ".TIF"]


@pytest.mark.parametrize(
    ("ending", "axes", "spacing_mm"),
    [
        *((ending, 2, spacing) for ending in PICTURES for spacing in (None, (5.0, 0.25, 0.5))),
        *((ending, 3, spacing) for ending in STACKS for spacing in ((2.5, 0.3, 1 / 3), (1.0, 1.0, 1.0))),
    ],
)
def test_label_maps_of_pictures_and_stacks_get_their_side_file(ending, axes, spacing_mm, tmp_path):
    file = save(tmp_path / f"a_0000{ending.lower()}", np.zeros((3, 4, 5)[-axes:], np.uint8))
    file = file.rename(tmp_path / f"a_0000{ending}")
    side = {"a.json": json.dumps({"spacing": spacing_mm}) + "\n"} if spacing_mm else {}
    for name, text in side.items():
        (tmp_path / name).write_text(text)
    _, geometry = read_one(file)
    assert geometry.spacing_mm == (spacing_mm or (999.0, 1.0, 1.0))
    out, labels = tmp_path / "out" / f"a{ending}", labels_like(geometry, 256)
    write_labels(out, labels, geometry)
    np.testing.assert_array_equal(read_labels(out, case="a"), labels)
    assert read_geometry(out, case="a") == geometry
    assert {path.name for path in out.parent.iterdir()} == {out.name, *side}
    assert {name: (out.parent / name).read_text() for name in side} == side
    with PIL.Image.open(out) as picture:
        assert np.array_equal(np.asarray(picture), labels[0])  # others can read it too
        assert picture.info.get("dpi", (1, 1)) == (1, 1)  # no resolution, as the image has none


@pytest.mark.parametrize("shape", [(3, 4, 5), (4, 5, 3), (2, 4, 4), (2, 1, 1)], ids=str)
def test_slices_are_pages_also_where_they_could_be_colours(shape, tmp_path):
    labels = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    geometry = read_one(save(tmp_path / "a_0000.mha", labels))[1]
    write_labels(tmp_path / "a.ome.tif", labels, geometry)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.ome.tif", case="a"), labels)
    with PIL.Image.open(tmp_path / "a.ome.tif") as picture:
        assert picture.n_frames == shape[0]
        assert 270 not in picture.tag_v2  # no description


@pytest.mark.parametrize(
    ("largest", "kind"), [(0, "uint8"), (255, "uint8"), (256, "uint16"), (65535, "uint16")]
)
@pytest.mark.parametrize("ending", [".nii.gz", ".mhd", ".gipl", ".tif", ".png"])
@pytest.mark.parametrize("given", [np.int32, np.uint16])
def test_the_smallest_type_that_holds_the_labels(largest, kind, ending, given, tmp_path, frozen):
    _, geometry = read_one(somewhere(tmp_path / "in", ".mha", 2, 0))
    labels = np.zeros(geometry.shape, given)
    labels[0, 1, 2] = largest
    write_labels(tmp_path / f"a{ending}", frozen(labels), geometry)
    stored = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / f"a{ending}")))
    assert stored.dtype == kind
    np.testing.assert_array_equal(stored.reshape(labels.shape), labels)
    assert read_labels(tmp_path / f"a{ending}", case="a").dtype == (np.int32 if largest > 32767 else np.int16)


@pytest.mark.parametrize(
    ("ending", "value", "message"),
    [
        (".bmp", 256, r"a\.bmp: a \.bmp file holds labels from 0 to 255, but these are 0 to 256; use"),
        (".png", 65536, r"a \.png file holds labels from 0 to 65535, but these are 0 to 65536"),
        (".nii.gz", -1, r"a \.nii\.gz file holds labels from 0 to 65535, but these are -1 to 0"),
        (".jpg", 1, r"a\.jpg: JPEG changes values, so it cannot hold labels; use \.png"),
        (".JPEG", 1, r"a\.JPEG: JPEG changes values"),
        (".xyz", 1, r"a\.xyz cannot be written: its ending is none of \.nii\.gz"),
    ],
)
def test_labels_that_the_format_cannot_hold(ending, value, message, tmp_path):
    _, geometry = read_one(somewhere(tmp_path / "in", ".mha", 2, 0))
    labels = np.full(geometry.shape, value) * np.eye(4, 5, dtype=int)
    with pytest.raises(DatasetError, match=message):
        write_labels(tmp_path / "out" / f"a{ending}", labels, geometry)
    assert not (tmp_path / "out").exists()


def test_images_that_the_format_cannot_hold(tmp_path):
    out = tmp_path / "out" / "a.png"
    _, volume = read_one(somewhere(tmp_path / "in", ".mha", 3, 0))
    with pytest.raises(
        DatasetError, match=r"a\.png cannot be written: \.png is for 2D images, .* has 3 axes; use"
    ):
        write_labels(out, labels_like(volume), volume)
    _, flat = read_one(somewhere(tmp_path / "in", ".mha", 2, 0))
    with pytest.raises(DatasetError, match=r"a\.png cannot be written: \S"):
        write_image(out, np.zeros(flat.shape, np.float32), flat)
    assert list(out.parent.iterdir()) == []


@pytest.fixture
def pair(tmp_path):
    """An old label map of two files, and what it was."""
    _, geometry = read_one(somewhere(tmp_path / "in", ".mhd", 3, 0))
    labels = labels_like(geometry)
    path = tmp_path / "out" / "a.mhd"
    write_labels(path, labels, geometry)
    return path, labels, geometry


def test_the_header_of_a_pair_names_its_data_and_changes_with_them(pair):
    path, labels, geometry = pair
    assert path.read_text().splitlines()[-1] == "ElementDataFile = a.zraw"
    old = digest_of(path)
    write_labels(path, labels, geometry)
    assert digest_of(path) == old
    write_labels(path, np.roll(labels, 1), geometry)  # as many bytes, another content
    assert digest_of(path) != old
    np.testing.assert_array_equal(read_labels(path, case="a"), np.roll(labels, 1))


@pytest.mark.parametrize("renames", [0, 1])
def test_half_a_pair_is_never_taken_for_whole(renames, pair, monkeypatch):
    """A call that ends between two renames leaves the old pair, or no header."""
    path, labels, geometry = pair
    done = []
    original = image_files.Path.replace

    def replace(self, target):
        if len(done) == renames:
            raise KeyboardInterrupt
        done.append(target)
        return original(self, target)

    monkeypatch.setattr(image_files.Path, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        write_labels(path, labels * 0, geometry)
    assert len(done) == renames
    assert {other.name for other in path.parent.iterdir()} == {"a.zraw"}
    monkeypatch.undo()
    write_labels(path, labels * 0, geometry)
    np.testing.assert_array_equal(read_labels(path, case="a"), labels * 0)


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_a_side_file_of_another_spacing_does_not_stay(ending, tmp_path):
    file = save(tmp_path / f"a_0000{ending}", np.zeros((4, 5), np.uint8))
    _, plain = read_one(file)
    (tmp_path / "a.json").write_text('{"spacing": [5, 0.5, 0.5]}')
    _, geometry = read_one(file)
    out = tmp_path / "out" / f"a{ending}"
    for one in (geometry, plain):
        write_labels(out, labels_like(one), one)
        assert read_geometry(out, case="a") == one


def test_the_side_file_comes_first(tmp_path, monkeypatch):
    file = somewhere(tmp_path, ".tif", 3, 0)
    (tmp_path / "a.json").write_text('{"spacing": [3, 2, 1]}')
    _, geometry = read_one(file)

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(image_files, "write_text", stop)
    with pytest.raises(KeyboardInterrupt):
        write_labels(tmp_path / "out" / "a.tif", labels_like(geometry), geometry)
    assert list((tmp_path / "out").iterdir()) == []
