"""Where patches are cut, and what they hold."""

import mmap

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segflow.augmentation import patches
from segflow.augmentation.patches import announce, choose_locations, draw_start, read_patch
from segflow.contracts.labels import Labels

READ, PATCH = (12, 10, 10), (8, 8, 8)


def starts(case_shape, locations=None, n=500):
    rng = np.random.default_rng(0)
    return np.array(
        [
            draw_start(rng, case_shape, read_shape=READ, patch_shape=PATCH, locations=locations or {})
            for _ in range(n)
        ]
    )


@pytest.mark.parametrize(
    ("case", "lowest", "highest"),
    [
        (
            (20, 9, 4),
            (-2, -1, -3),
            (10, 0, -3),
        ),  # padding: 4, 2 and, as the case is smaller than what is read, 6
        ((20, 9, 5), (-2, -1, -3), (10, 0, -2)),  # odd padding is larger below
    ],
)
def test_range_of_random_starts(case, lowest, highest):
    drawn = starts(case)
    assert (tuple(drawn.min(0)), tuple(drawn.max(0))) == (lowest, highest)


def test_forced_start_is_around_a_location_and_not_limited_above():
    locations = {1: np.array([[19, 5, 0]]), 2: np.zeros((0, 3), int)}
    assert np.unique(starts((20, 9, 9), locations, n=5), axis=0).tolist() == [[13, 0, -1]]
    flat = {"read_shape": (1, 20, 20), "patch_shape": (1, 16, 16), "locations": {1: np.array([[5, 15, 15]])}}
    assert draw_start(np.random.default_rng(0), (7, 30, 30), **flat) == (5, 5, 5)


def test_targets_are_equally_likely_whatever_their_number_of_voxels():
    locations = {1: np.full((1, 3), 6), (1, 2): np.full((999, 3), 8)}
    drawn = starts((20, 20, 20), locations)
    assert 0.4 < (drawn[:, 0] == 0).mean() < 0.6


def test_forced_patches_are_around_targets_others_around_annotated_voxels_if_some_are_ignored():
    some, none = np.ones((1, 3)), np.zeros((0, 3))
    entries = (("background", 0), ("a", 1), ("all", (1, 2)), ("ignore", 3))
    ignoring, complete = Labels(entries, (1, 2)), Labels(entries[:3], (1, 2))
    locations = {1: none, (1, 2): some}
    assert choose_locations(locations, complete, forced=True) == {(1, 2): some}
    assert choose_locations(locations, complete, forced=False) == {}
    assert choose_locations({1: none, (1, 2): none}, complete, forced=True) == {}
    locations[-1, 0, 1, 2] = some
    assert choose_locations(locations, ignoring, forced=True) == {(1, 2): some}
    assert choose_locations(locations, ignoring, forced=False) == {(-1, 0, 1, 2): some}
    empty = {1: none, (1, 2): none, (-1, 0, 1, 2): some}
    assert choose_locations(empty, ignoring, forced=True) == {(-1, 0, 1, 2): some}


@given(
    start=st.tuples(*[st.integers(-9, 9)] * 3),
    shape=st.tuples(*[st.integers(1, 7)] * 3),
    case=st.tuples(*[st.integers(1, 6)] * 3),
)
def test_read_patch_equals_pad_then_cut(start, shape, case):
    array = np.arange(1, 2 * np.prod(case) + 1, dtype=np.float32).reshape(2, *case)
    array.setflags(write=False)
    padded = np.pad(array, [(0, 0)] + [(20, 20)] * 3, constant_values=-1)
    expected = padded[(slice(None), *(slice(20 + f, 20 + f + n) for f, n in zip(start, shape, strict=True)))]
    patch = read_patch(array, start, shape, fill=-1)
    np.testing.assert_array_equal(patch, expected)
    assert patch.flags.writeable
    assert patch.flags.c_contiguous


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


def test_other_arrays_empty_parts_and_systems_without_the_call_are_left_alone(mapped, monkeypatch):
    array, mapping = mapped
    announce(array[:, :, 5:5])
    announce(np.ones((2, 3, 4)))
    announce(np.lib.stride_tricks.as_strided(np.ones(3)))
    monkeypatch.delattr(patches.mmap, "MADV_WILLNEED")
    announce(array)
    assert mapping.asked == []


def test_a_patch_of_a_memory_map(tmp_path):
    values = np.random.default_rng(0).normal(size=(1, 20, 30, 40)).astype(np.float32)
    np.save(tmp_path / "image.npy", values)
    mapped = np.asarray(np.lib.format.open_memmap(tmp_path / "image.npy", mode="r")).view(np.ndarray)
    assert patches._mapping_of(mapped[:, 2:3]) is not None  # or the test shows nothing
    patch = read_patch(mapped, (-2, 5, 30), (10, 8, 20), fill=9)
    assert type(patch) is np.ndarray
    assert patch.base is None
    np.testing.assert_array_equal(patch[:, 2:, :, :10], values[:, :8, 5:13, 30:])
    assert (patch[:, :2] == 9).all()
