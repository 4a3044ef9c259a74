"""Prepared cases on disk."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from case_samples import CLASSES, configuration_of, preparation_of, raw_case

from segflow.contracts.errors import DatasetError, PlanError
from segflow.preprocessing.prepare import prepare_case
from segflow.storage.cases import CaseStore
from segflow.storage.files import digest_of, write_array

ARRAYS = ("_image.npy", "_labels.npy", "_voxels.npy")
LOCATIONS = {
    (1, 2): np.array([[0, 0, 0]], np.int32),
    2: np.array([[3, 4, 5], [1, 1, 1]], np.int32),
    (-1, 0): np.empty((0, 3)),
}


def prepared_case(seed=0, value=1, **changes):
    image = np.random.default_rng(seed).uniform(1, 2, (2, 4, 5, 6))
    labels = np.zeros((4, 5, 6))
    labels[:2] = value
    preparation = preparation_of(configuration_of(normalization=("none", "zscore")))
    return replace(prepare_case(raw_case(image, labels), preparation, CLASSES), **changes)


@pytest.fixture
def store(tmp_path):
    return CaseStore(tmp_path)


def test_more_cases_than_files_may_be_open(store):
    """As a process may open only a few files on some systems."""
    case = prepared_case()
    for number in range(30):
        store.write(replace(case, record=case.record.model_copy(update={"identifier": f"c{number}"})))
    code = (
        "import resource, sys; from pathlib import Path\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
        "from segflow.storage.cases import CaseStore\n"
        "print(sum(CaseStore(Path(sys.argv[1])).read(f'c{n}').image.size for n in range(30)))"
    )
    words = [sys.executable, "-c", code, store.folder]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert int(done.stdout) == 30 * 2 * 4 * 5 * 6


def test_round_trip(store):
    case = prepared_case()
    store.write(case)
    store = pickle.loads(pickle.dumps(store))  # noqa: S301  as it is sent to a worker process
    found = store.read("one")
    assert store.record("one") == case.record
    np.testing.assert_array_equal(found.image, case.image)
    np.testing.assert_array_equal(found.labels, case.labels)
    assert (found.image.dtype, found.labels.dtype) == (np.float32, np.int8)
    assert found.previous_stage is None
    assert not found.image.flags.writeable


@pytest.mark.parametrize("part", ARRAYS)
def test_a_file_that_is_cut_short_while_it_is_mapped(part, store):
    """What reads its end would be killed by the system, without a word."""
    store.write(prepared_case())
    store.read("one")
    file = store.folder / f"one{part}"
    os.truncate(file, file.stat().st_size - 1)
    with pytest.raises(PlanError, match=rf"{part} was cut short while it was in use; run the preprocessing"):
        store.read("one")


@pytest.mark.parametrize("locations", [prepared_case().locations, LOCATIONS, {}, {1: np.empty((0, 3))}])
def test_locations_of_classes_and_regions(locations, store):
    store.write(prepared_case(locations=locations))
    found = store.read("one").locations
    assert list(found) == list(locations)
    for target, voxels in locations.items():
        np.testing.assert_array_equal(found[target], voxels)


def test_equal_data_have_equal_digests_whatever_they_were_made_from(tmp_path):
    cases = [
        prepared_case(),
        prepared_case(seed=1),
        prepared_case(value=2),
        prepared_case(locations=LOCATIONS),
    ]
    digests = [CaseStore(tmp_path / str(number)).write(case) for number, case in enumerate(cases)]
    assert len(set(digests)) == len(cases)
    assert {CaseStore(tmp_path / key).write(cases[0], key=key) for key in ("0", "a", "b")} == {digests[0]}


def test_a_case_may_be_written_again(store):
    for value, lengths in ((1, (60, 0)), (2, (0, 60))):
        store.write(prepared_case(value=value))
        found = store.read("one")
        assert (len(found.locations[1]), len(found.locations[2])) == lengths
        assert (found.labels[:2] == value).all()


def test_an_unfinished_case_is_absent(store):
    store.write(prepared_case())
    with pytest.raises(ValueError, match="dimension"):
        store.write(prepared_case(locations={1: np.zeros(2)}))
    with pytest.raises(PlanError, match=r"one\.json does not exist"):
        store.record("one")
    with pytest.raises(PlanError, match="does not exist"):
        store.read("other")


def test_a_case_without_labels_is_refused(store):
    with pytest.raises(DatasetError, match="case one: no label file, so nothing to train on"):
        store.write(prepared_case(labels=None))


def test_previous_stage(tmp_path):
    (tmp_path / "low").mkdir()
    np.save(tmp_path / "low" / "one.npy", np.full((4, 5, 6), 2, np.int8))
    store = CaseStore(tmp_path / "data", previous_stage=tmp_path / "low")
    store.write(prepared_case())
    assert (store.read("one").previous_stage == 2).all()
    (tmp_path / "low" / "one.npy").unlink()
    with pytest.raises(PlanError, match=r"one\.npy does not exist; run the preprocessing"):
        store.read("one")


@pytest.mark.parametrize("layout", [np.asfortranarray, np.ascontiguousarray])
def test_a_stored_case_is_found_by_what_it_was_made_from(layout, store, tmp_path):
    case = prepared_case()
    digest = store.write(
        replace(case, image=layout(case.image), labels=layout(case.labels)), key="these files"
    )
    assert store.find("one", "these files") == digest
    assert store.find("one", "other files") is None
    assert store.find("two", "these files") is None
    assert CaseStore(tmp_path / "elsewhere").find("one", "these files") is None


@pytest.mark.parametrize("name", [*(f"one{end}" for end in ARRAYS), "one.json", "previous/one.npy"])
def test_a_case_that_has_changed_is_refused(name, tmp_path):
    """A single bit, in any file, also of the previous stage."""
    store = CaseStore(tmp_path, previous_stage=tmp_path / "previous")
    digest = store.write(prepared_case())
    write_array(tmp_path / "previous" / "one.npy", np.ones((4, 5, 6), np.int8))
    digest += digest_of(tmp_path / "previous" / "one.npy")
    store.check("one", digest)
    content = bytearray((tmp_path / name).read_bytes())
    content[-20] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PlanError, match=rf"one.*{name}" if name != "one.json" else r"one.*\.json"):
        store.check("one", digest)
