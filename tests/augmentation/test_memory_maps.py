"""Announcing reads: which bytes are asked for."""

from __future__ import annotations

import mmap

import numpy as np
import pytest

from segflow.augmentation import patches as memory_maps
from segflow.augmentation.patches import announce, read_patch


class Watched(mmap.mmap):
    """Notes what is asked of it."""

    def madvise(self, option, start, length):
        assert option == mmap.MADV_WILLNEED
        assert start % mmap.PAGESIZE == 0
        self.asked.append((start, start + length))
        return super().madvise(option, start, length)


@pytest.fixture
def mapped(tmp_path):
    """An array of 3 MB in a file, and what is asked of its mapping."""
    values = np.arange(2 * 12 * 300 * 110, dtype=np.float32).reshape(2, 12, 300, 110)
    path = tmp_path / "array.bin"
    path.write_bytes(values.tobytes())
    with path.open("rb") as file:
        mapping = Watched(file.fileno(), 0, access=mmap.ACCESS_READ)
    mapping.asked = []
    return np.frombuffer(mapping, np.float32).reshape(values.shape), mapping


def test_every_byte_of_the_part_is_asked_for_and_little_else(mapped):
    array, mapping = mapped
    part = array[:, 3:9, 100:200, 20:60]
    announce(part)
    asked = np.zeros(array.nbytes + mmap.PAGESIZE, bool)
    for start, stop in mapping.asked:
        asked[start:stop] = True
    wanted = np.zeros(array.shape, bool)
    wanted[:, 3:9, 100:200, 20:60] = True
    wanted = np.repeat(wanted.ravel(), 4)
    assert asked[: wanted.size][wanted].all()
    rows = wanted.size * (6 / 12) * (100 / 300)
    assert asked.sum() < rows + 12 * mmap.PAGESIZE
    assert len(mapping.asked) == 12


@pytest.mark.parametrize(
    "part", [np.ones((2, 3, 4)), np.ones((2, 0, 4))[:1], np.lib.stride_tricks.as_strided(np.ones(3))]
)
def test_other_arrays_are_left_alone(part):
    announce(part)


def test_an_empty_part_asks_for_nothing(mapped):
    array, mapping = mapped
    announce(array[:, :, 5:5])
    assert mapping.asked == []


def test_a_system_without_the_call(mapped, monkeypatch):
    array, mapping = mapped
    monkeypatch.delattr(memory_maps.mmap, "MADV_WILLNEED")
    announce(array)
    assert mapping.asked == []


def test_a_patch_of_a_memory_map(tmp_path):
    values = np.random.default_rng(0).normal(size=(1, 20, 30, 40)).astype(np.float32)
    np.save(tmp_path / "image.npy", values)
    mapped = np.asarray(np.lib.format.open_memmap(tmp_path / "image.npy", mode="r")).view(np.ndarray)
    assert memory_maps._mapping_of(mapped[:, 2:3]) is not None  # or the test shows nothing
    patch = read_patch(mapped, (-2, 5, 30), (10, 8, 20), fill=9)
    np.testing.assert_array_equal(patch[:, 2:, :, :10], values[:, :8, 5:13, 30:])
    assert (patch[:, :2] == 9).all()
