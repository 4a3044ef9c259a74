"""plans.json in the peer's format, and back."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from case_samples import INTENSITIES

from segflow.contracts.errors import PlanError
from segflow.contracts.fingerprint import Fingerprint
from segflow.contracts.plan import CONFIGURATION_NAMES, Fold
from segflow.nnunet.fingerprint import read_fingerprint
from segflow.nnunet.folds import read_folds, write_folds
from segflow.nnunet.parts import read_configuration, read_preparation, write_parts
from segflow.nnunet.plans import custom_configurations, plan_from_json, plan_to_json, read_plan, write_plan
from segflow.planning.plan import PlanInput, make_plan
from segflow.recipes.planner import PlannerRecipe
from segflow.storage.files import write_json
from segflow.workflow.code import closure

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


@pytest.mark.data
def test_published_plans_are_the_same_when_written_again(shared):
    files = sorted((shared / "reference" / "plans").glob("*/*lans.json"))
    assert len(files) == 10
    for file in files:
        plan = read_plan(file)
        written = plan_to_json(plan)
        assert plan_from_json(written, where="again") == plan
        expected = json.loads(file.read_text())
        if all("UNet_class_name" not in entry for entry in expected["configurations"].values()):
            assert written == expected


def test_names_of_others_are_kept(tmp_path):
    named = sample_plan().model_copy(update={"planner": "MyPlanner", "image_reader_writer": "MyReader"})
    data = plan_to_json(named)
    assert (data["experiment_planner_used"], data["image_reader_writer"]) == ("MyPlanner", "MyReader")
    write_plan(tmp_path / "plans.json", named)
    assert read_plan(tmp_path / "plans.json") == named


def test_an_edited_cascade_is_not_lost():
    data = plan_to_json(sample_plan(CASCADE))
    data["configurations"]["3d_cascade_fullres"]["batch_size"] = 7
    plan = understood(data)
    assert plan.configurations["3d_cascade_fullres"].batch_size == 7
    assert plan_to_json(plan)["configurations"]["3d_cascade_fullres"] == {
        "inherits_from": "3d_fullres",
        "batch_size": 7,
        "previous_stage": "3d_lowres",
    }
    assert understood(plan_to_json(plan)) == plan


def test_a_cascade_that_lacks_a_key_of_its_parent_is_written_in_full():
    data = plan_to_json(sample_plan(CASCADE))
    full, cascade = data["configurations"]["3d_fullres"], data["configurations"]["3d_cascade_fullres"]
    cascade |= {key: value for key, value in full.items() if key not in cascade}
    del cascade["inherits_from"]
    full["next_stage"] = "2d"
    plan = understood(data)
    assert plan.configurations["3d_cascade_fullres"].next_stage is None
    assert understood(plan_to_json(plan)) == plan


@pytest.fixture
def edited(tmp_path):
    """A plans.json to which somebody has added configurations."""
    data = plan_to_json(sample_plan())
    data["configurations"] |= {
        "small": {"inherits_from": "3d_fullres", "batch_size": 7},
        "smaller": {"inherits_from": "small", "patch_size": [4, 64, 64]},
    }
    write_json(tmp_path / "plans.json", data)
    return tmp_path / "plans.json"


def test_custom_configurations_survive_a_new_plan(edited):
    custom = custom_configurations(edited)
    assert list(custom) == ["small", "smaller"]
    finer = sample_plan(recipe=PlannerRecipe(spacing_mm=(0.8, 3.0, 0.8)))
    written = write_plan(edited, finer, custom=custom)
    assert read_plan(edited) == written
    assert list(written.configurations) == ["2d", "3d_fullres", "small", "smaller"]
    small = written.configurations["small"]
    assert (small.batch_size, small.spacing_mm) == (7, (3.0, 0.8, 0.8))  # what it inherits is new
    assert written.configurations["2d"] == finer.configurations["2d"]


def test_a_custom_configuration_that_does_not_fit_the_new_plan(edited):
    before = edited.read_text()
    wrong = {"small": {"inherits_from": "3d_lowres"}}
    with pytest.raises(PlanError, match=r"small inherits from 3d_lowres, which does not exist"):
        write_plan(edited, sample_plan(), custom=wrong)
    assert edited.read_text() == before


def test_there_may_be_no_plan_yet(tmp_path):
    assert custom_configurations(tmp_path / "plans.json") == {}


@pytest.mark.parametrize("content", [[], {}, {"configurations": ["2d"]}, "text"])
def test_a_file_that_is_no_plan_is_not_overwritten(content, tmp_path):
    write_json(tmp_path / "plans.json", content)
    with pytest.raises(PlanError, match=r"plans\.json exists and is not a plan; remove it"):
        custom_configurations(tmp_path / "plans.json")


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


def test_configurations_of_others_have_parts_as_well(tmp_path):
    data = plan_to_json(sample_plan())
    data["configurations"]["small"] = {"inherits_from": "3d_fullres", "batch_size": 7}
    found = parts_of(tmp_path, understood(data))
    assert set(found) == {*PARTS, "network/small.json", "preparation/small.json"}
    assert found["preparation/small.json"] == found["preparation/3d_fullres.json"]
    assert read_configuration(tmp_path / "network" / "small.json").batch_size == 7


def test_a_cascade_is_prepared_as_the_full_resolution(tmp_path):
    found = parts_of(tmp_path, sample_plan(CASCADE))
    assert found["preparation/3d_cascade_fullres.json"] == found["preparation/3d_fullres.json"]
    assert found["preparation/3d_lowres.json"] != found["preparation/3d_fullres.json"]


def test_training_does_not_depend_on_the_format_of_nnunets_plans():
    """A change there must not train anything anew."""
    rules = {"segflow.nnunet.plans", "segflow.nnunet.configuration"}
    assert rules <= set(closure("segflow.commands.plan"))
    assert not rules & set(closure("segflow.commands.train"))


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


def test_the_order_of_preparation_is_kept(tmp_path):
    """The peer does not know the other order, and must not prepare such cases in its own."""
    plan = sample_plan(CASCADE, PlannerRecipe(resample_first=True))
    written = plan_to_json(plan)
    assert written["configurations"]["2d"]["preprocessor_name"] == "ResampleFirstPreprocessor"
    assert plan_to_json(sample_plan())["configurations"]["2d"]["preprocessor_name"] == "DefaultPreprocessor"
    assert plan_from_json(json.loads(json.dumps(written)), where="plans.json") == plan
    write_parts(tmp_path, plan)
    assert all(read_preparation(file).resample_first for file in (tmp_path / "preparation").iterdir())
