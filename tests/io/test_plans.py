"""plans.json in the peer's format, and back."""

from __future__ import annotations

import copy
import json

import pytest
from case_samples import INTENSITIES

from segflow.contracts.errors import PlanError
from segflow.contracts.fingerprint import Fingerprint
from segflow.contracts.folds import Fold
from segflow.io.files import write_json
from segflow.io.plans import (
    plan_from_json,
    plan_to_json,
    read_fingerprint,
    read_folds,
    read_plan,
    write_folds,
    write_plan,
)
from segflow.planning import PlanInput, make_plan
from segflow.recipes import PlannerRecipe, Recipe, recipe_named

FINGERPRINT = Fingerprint(
    foreground_intensity_properties_per_channel={"0": INTENSITIES, "1": INTENSITIES},
    median_relative_size_after_cropping=0.5,
    shapes_after_crop=((512, 24, 480), (500, 25, 480)),
    spacings=((0.8, 6.0, 0.8), (0.8, 5.0, 0.8)),
)
SAMPLE = PlanInput(name="Sample", channel_names=("CT", "T1"), n_cases=40, n_outputs=3)
RESIDUAL = Recipe(
    name="nnunet", planner=PlannerRecipe(encoder="residual", encoder_blocks=(1, 3, 4, 6), decoder_blocks=1)
)
CASCADE = FINGERPRINT.model_copy(
    update={"shapes_after_crop": ((432, 512, 512),) * 2, "spacings": ((1.0, 0.75, 0.75),) * 2}
)


def sample_plan(fingerprint=FINGERPRINT, recipe=None):
    return make_plan(fingerprint, SAMPLE, recipe or recipe_named("nnunet"))


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
