"""What stages read of a plan, folds and fingerprint, as files."""

from __future__ import annotations

import json

import pytest
from fingerprint_samples import CASCADE, SINGLE, sample_plan

from segflow.contracts.errors import PlanError
from segflow.contracts.plan import CONFIGURATION_NAMES, Fold
from segflow.nnunet.folds import read_folds, write_folds
from segflow.nnunet.parts import read_configuration, read_preparation, write_parts
from segflow.storage.files import write_json

READERS = {"network": read_configuration, "preparation": read_preparation}
PARTS = [f"{stage}/{name}.json" for stage in READERS for name in CONFIGURATION_NAMES]


def parts_of(folder, plan):
    """What `write_parts` wrote, by file name."""
    write_parts(folder, plan)
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*.json")}


def changed_parts(folder, one, other):
    before, after = parts_of(folder / "one", one), parts_of(folder / "other", other)
    return {name for name in PARTS if before[name] != after[name]}


@pytest.mark.parametrize("fingerprint", [SINGLE, CASCADE], ids=["single", "cascade"])
def test_there_are_parts_for_every_configuration(fingerprint, tmp_path):
    plan = sample_plan(fingerprint, resample_first=True)
    assert sorted(parts_of(tmp_path, plan)) == sorted(PARTS)
    for name in plan.configurations:
        assert read_configuration(tmp_path / "network" / f"{name}.json") == plan.configurations[name]
        assert read_preparation(tmp_path / "preparation" / f"{name}.json") == plan.preparation(name)
    for name in set(CONFIGURATION_NAMES) - set(plan.configurations):
        for stage, read in READERS.items():
            with pytest.raises(PlanError, match=rf"{name}\.json: the plan has no configuration {name} for"):
                read(tmp_path / stage / f"{name}.json")


@pytest.mark.parametrize("read", [read_configuration, read_preparation, read_folds])
def test_broken_files(read, tmp_path):
    with pytest.raises(PlanError, match=r"2d\.json does not exist"):
        read(tmp_path / "2d.json")
    write_json(tmp_path / "2d.json", {})
    with pytest.raises(PlanError, match=r"2d\.json: '\w+': "):
        read(tmp_path / "2d.json")


def test_the_batch_size_does_not_affect_the_preparation(tmp_path):
    small = SINGLE.model_copy(update={"shapes_after_crop": ((40, 30, 40),) * 2})
    one, other = sample_plan(small, n_cases=3), sample_plan(small, n_cases=400)
    assert one.configurations["2d"].batch_size != other.configurations["2d"].batch_size
    assert changed_parts(tmp_path, one, other) == {"network/2d.json", "network/3d_fullres.json"}


@pytest.mark.parametrize(
    ("channel", "expected"), [("0", {"preparation/2d.json", "preparation/3d_fullres.json"}), ("1", set())]
)
def test_intensities_affect_the_preparation_of_ct_alone(channel, expected, tmp_path):
    plan = sample_plan()
    other = plan.intensities | {channel: plan.intensities[channel].model_copy(update={"mean": 41.0})}
    assert changed_parts(tmp_path, plan, plan.model_copy(update={"intensities": other})) == expected


def test_the_spacing_affects_both(tmp_path):
    changed = changed_parts(tmp_path, sample_plan(), sample_plan(spacing_mm=(0.8, 3.0, 0.8)))
    assert changed >= {"network/3d_fullres.json", "preparation/3d_fullres.json"}


def test_custom_configurations_have_parts_as_well(tmp_path):
    plan = sample_plan()
    small = plan.configuration("3d_fullres").model_copy(update={"name": "small", "batch_size": 7})
    plan = plan.model_copy(update={"configurations": plan.configurations | {"small": small}})
    found = parts_of(tmp_path, plan)
    assert set(found) == {*PARTS, "network/small.json", "preparation/small.json"}
    assert found["preparation/small.json"] == found["preparation/3d_fullres.json"]
    assert read_configuration(tmp_path / "network" / "small.json") == small


def test_a_cascade_is_prepared_as_the_full_resolution(tmp_path):
    found = parts_of(tmp_path, sample_plan(CASCADE))
    assert found["preparation/3d_cascade_fullres.json"] == found["preparation/3d_fullres.json"]
    assert found["preparation/3d_lowres.json"] != found["preparation/3d_fullres.json"]


def test_folds_round_trip(tmp_path):
    folds = (Fold(train=("a", "b"), val=("c",)), Fold(train=("c",), val=("a", "b")))
    write_folds(tmp_path / "splits_final.json", folds)
    assert json.loads((tmp_path / "splits_final.json").read_text())[0] == {"train": ["a", "b"], "val": ["c"]}
    assert read_folds(tmp_path / "splits_final.json") == folds


@pytest.mark.parametrize("content", [{"train": []}, [{"train": ["a"]}], [["a"]]])
def test_broken_folds(content, tmp_path):
    write_json(tmp_path / "splits_final.json", content)
    with pytest.raises(PlanError, match=r"splits_final\.json: 'folds"):
        read_folds(tmp_path / "splits_final.json")
