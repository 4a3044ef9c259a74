"""Where patches are cut, and what they hold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segflow.augmentation.patches import annotated_target, draw_start, is_forced, read_patch
from segflow.contracts.labels import Labels

READ, PATCH = (12, 10, 10), (8, 8, 8)


@pytest.mark.parametrize(("batch", "n_forced"), [(2, 1), (9, 3), (12, 4), (32, 11), (1, 0)])
def test_the_last_third_of_a_batch_is_forced(batch, n_forced):
    forced = [is_forced(j, batch_size=batch, foreground_share=0.33) for j in range(batch)]
    assert forced == [False] * (batch - n_forced) + [True] * n_forced


def starts(case_shape, locations=None, n=500):
    rng = np.random.default_rng(0)
    return np.array(
        [
            draw_start(rng, case_shape, read_shape=READ, patch_shape=PATCH, locations=locations or {})
            for _ in range(n)
        ]
    )


def test_range_of_random_starts():
    drawn = starts((20, 9, 4))
    # pad: 4; 2; 6 (the case is smaller than what is read)
    assert drawn.min(0).tolist() == [-2, -1, -3]
    assert drawn.max(0).tolist() == [20 + 2 - 12, 9 + 1 - 10, 4 + 3 - 10]


def test_odd_padding_is_larger_below():
    drawn = starts((20, 9, 5))
    assert (drawn[:, 2].min(), drawn[:, 2].max()) == (-3, -2)


def test_forced_start_is_around_a_location_and_not_limited_above():
    locations = {1: np.array([[19, 5, 0]]), 2: np.zeros((0, 3), int)}
    drawn = starts((20, 9, 9), locations, n=5)
    assert np.unique(drawn, axis=0).tolist() == [[13, 0, -1]]


def test_targets_are_equally_likely_whatever_their_number_of_voxels():
    locations = {1: np.full((1, 3), 6), (1, 2): np.full((999, 3), 8)}
    drawn = starts((20, 20, 20), locations)
    assert 0.4 < (drawn[:, 0] == 0).mean() < 0.6


def test_slices_of_a_2d_patch():
    drawn = draw_start(
        np.random.default_rng(0),
        (7, 30, 30),
        read_shape=(1, 20, 20),
        patch_shape=(1, 16, 16),
        locations={1: np.array([[5, 15, 15]])},
    )
    assert drawn == (5, 5, 5)


def test_annotated_key():
    entries = (("background", 0), ("a", 1), ("all", (1, 2)), ("ignore", 3))
    regions = Labels(entries, (1, 2))
    locations = {1: np.zeros((0, 3)), (1, 2): np.zeros((0, 3)), (-1, 0, 1, 2): np.zeros((0, 3))}
    assert annotated_target(locations, regions) == (-1, 0, 1, 2)
    assert annotated_target(locations, Labels(entries[:3], (1, 2))) is None


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


def test_read_patch_of_a_memory_map_is_a_plain_copy(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(64, dtype=np.int16).reshape(4, 4, 4))
    array = np.load(tmp_path / "a.npy", mmap_mode="r")
    patch = read_patch(array, (1, 0, 2), (2, 4, 2), fill=-1)
    assert type(patch) is np.ndarray
    assert patch.base is None
    np.testing.assert_array_equal(patch, array[1:3, :, 2:])
