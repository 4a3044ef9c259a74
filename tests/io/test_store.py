"""Prepared cases on disk."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from case_samples import CLASSES, configuration_of, plan_of, raw_case

from segflow.contracts.errors import PlanError
from segflow.io.store import CaseStore
from segflow.preprocessing import prepare_case


def prepared_case(seed=0, value=1):
    image = np.random.default_rng(seed).uniform(1, 2, (2, 4, 5, 6))
    labels = np.zeros((4, 5, 6))
    labels[:2] = value
    configuration = configuration_of(normalization=("none", "zscore"))
    return prepare_case(raw_case(image, labels), plan_of(configuration), configuration, CLASSES)


def write(store, case):
    return store.write(case.record, case.image, case.labels, case.locations)


def test_round_trip(tmp_path):
    store, case = CaseStore(tmp_path), prepared_case()
    write(store, case)
    found = store.read("one")
    assert store.record("one") == case.record
    np.testing.assert_array_equal(found.image, case.image)
    np.testing.assert_array_equal(found.labels, case.labels)
    assert (found.image.dtype, found.labels.dtype) == (np.float32, np.int8)
    assert list(found.locations) == [1, 2]
    np.testing.assert_array_equal(found.locations[1], case.locations[1])
    assert found.locations[2].shape == (0, 3)
    assert found.previous_stage is None
    assert not found.image.flags.writeable


def test_regions_as_keys(tmp_path):
    store, case = CaseStore(tmp_path), prepared_case()
    locations = {
        (1, 2): np.array([[0, 0, 0]], np.int32),
        2: np.array([[3, 4, 5]], np.int32),
        (-1, 0): np.empty((0, 3)),
    }
    store.write(case.record, case.image, case.labels, locations)
    found = store.read("one").locations
    assert list(found) == [(1, 2), 2, (-1, 0)]
    np.testing.assert_array_equal(found[2], [[3, 4, 5]])


@pytest.mark.parametrize("locations", [{}, {1: np.empty((0, 3), np.int32)}])
def test_no_locations(locations, tmp_path):
    store, case = CaseStore(tmp_path), prepared_case()
    store.write(case.record, case.image, case.labels, locations)
    assert {key: len(voxels) for key, voxels in store.read("one").locations.items()} == dict.fromkeys(
        locations, 0
    )


def test_digest_says_whether_anything_changed(tmp_path):
    case, other = prepared_case(), prepared_case(seed=1)
    first = write(CaseStore(tmp_path / "a"), case)
    assert write(CaseStore(tmp_path / "b"), case) == first
    assert write(CaseStore(tmp_path / "a"), case) == first
    assert write(CaseStore(tmp_path / "c"), other) != first
    assert write(CaseStore(tmp_path / "d"), prepared_case(value=2)) != first


def test_a_case_may_be_written_again(tmp_path):
    store = CaseStore(tmp_path)
    write(store, prepared_case())
    assert len(store.read("one").locations[2]) == 0
    write(store, prepared_case(value=2))
    found = store.read("one")
    assert (len(found.locations[1]), len(found.locations[2])) == (0, 60)
    assert (found.labels[:2] == 2).all()


def test_an_unfinished_case_is_absent(tmp_path):
    store, case = CaseStore(tmp_path), prepared_case()
    write(store, case)
    with pytest.raises(TypeError):
        store.write(case.record, case.image, case.labels, {1: None})
    with pytest.raises(PlanError, match=r"one\.json does not exist"):
        store.record("one")


def test_a_case_that_is_not_there(tmp_path):
    with pytest.raises(PlanError, match="does not exist"):
        CaseStore(tmp_path).read("other")


def test_previous_stage(tmp_path):
    (tmp_path / "low").mkdir()
    np.save(tmp_path / "low" / "one.npy", np.full((4, 5, 6), 2, np.int8))
    store = CaseStore(tmp_path / "data", previous_stage=tmp_path / "low")
    write(store, prepared_case())
    assert (store.read("one").previous_stage == 2).all()
    (tmp_path / "low" / "one.npy").unlink()
    with pytest.raises(PlanError, match=r"one\.npy does not exist; run the preprocessing"):
        store.read("one")


def test_a_store_can_be_sent_to_a_worker(tmp_path):
    write(CaseStore(tmp_path), prepared_case())
    copy = pickle.loads(pickle.dumps(CaseStore(tmp_path)))  # noqa: S301
    assert copy.read("one").image.shape == (2, 4, 5, 6)
