"""`segflow plan` as a user calls it."""

from __future__ import annotations

import json

import pytest

from segflow.commands.main import main
from segflow.nnunet.parts import read_configuration
from segflow.nnunet.plans import read_plan

INTENSITIES = {
    "max": 4.0, "mean": 2.0, "median": 2.0, "min": 0.0, "percentile_00_5": 0.5, "percentile_99_5": 3.5, "std": 1.0,
}  # fmt: skip
DATASET = {
    "channel_names": {"1": "T1", "0": "CT"},  # not in order
    "labels": {"background": 0, "whole": [1, 2], "core": [2], "ignore": 3},
    "regions_class_order": [1, 2],
    "numTraining": 100,
    "file_ending": ".nii",
}
FINGERPRINT = {
    "foreground_intensity_properties_per_channel": {"0": INTENSITIES, "1": INTENSITIES},
    "median_relative_size_after_cropping": 0.5,
    "shapes_after_crop": [[36, 50, 35]] * 100,
    "spacings": [[1.0, 1.0, 1.0]] * 100,
}


@pytest.fixture
def call(tmp_path):
    """A function that plans, and gives the exit status; options replace the default ones."""
    (tmp_path / "dataset.json").write_text(json.dumps(DATASET))
    (tmp_path / "fingerprint.json").write_text(json.dumps(FINGERPRINT))

    def plan(*words, dataset=None, fingerprint=None):
        for name, changes in (("dataset", dataset), ("fingerprint", fingerprint)):
            if changes is not None:
                file = tmp_path / f"{name}.json"
                file.write_text(json.dumps(json.loads(file.read_text()) | changes))
        return main([
            "plan", "--dataset", str(tmp_path / "dataset.json"),
            "--fingerprint", str(tmp_path / "fingerprint.json"),
            "--output", str(tmp_path / "plans.json"), "--no-forecast", *map(str, words),
        ])  # fmt: skip

    return plan


@pytest.fixture
def plan_of(call, tmp_path):
    """A function that gives the plan."""

    def plan(*words, **changes):
        assert call(*words, **changes) == 0
        return read_plan(tmp_path / "plans.json")

    return plan


def test_the_default(plan_of, tmp_path):
    plan = plan_of()
    assert (plan.plans_name, plan.planner, plan.image_reader_writer) == (
        "nnUNetPlans",
        "ExperimentPlanner",
        "NibabelIO",
    )
    assert plan.dataset_name == tmp_path.name
    assert plan.configurations["2d"].normalization == ("ct", "zscore")
    assert plan.configurations["2d"].mask_normalization == (False, True)
    assert plan == plan_of("--recipe", "nnunet")


def test_a_reader_that_dataset_json_asks_for(plan_of):
    plan = plan_of(dataset={"overwrite_image_reader_writer": "NibabelIOWithReorient"})
    assert plan.image_reader_writer == "NibabelIOWithReorient"


@pytest.mark.parametrize(
    ("name", "plans_name", "batch"),
    [
        ("resenc", "nnUNetResEncUNetPlans", 4),
        ("resenc-m", "nnUNetResEncUNetMPlans", 57),
        ("resenc-l", "nnUNetResEncUNetLPlans", 70),
        ("resenc-xl", "nnUNetResEncUNetXLPlans", 70),
    ],
)
def test_a_recipe_by_name(name, plans_name, batch, plan_of):
    plan = plan_of("--recipe", name)
    assert plan.plans_name == plans_name
    full = plan.configurations["3d_fullres"]
    assert (full.architecture.encoder, full.data_identifier) == ("residual", "nnUNetPlans_3d_fullres")
    assert full.batch_size == batch


def test_a_recipe_from_a_file(plan_of, tmp_path):
    (tmp_path / "mine.yaml").write_text("based_on: resenc-m\nplanning: {plans_name: mine, gpu_memory_gb: 4}")
    plan = plan_of("--recipe", tmp_path / "mine.yaml")
    assert plan.plans_name == "mine"
    assert 20 < plan.configurations["3d_fullres"].batch_size < 40


def test_what_is_given_besides_goes_before_the_recipe(plan_of):
    by_settings = plan_of("--recipe", "resenc-l", "--settings", "planning.gpu_memory_gb=8.0")
    assert plan_of("--recipe", "resenc-l", "--gpu-memory", 8) == by_settings
    assert plan_of("--gpu-memory", 8, "--recipe", "resenc-l") == by_settings
    assert (
        by_settings.configurations["2d"].batch_size
        < plan_of("--recipe", "resenc-l").configurations["2d"].batch_size
    )


def test_a_target_spacing(plan_of):
    plan = plan_of("--spacing", 1, 2, 1)
    assert plan == plan_of("--settings", "planning.spacing_mm=[1,2,1]")
    assert plan.transpose_forward == (1, 0, 2)
    assert plan.configurations["3d_fullres"].spacing_mm == (2.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--recipe", "nnunett"], "there is no recipe 'nnunett'; choose one of nnunet, flare21, nnunet-2018"),
        (["--recipe", "none.yaml"], "none.yaml cannot be read"),
        (["--gpu-memory", "0"], "'gpu_memory_gb': Input should be greater than 0 (found 0.0)"),
        (["--gpu-memory", "inf"], "'gpu_memory_gb': Input should be a finite number"),
        (["--gpu-memory", "1e-12"], "no network fits the memory to plan for"),
        (["--spacing", "1", "0", "1"], "'spacing_mm.1': Input should be greater than 0 (found 0.0)"),
        (["--spacing", "1", "-2", "1"], "'spacing_mm.1': Input should be greater than 0 (found -2.0)"),
        (["--settings", "planning.gpu_memory=3"], "unknown key 'gpu_memory': did you mean 'gpu_memory_gb'?"),
        (["--edited", "none.json"], "none.json does not exist"),
    ],
)
def test_a_wrong_call_is_one_message_and_status_1(words, message, call, capsys, tmp_path):
    assert call(*words) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert message in said
    assert "Traceback" not in said
    assert not (tmp_path / "plans.json").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fingerprint": {"spacings": [[1.0, 0.0, 1.0]] * 100}}, "a spacing that is not above 0 mm"),
        ({"fingerprint": {"spacing": []}}, "unknown key 'spacing': did you mean 'spacings'?"),
    ],
)
def test_wrong_data_is_one_message_and_status_1(changes, message, call, capsys):
    assert call(**changes) == 1
    assert message in " ".join(capsys.readouterr().err.split())


def add(file, **configurations):
    data = json.loads(file.read_text())
    data["configurations"] |= configurations
    file.write_text(json.dumps(data))


def test_planning_again_keeps_what_others_have_added(plan_of, tmp_path):
    plan_of()
    add(tmp_path / "plans.json", small={"inherits_from": "3d_fullres", "batch_size": 3})
    again = plan_of("--recipe", "resenc")
    assert list(again.configurations) == ["2d", "3d_fullres", "small"]
    small = again.configurations["small"]
    assert (small.batch_size, small.architecture.encoder) == (3, "residual")


def test_a_plan_with_parts_is_the_planners_alone(plan_of, tmp_path):
    plan_of()
    add(tmp_path / "plans.json", small={"inherits_from": "3d_fullres", "batch_size": 3})
    assert list(plan_of("--parts", tmp_path / "parts").configurations) == ["2d", "3d_fullres"]


def test_an_edited_plan_is_resolved(plan_of, tmp_path):
    planned = plan_of()
    edited = tmp_path / "edited.json"
    edited.write_text((tmp_path / "plans.json").read_text())
    add(edited, small={"inherits_from": "3d_fullres", "batch_size": 3})
    plan = plan_of("--edited", edited, "--parts", tmp_path / "parts")
    assert plan.configurations["3d_fullres"] == planned.configurations["3d_fullres"]
    written = json.loads((tmp_path / "plans.json").read_text())["configurations"]["small"]
    assert "inherits_from" not in written
    assert read_configuration(tmp_path / "parts" / "network" / "small.json").batch_size == 3


@pytest.mark.parametrize(
    "words",
    [
        ["--recipe", "resenc"],
        ["--gpu-memory", 4],
        ["--spacing", 1, 1, 1],
        ["--settings", "planning.min_edge=2"],
    ],
)
def test_an_edited_plan_is_not_planned_over(words, plan_of, call, tmp_path, capsys):
    plan_of()
    (tmp_path / "plans.json").rename(tmp_path / "edited.json")
    assert call("--edited", tmp_path / "edited.json", *words) == 1
    assert "is taken as it is: leave out --recipe" in " ".join(capsys.readouterr().err.split())


def test_an_edited_plan_for_other_channels(plan_of, call, tmp_path, capsys):
    plan_of()
    (tmp_path / "plans.json").rename(tmp_path / "edited.json")
    assert call("--edited", tmp_path / "edited.json", dataset={"channel_names": {"0": "CT"}}) == 1
    assert "is for 2 channels, but dataset.json names 1" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        ("plan", "--recipe STR Name of a recipe, or a YAML file"),
        ("package", "--recipe STR Its name, for people"),
    ],
)
def test_help_says_what_a_recipe_is(verb, said, capsys):
    assert main([verb, "--help"]) == 0
    assert said in " ".join(capsys.readouterr().out.split())


def test_networks_of_another_plan(plan_of, tmp_path):
    """To fine-tune them: patches fit their strides, all else is of the data."""
    own, file = plan_of(), tmp_path / "other.json"
    content = json.loads((tmp_path / "plans.json").read_text())
    network = content["configurations"]["2d"]["architecture"]["arch_kwargs"]
    content["configurations"] = {"2d": content["configurations"]["2d"]}
    content["configurations"]["2d"]["spacing"] = [9.0, 9.0]
    network["strides"][1] = [4, 2]
    content["configurations"]["2d"]["patch_size"] = [256, 256]
    file.write_text(json.dumps(content))
    made = plan_of("--architecture-of", file)
    changed, before = made.configurations["2d"], own.configurations["2d"]
    assert changed.architecture.strides[1] == (4, 2)
    assert changed.spacing_mm == before.spacing_mm
    divisor = 2 * 2 ** (len(before.architecture.strides) - 1)
    assert 0 <= changed.patch_shape[0] - before.patch_shape[0] < divisor
    assert changed.patch_shape[0] % divisor == 0
    assert changed.patch_shape[1] == before.patch_shape[1]
    assert {k: v for k, v in made.configurations.items() if k != "2d"} == {
        k: v for k, v in own.configurations.items() if k != "2d"
    }
