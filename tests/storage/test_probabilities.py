"""Probabilities on disk, a byte each."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from case_samples import configuration_of, geometry_of, preparation_of

from segflow.contracts.case import CaseRecord
from segflow.contracts.errors import PredictionError
from segflow.storage.probabilities import probability_slabs, read_probabilities, write_probabilities

RECORD = CaseRecord(
    identifier="a",
    geometry=geometry_of((9, 6, 8)),
    shape_before_crop=(6, 9, 8),
    crop_box=((1, 5), (2, 7), (0, 6)),
    spacing_mm=(1, 1, 1),
    shape=(4, 5, 6),
)
PREPARATION = preparation_of(configuration_of(), order=(1, 0, 2))


@pytest.fixture
def scores(frozen):
    drawn = np.random.default_rng(0).dirichlet((1, 1, 1), (4, 5, 6)).astype(np.float32)
    return frozen(drawn.transpose(3, 0, 1, 2))


def write(path, scores, planes=(4,)):
    with write_probabilities(path, RECORD, PREPARATION, n_outputs=3) as keep:
        for part in np.split(scores, np.cumsum(planes)[:-1], axis=1):
            keep(part)


@pytest.mark.parametrize("planes", [(4,), (1, 2, 1)])
def test_round_trip_in_a_file_that_numpy_reads(planes, tmp_path, scores):
    write(tmp_path / "a.npz", scores, planes)
    assert list(tmp_path.iterdir()) == [tmp_path / "a.npz"]
    found = np.concatenate(list(probability_slabs(tmp_path / "a.npz")), axis=1)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, scores, atol=0.5001 / 255)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as stored:
        np.testing.assert_allclose(stored["probabilities"].swapaxes(0, 1) / 255, found, rtol=1e-6)


def test_planes_are_read_a_few_at_a_time(tmp_path, scores, monkeypatch):
    write(tmp_path / "a.npz", scores)
    whole = np.concatenate(list(probability_slabs(tmp_path / "a.npz")), axis=1)
    monkeypatch.setattr("segflow.storage.probabilities._SLAB_BYTES", 3 * 5 * 6 * 3)
    slabs = list(probability_slabs(tmp_path / "a.npz"))
    assert [slab.shape[1] for slab in slabs] == [3, 1]
    np.testing.assert_array_equal(np.concatenate(slabs, axis=1), whole)


@pytest.mark.parametrize("has_regions", [False, True])
def test_on_the_raw_grid(has_regions, tmp_path, scores):
    write(tmp_path / "a.npz", scores)
    found = read_probabilities(tmp_path / "a.npz", has_regions=has_regions)
    expected = np.zeros((3, 9, 6, 8))
    expected[0] = not has_regions
    expected[:, 2:7, 1:5, 0:6] = scores.transpose(0, 2, 1, 3)
    np.testing.assert_allclose(found, expected, atol=0.5001 / 255)


def write_half(path, scores):
    with write_probabilities(path, RECORD, PREPARATION, n_outputs=3) as keep:
        keep(scores[:, :2])
        raise RuntimeError("in between")


def test_nothing_is_left_of_a_failure(tmp_path, scores):
    with pytest.raises(RuntimeError, match="in between"):
        write_half(tmp_path / "a.npz", scores)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file(tmp_path):
    with pytest.raises(PredictionError, match=r"a\.npz does not exist; predict again"):
        next(probability_slabs(tmp_path / "a.npz"))


def archive(array, stop=None):
    """A file with such an array, which ends too soon."""
    member, file = io.BytesIO(), io.BytesIO()
    np.save(member, array)
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("probabilities.npy", member.getvalue()[:stop])
    return file.getvalue()


@pytest.mark.parametrize(
    "damaged",
    [
        lambda _: b"",
        lambda _: b"text",
        lambda _: b"PK\x03\x04",
        lambda whole: whole[: len(whole) // 2],
        lambda _: archive(np.zeros((4, 3, 5, 6), np.uint8), -100),
        lambda _: archive(np.zeros((4, 3, 5, 6), np.float16)),
        lambda _: archive(np.array([{}], object)),
    ],
)
def test_a_damaged_file_or_one_of_other_arrays(damaged, tmp_path, scores):
    write(tmp_path / "a.npz", scores)
    (tmp_path / "a.npz").write_bytes(damaged((tmp_path / "a.npz").read_bytes()))
    with pytest.raises(PredictionError, match=r"a\.npz is damaged"):
        list(probability_slabs(tmp_path / "a.npz"))


def test_no_flipped_bit_changes_what_is_read(tmp_path, scores):
    write(tmp_path / "a.npz", scores)
    whole, refused = (tmp_path / "a.npz").read_bytes(), 0
    right = read_probabilities(tmp_path / "a.npz", has_regions=False)
    for place in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        (tmp_path / "b.npz").write_bytes(damaged)
        try:
            found = read_probabilities(tmp_path / "b.npz", has_regions=False)
        except PredictionError:
            refused += 1
        else:  # of a date, for instance
            np.testing.assert_array_equal(found, right)
    assert refused > len(whole) // 14
