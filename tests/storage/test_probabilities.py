"""Probabilities, a byte each."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
from case_samples import geometry_of

from segflow.contracts.case import CaseRecord
from segflow.contracts.errors import PredictionError
from segflow.contracts.plan import Preparation
from segflow.storage.probabilities import probability_slabs, read_probabilities, write_probabilities

RECORD = CaseRecord(
    identifier="a",
    geometry=geometry_of((9, 6, 8)),
    shape_before_crop=(6, 9, 8),
    crop_box=((1, 5), (2, 7), (0, 6)),
    spacing_mm=(1, 1, 1),
    shape=(4, 5, 6),
)
PREPARATION = Preparation(
    spacing_mm=(1, 1, 1),
    normalization=("zscore",),
    mask_normalization=(False,),
    intensities=(None,),
    transpose_forward=(1, 0, 2),
    transpose_backward=(1, 0, 2),
)


@pytest.fixture
def scores(frozen):
    drawn = np.random.default_rng(0).dirichlet((1, 1, 1), (4, 5, 6)).astype(np.float32)
    return frozen(drawn.transpose(3, 0, 1, 2))


def write(path, scores, planes=(4,)):
    with write_probabilities(path, RECORD, PREPARATION, n_outputs=3) as keep:
        for part in np.split(scores, np.cumsum(planes)[:-1], axis=1):
            keep(part)


@pytest.mark.parametrize("planes", [(4,), (1, 2, 1)])
def test_round_trip(planes, tmp_path, scores):
    write(tmp_path / "a.npz", scores, planes)
    found = np.concatenate(list(probability_slabs(tmp_path / "a.npz")), axis=1)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, scores, atol=0.5001 / 255)
    assert list(tmp_path.iterdir()) == [tmp_path / "a.npz"]


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


def test_numpy_reads_it(tmp_path, scores):
    write(tmp_path / "a.npz", scores)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as stored:
        np.testing.assert_allclose(stored["probabilities"].swapaxes(0, 1) / 255, scores, atol=0.5001 / 255)


def write_half(path, scores):
    with write_probabilities(path, RECORD, PREPARATION, n_outputs=3) as keep:
        keep(scores[:, :2])
        raise RuntimeError("in between")


def test_nothing_is_left_of_a_failure(tmp_path, scores):
    with pytest.raises(RuntimeError, match="in between"):
        write_half(tmp_path / "a.npz", scores)
    assert list(tmp_path.iterdir()) == []


def test_missing(tmp_path):
    with pytest.raises(PredictionError, match=r"a\.npz does not exist; predict again"):
        next(probability_slabs(tmp_path / "a.npz"))


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04"])
def test_damaged(content, tmp_path):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(PredictionError, match=r"a\.npz is damaged"):
        next(probability_slabs(tmp_path / "a.npz"))


def test_cut_short(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive, archive.open("probabilities.npy", "w") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (4, 3, 5, 6)}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(bytes(100))
    with pytest.raises(PredictionError, match=r"a\.npz is damaged"):
        list(probability_slabs(tmp_path / "a.npz"))


@pytest.mark.parametrize("content", [np.array([{}], object), np.zeros((4, 3, 5, 6), np.float16)])
def test_other_arrays_are_refused(content, tmp_path):
    np.savez(tmp_path / "a.npz", probabilities=content)
    with pytest.raises(PredictionError, match=r"a\.npz is damaged"):
        next(probability_slabs(tmp_path / "a.npz"))
