"""plans.json in the peer's format, and back."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import pytest
from case_samples import INTENSITIES

from segflow.contracts.errors import PlanError
from segflow.contracts.fingerprint import Fingerprint
from segflow.contracts.folds import Fold
from segflow.contracts.names import CONFIGURATION_NAMES
from segflow.io.files import write_json
from segflow.io.plans import (
    plan_from_json,
    plan_to_json,
    read_configuration,
    read_fingerprint,
    read_folds,
    read_plan,
    read_preparation,
    write_folds,
    write_parts,
    write_plan,
)
from segflow.planning import PlanInput, make_plan
from segflow.recipes import PlannerRecipe

FINGERPRINT = Fingerprint(
    foreground_intensity_properties_per_channel={"0": INTENSITIES, "1": INTENSITIES},
    median_relative_size_after_cropping=0.5,
    shapes_after_crop=((512, 24, 480), (500, 25, 480)),
    spacings=((0.8, 6.0, 0.8), (0.8, 5.0, 0.8)),
)
SAMPLE = PlanInput(name="Sample", channel_names=("CT", "T1"), n_cases=40, n_outputs=3)
RESIDUAL = PlannerRecipe(encoder="residual", encoder_blocks=(1, 3, 4, 6), decoder_blocks=1)
CASCADE = FINGERPRINT.model_copy(
    update={"shapes_after_crop": ((432, 512, 512),) * 2, "spacings": ((1.0, 0.75, 0.75),) * 2}
)


def sample_plan(fingerprint=FINGERPRINT, recipe=None, **changes):
    return make_plan(fingerprint, replace(SAMPLE, **changes), recipe or PlannerRecipe())


def understood(data):
    return plan_from_json(data, where="plans.json")


@pytest.mark.parametrize("fingerprint", [FINGERPRINT, CASCADE], ids=["single", "cascade"])
@pytest.mark.parametrize("recipe", [None, RESIDUAL], ids=["plain", "residual"])
def test_round_trip(fingerprint, recipe, tmp_path):
    plan = sample_plan(fingerprint, recipe)
    write_plan(tmp_path / "plans.json", plan)
    assert read_plan(tmp_path / "plans.json") == plan


def test_written_as_the_peer_does():
    data = plan_to_json(sample_plan(CASCADE))
    assert list(data["configurations"]) == ["2d", "3d_lowres", "3d_fullres", "3d_cascade_fullres"]
    assert not [key for key in data if "segflow" in key]
    assert data["configurations"]["3d_cascade_fullres"] == {
        "inherits_from": "3d_fullres",
        "previous_stage": "3d_lowres",
    }
    flat = data["configurations"]["2d"]
    assert flat["normalization_schemes"] == ["CTNormalization", "ZScoreNormalization"]
    assert flat["use_mask_for_norm"] == [False, True]
    assert flat["architecture"]["arch_kwargs"]["conv_op"] == "torch.nn.modules.conv.Conv2d"
    assert data["configurations"]["3d_lowres"]["next_stage"] == "3d_cascade_fullres"
    seg = data["configurations"]["3d_fullres"]["resampling_fn_seg_kwargs"]
    assert seg == {"is_seg": True, "order": 1, "order_z": 0, "force_separate_z": None}


def test_children_win_over_parents():
    data = plan_to_json(sample_plan())
    data["configurations"]["small"] = {"inherits_from": "3d_fullres", "batch_size": 7}
    data["configurations"]["smaller"] = {"inherits_from": "small", "patch_size": [4, 8, 8]}
    found = understood(data).configurations
    assert found["smaller"].batch_size == 7
    assert found["smaller"].patch_shape == (4, 8, 8)
    assert found["smaller"].spacing_mm == found["3d_fullres"].spacing_mm
    assert found["smaller"].name == "smaller"
    assert found["3d_fullres"].batch_size != 7


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ({"a": {"inherits_from": "b"}, "b": {"inherits_from": "a"}}, "in a circle: a -> b -> a"),
        ({"a": {"inherits_from": "a"}}, "in a circle: a -> a"),
        ({"a": {"inherits_from": "nothing"}}, "a inherits from nothing, which does not exist"),
    ],
)
def test_wrong_inheritance(added, message):
    data = plan_to_json(sample_plan())
    data["configurations"] |= added
    with pytest.raises(PlanError, match=rf"^plans\.json: .*{message}"):
        understood(data)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["transpose_forward"], None, "'transpose_forward' is missing"),
        (["configurations", "2d", "architecture"], None, "'architecture' is missing"),
        (
            ["configurations", "2d", "architecture", "network_class_name"],
            "other.Net",
            "'other.Net' is missing or wrong",
        ),
        (["configurations", "2d", "normalization_schemes"], ["Own"], "'Own' is missing or wrong"),
        (
            ["configurations", "2d", "batch_size"],
            "many",
            r"'configurations\.2d\.batch_size': .* \(found 'many'\)",
        ),
        (["transpose_forward"], [0, 1], r"'transpose_forward\.2': Field required"),
    ],
)
def test_wrong_plan(path, value, message):
    data = copy.deepcopy(plan_to_json(sample_plan()))
    place = data
    for key in path[:-1]:
        place = place[key]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    with pytest.raises(PlanError, match=rf"^plans\.json: .*{message}"):
        understood(data)


@pytest.mark.parametrize("data", [[], None, "text", {"configurations": []}])
def test_no_plan_at_all(data):
    with pytest.raises(PlanError, match=r"^plans\.json: not a plan this version understands"):
        understood(data)


@pytest.mark.data
def test_published_plans(shared):
    files = sorted((shared / "reference" / "plans").glob("*/*lans.json"))
    old = {"RaSPDAM", "MSSEG"}  # written before release 2.5: no key "architecture"
    assert len(files) == 10
    for file in files:
        if any(file.parent.name.endswith(name) for name in old):
            with pytest.raises(PlanError, match="'architecture' is missing"):
                read_plan(file)
            continue
        written = plan_to_json(read_plan(file))
        expected = json.loads(file.read_text())
        for name, entry in expected["configurations"].items():
            assert written["configurations"][name] == entry, (file, name)
        for key in ("transpose_forward", "transpose_backward", "foreground_intensity_properties_per_channel"):
            assert written[key] == expected[key]


PARTS = [f"{stage}/{name}.json" for stage in ("network", "preparation") for name in CONFIGURATION_NAMES]


def parts_of(folder, plan):
    """What `write_parts` wrote, by file name."""
    write_parts(folder, plan)
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*.json")}


@pytest.mark.parametrize("fingerprint", [FINGERPRINT, CASCADE], ids=["single", "cascade"])
def test_there_is_a_part_for_every_configuration(fingerprint, tmp_path):
    plan = sample_plan(fingerprint)
    assert sorted(parts_of(tmp_path, plan)) == sorted(PARTS)
    for name in CONFIGURATION_NAMES:
        network, preparation = tmp_path / "network" / f"{name}.json", tmp_path / f"preparation/{name}.json"
        if name in plan.configurations:
            assert read_configuration(network) == plan.configurations[name]
            assert read_preparation(preparation) == plan.preparation(name)
            continue
        for read, file in ((read_configuration, network), (read_preparation, preparation)):
            with pytest.raises(PlanError, match=rf"{name}\.json: the plan has no configuration {name} for"):
                read(file)


@pytest.mark.parametrize("read", [read_configuration, read_preparation])
def test_broken_parts(read, tmp_path):
    with pytest.raises(PlanError, match=r"2d\.json does not exist"):
        read(tmp_path / "2d.json")
    write_json(tmp_path / "2d.json", {})
    with pytest.raises(PlanError, match=r"2d\.json: '(configuration|preparation)': Field required"):
        read(tmp_path / "2d.json")


def changed_parts(folder, one, other):
    before, after = parts_of(folder / "one", one), parts_of(folder / "other", other)
    return {name for name in PARTS if before[name] != after[name]}


def test_the_batch_size_does_not_touch_the_preparation(tmp_path):
    small = FINGERPRINT.model_copy(update={"shapes_after_crop": ((40, 30, 40),) * 2})
    one, other = sample_plan(small, n_cases=3), sample_plan(small, n_cases=400)
    assert one.configurations["2d"].batch_size != other.configurations["2d"].batch_size
    assert changed_parts(tmp_path, one, other) == {"network/2d.json", "network/3d_fullres.json"}


def test_intensities_decide_the_preparation_of_ct_alone(tmp_path):
    other = INTENSITIES.model_copy(update={"mean": 41.0})
    both = FINGERPRINT.foreground_intensity_properties_per_channel
    ct, mri = (
        sample_plan(
            FINGERPRINT.model_copy(
                update={"foreground_intensity_properties_per_channel": both | {channel: other}}
            )
        )
        for channel in "01"
    )
    assert changed_parts(tmp_path / "ct", sample_plan(), ct) == {
        "preparation/2d.json",
        "preparation/3d_fullres.json",
    }
    assert changed_parts(tmp_path / "mri", sample_plan(), mri) == set()


def test_the_spacing_decides_both(tmp_path):
    finer = sample_plan(recipe=PlannerRecipe(spacing_mm=(0.8, 3.0, 0.8)))
    assert "preparation/3d_fullres.json" in changed_parts(tmp_path, sample_plan(), finer)


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


def test_fingerprint(tmp_path):
    (tmp_path / "f.json").write_text(FINGERPRINT.to_json())
    assert read_fingerprint(tmp_path / "f.json") == FINGERPRINT
    with pytest.raises(PlanError, match=r"g\.json does not exist"):
        read_fingerprint(tmp_path / "g.json")
