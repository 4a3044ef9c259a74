"""Prepared cases on disk."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from case_samples import CLASSES, configuration_of, preparation_of, raw_case

from segflow.contracts.errors import PlanError
from segflow.preprocessing.prepare import prepare_case
from segflow.storage.cases import CaseStore

HEADER_BYTES = 128  # of a .npy file with a short header


def prepared_case(seed=0, value=1):
    image = np.random.default_rng(seed).uniform(1, 2, (2, 4, 5, 6))
    labels = np.zeros((4, 5, 6))
    labels[:2] = value
    preparation = preparation_of(configuration_of(normalization=("none", "zscore")))
    return prepare_case(raw_case(image, labels), preparation, CLASSES)


def write(store, case, **options):
    return store.write(case.record, case.image, case.labels, case.locations, **options)


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


def test_a_stored_case_is_found_by_what_it_was_made_from(tmp_path):
    digest = write(CaseStore(tmp_path), prepared_case(), key="these files")
    assert CaseStore(tmp_path).find("one", "these files") == digest
    assert CaseStore(tmp_path).find("one", "other files") is None
    assert CaseStore(tmp_path).find("two", "these files") is None
    assert CaseStore(tmp_path / "elsewhere").find("one", "these files") is None


def test_the_digest_does_not_depend_on_the_key(tmp_path):
    digests = {write(CaseStore(tmp_path / key), prepared_case(), key=key) for key in ("a", "b")}
    assert digests == {write(CaseStore(tmp_path), prepared_case())}


@pytest.mark.parametrize("layout", [np.asfortranarray, np.ascontiguousarray])
@pytest.mark.parametrize("locations", [{}, {1: np.empty((0, 3), np.int32)}])
def test_found_whatever_the_arrays_layout(locations, layout, tmp_path):
    store, case = CaseStore(tmp_path), prepared_case()
    digest = store.write(case.record, layout(case.image), layout(case.labels), locations, key="k")
    assert store.find("one", "k") == digest


@pytest.mark.parametrize("ending", ["_image.npy", "_labels.npy", "_voxels.npy", ".json"])
@pytest.mark.parametrize("keep", [0, 5, 50, 0.5, -1])
def test_a_truncated_case_is_not_found(ending, keep, tmp_path):
    write(CaseStore(tmp_path), prepared_case(), key="k")
    file = tmp_path / f"one{ending}"
    whole = file.read_bytes()
    file.write_bytes(whole[: int(keep * len(whole)) if 0 < keep < 1 else keep])
    if (ending, keep) == (".json", -1):  # its last byte is a line break
        assert CaseStore(tmp_path).find("one", "k")
    else:
        assert CaseStore(tmp_path).find("one", "k") is None


@pytest.mark.parametrize("ending", ["_image.npy", "_labels.npy", "_voxels.npy", ".json"])
def test_a_case_with_a_missing_file_is_not_found(ending, tmp_path):
    write(CaseStore(tmp_path), prepared_case(), key="k")
    (tmp_path / f"one{ending}").unlink()
    assert CaseStore(tmp_path).find("one", "k") is None


@pytest.mark.parametrize("ending", ["_image.npy", "_labels.npy", "_voxels.npy"])
def test_a_changed_voxel_is_noticed(ending, tmp_path):
    digest = write(CaseStore(tmp_path), prepared_case(), key="k")
    file = tmp_path / f"one{ending}"
    whole = file.read_bytes()
    for place in (HEADER_BYTES, (HEADER_BYTES + len(whole)) // 2, len(whole) - 1):
        file.write_bytes(damaged(whole, place))
        assert CaseStore(tmp_path).find("one", "k") != digest, place
    file.write_bytes(whole)
    assert CaseStore(tmp_path).find("one", "k") == digest


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_damaged_header_is_noticed(tmp_path):
    digest = write(CaseStore(tmp_path), prepared_case(), key="k")
    whole = (tmp_path / "one_image.npy").read_bytes()
    for place in range(HEADER_BYTES - 1):  # the last is a line break
        (tmp_path / "one_image.npy").write_bytes(damaged(whole, place))
        assert CaseStore(tmp_path).find("one", "k") != digest or whole[place : place + 1] == b" ", place


def damaged(whole, place):
    return whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :]
