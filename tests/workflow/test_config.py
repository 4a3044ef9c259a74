"""The configuration file and its contract say the same."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from segflow.contracts.errors import ConfigurationError
from segflow.recipes.recipe import SECTIONS, Recipe, recipe_named, recipe_names
from segflow.workflow.config import WorkflowConfig
from segflow.workflow.recipes import read_recipes, too_many_gpus

FILES = sorted((Path(__file__).parents[2] / "config").glob("*.yaml"))
NEEDED = {"dataset": "data", "output": "results"}


def parse(data):
    return WorkflowConfig.parse(data, where="config.yaml", error=ConfigurationError)


@pytest.fixture(scope="module")
def commented(repository):
    """config.yaml, which every call reads first, with a data set."""
    content = yaml.safe_load((repository / "config" / "config.yaml").read_text())
    assert content["dataset"] is None
    return {**content, "dataset": "data"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_file_is_valid(file, commented):
    data = commented if file.name == "config.yaml" else yaml.safe_load(file.read_text())
    recipes = read_recipes(parse(data))
    assert recipes == read_recipes(parse(merged(commented, data)))
    if file.name != "config.yaml":
        assert recipes["nnunet"] != recipe_named("nnunet")


def merged(base, changes):
    """As Snakemake does it: sections key by key."""
    if not isinstance(base, dict) or not isinstance(changes, dict):
        return changes
    return {**base, **{key: merged(base.get(key), value) for key, value in changes.items()}}


def test_the_commented_file_holds_every_key_at_its_default(commented):
    assert set(commented) == set(WorkflowConfig.model_fields)
    given, plain = parse(commented), parse(NEEDED)
    assert (given.recipe_names, given.dataset_folders) == (("nnunet",), (commented["dataset"],))
    own = {"dataset": commented["dataset"], "output": commented["output"]}
    assert given.model_copy(update={**dict.fromkeys(SECTIONS), "recipe": None}) == plain.model_copy(
        update=own
    )
    for section in set(commented) - set(SECTIONS):
        expected = plain.model_dump(mode="json")[section]
        assert not isinstance(expected, dict) or set(commented[section]) == set(expected), section


@pytest.mark.parametrize("section", ["chunks", "resources", "evaluation", "report", *SECTIONS])
def test_a_section_whose_lines_are_all_commented_out_changes_nothing(section):
    given = parse({**NEEDED, section: None})
    assert (given, read_recipes(given)) == (parse(NEEDED), read_recipes(parse(NEEDED)))


@pytest.mark.parametrize("section", SECTIONS)
def test_the_commented_file_changes_no_value_of_the_recipe(section, commented):
    assert commented[section]
    assert set(commented[section]) <= set(Recipe.model_fields[section].annotation.model_fields)
    assert all(value is None or value == {} for value in commented[section].values())
    for recipe in recipe_names():
        config = parse({**NEEDED, "recipe": recipe, section: commented[section]})
        assert read_recipes(config) == {recipe: recipe_named(recipe)}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"folds": []}, "'folds"),
        ({"folds": [-1]}, r"'folds.*\.0'"),
        *(
            ({"folds": folds}, r"folds: name some, .*, or all, which .* \(found ")
            for folds in ("al", ["all"], [0, "1"])
        ),
        ({"folds": [1, 1]}, "folds names one of its entries twice"),
        ({"configurations": ["2d+3d_fullres"]}, r"'configurations.*\.0'"),
        ({"plan": "p.json", "datasets": ["a", "b"]}, "'plan': an edited plan is that of one data set"),
        ({"plan": "p.json", "planning": {"gpu_memory_gb": 9}}, "'plan': an edited plan is taken as it is"),
        ({"device": "tpu"}, "'device'"),
        ({"seed": -1}, "'seed'"),
        ({"chunks": {"cases": 0}}, r"'chunks\.cases'"),
        ({"chunks": {"most": 0}}, r"'chunks\.most'"),
        ({"chunks": {"preprocess": 3}}, r"unknown key 'chunks\.preprocess'"),
        ({"resources": {"gpus": 0}}, r"'resources\.gpus'"),
        ({"resources": {"workers": -1}}, r"'resources\.workers'"),
        ({"resources": {"threads": 0}}, r"'resources\.threads'"),
        ({"resources": {"mem": 1}}, r"unknown key 'resources\.mem': did you mean 'mem_mb'\?"),
        ({"report": {"overlays": -1}}, r"'report\.overlays'"),
        ({"evaluation": {"metrics": ["dicee"]}}, r"'evaluation\.metrics"),
        ({"evaluation": {"metrics": []}}, r"'evaluation\.metrics"),
        ({"evaluation": {"nsd_tolerance_mm": 0}}, r"'evaluation\.nsd_tolerance_mm"),
        ({"evaluation": {"nsd_tolerance_mm": {"lesion": -1}}}, r".*'evaluation\.nsd_tolerance_mm\.lesion'"),
        ({"metrics": ["nsd"]}, "unknown key 'metrics': did you mean 'evaluation.metrics'"),
        ({"trainng": {}}, r"unknown key 'trainng': did you mean 'training'\?"),
        ({"dataset_folders": 1}, r"unknown key 'dataset_folders': did you mean 'datasets'\?"),
        ({"datasets": "data"}, "'datasets'"),
        ({"training": 3}, "'training'"),
        ({"output": None}, "'output'"),
        ({"dataset": None}, r"name a data set: dataset: FOLDER, or datasets: \[FOLDER, \.\.\.\], in a file"),
        (
            {"dataset": None, "datasets": []},
            r"name a data set: dataset: FOLDER, or datasets: \[FOLDER, \.\.\.\], in a file",
        ),
        ({"datasets": ["a/data", "b/data"]}, "two data sets have the same folder name"),
        ({"datasets": ["data", "data"]}, "two data sets have the same folder name"),
        ({"datasets": ["data", "b/data/"]}, "two data sets have the same folder name"),
        ({"dataset": "a/benchmarks"}, "a data set's folder cannot be called 'benchmarks'"),
        ({"configurations": "2d"}, r".*'configurations': it must be a list: write \[2d\] \(found '2d'\)"),
        ({"folds": 0}, r".*'folds': it must be a list: write \[0\] \(found 0\)"),
        ({"recipes": "resenc"}, r"'recipes': it must be a list: write \[resenc\]"),
        *(
            ({key: "a/{x}/b"}, rf"'{key}': .*a/{{x}}/b has a brace in it")
            for key in ("output", "dataset", "plan")
        ),
        ({"recipes": ["nnunet", "b{.yaml"]}, r"'recipes\.1': .*b{\.yaml has a brace in it"),
        ({"output": ""}, "'output': String should have at least 1 character"),
        ({"seed": 2**63}, "'seed'"),
        ({"resources": {"checkpoint_minutes": float("inf")}}, r"'resources\.checkpoint_minutes'"),
        ({"resources": {"mem_mb": 10**12}}, r"'resources\.mem_mb'"),
        ({"dataset": ".."}, "a data set needs a folder with a name"),
        (
            {"dataset": "a/b", "output": "./a"},
            "the results of b would be written into the data set itself, .*a/b; name",
        ),
    ],
)
def test_values_that_are_refused(data, message):
    with pytest.raises(ConfigurationError, match=rf"^config\.yaml: {message}"):
        parse({**NEEDED, **data})


@pytest.mark.parametrize(
    ("section", "changes", "message"),
    [
        ("training", {"epochs": "many"}, r"'training\.epochs': "),
        ("training", {"epoch": 1}, r"unknown key 'training\.epoch': did you mean 'epochs'"),
        ("training", {"batch_size": {"4 d": 2}}, r"'training\.batch_size\.4 d"),
        ("planning", {"spacing_mm": [1, 1]}, r"'planning\.spacing_mm\.2': "),
        ("augmentation", {"p_rotate": 1}, r"unknown key 'augmentation\.p_rotate': did you mean 'p_rotation'"),
        *(("augmentation", {name: 2}, rf"'augmentation\.{name}': ") for name in ("p_noise", "p_mirror_axis")),
        ("augmentation", {"blur_sigma": [0, 1e9]}, r"'augmentation\.blur_sigma\.1': "),
        ("augmentation", {"scaling": [1.5, 0.7]}, r"'augmentation\.scaling': .* swap them"),
        ("augmentation", {"gamma_split": [1.5, 0.7]}, r"'augmentation\.gamma_split': .*, not 1\.5 to 0\.7"),
        ("augmentation", {"scaling": [0, 1]}, r"'augmentation\.scaling\.0': "),
        ("training", {"epochs": 10**30}, r"'training\.epochs': "),
        ("training", {"momentum": 1}, r"'training\.momentum': "),
        *(
            ("training", {name: float(value)}, rf"'training\.{name}': ")
            for name in ("learning_rate", "weight_decay", "gradient_clip_norm", "schedule_exponent")
            for value in ("inf", "nan", "-1")
        ),
        ("inference", {"step": 1e-9}, r"'inference\.step': "),
        ("inference", {"gaussian_sigma": 0}, r"'inference\.gaussian_sigma': "),
        ("planning", {"plans_name": "../x"}, r"'planning\.plans_name': a name must be of letters, digits"),
        ("planning", {"data_name": "a b"}, r"'planning\.data_name': a name must be of letters, digits"),
        ("postprocessing", {"remove_below_mm3": [20, 5]}, r".*_below_mm3 must be ascending .*20\.0, 5\.0"),
    ],
)
def test_values_no_recipe_can_have(section, changes, message):
    config = parse({**NEEDED, section: changes})
    with pytest.raises(ConfigurationError, match=rf"^configuration: {message}"):
        read_recipes(config)


def test_paths_are_those_that_their_user_means(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    config = parse({"datasets": ["~/a/", "./b//c"], "output": "-x", "plan": None, "recipe": "~/r.yaml"})
    assert config.dataset_folders == (f"{tmp_path}/a", "b/c")
    assert (config.output, config.recipe_names) == (str(Path("-x").absolute()), (f"{tmp_path}/r.yaml",))
    recipe = recipe_named("nnunet").training.parse({"pretrained": "~/w"}, where="", error=ConfigurationError)
    assert recipe.pretrained_file("2d") == f"{tmp_path}/w"


def test_lists_go_before_single_entries():
    assert parse(NEEDED).dataset_folders == ("data",)
    assert parse({**NEEDED, "datasets": ["a", "b/c"]}).dataset_folders == ("a", "b/c")
    assert parse(NEEDED).recipe_names == ("nnunet",)
    assert parse({**NEEDED, "recipe": "nnunet", "recipes": ["a.yaml", "b"]}).recipe_names == ("a.yaml", "b")


def test_batches_that_are_smaller_than_the_number_of_gpus():
    planned = {"2d": SimpleNamespace(batch_size=12), "3d_fullres": SimpleNamespace(batch_size=2)}

    def said(**changes):
        config = WorkflowConfig(dataset="data", output="results", **{"resources": {"gpus": 3}, **changes})
        return too_many_gpus(config, read_recipes(config)["nnunet"], planned)

    assert said().startswith("resources.gpus is 3, and a batch of 3d_fullres is of 2 patches")
    assert said(training={"batch_size": {"2d": 2, "3d_fullres": 4}}).startswith(
        "resources.gpus is 3, and a batch of 2d"
    )
    for enough in (
        {"training": {"batch_size": {"3d_fullres": 3}}},
        {"device": "cpu"},
        {"resources": {"gpus": 2}},
    ):
        assert said(**enough) is None


@pytest.mark.parametrize(
    ("key", "where"),
    [
        ("epochs", "training.epochs"),
        ("gpus", "resources.gpus"),
        ("mirroring", "inference.mirroring"),
        ("cases", "chunks.cases"),
    ],
)
def test_a_key_outside_its_section(key, where):
    with pytest.raises(ConfigurationError, match=f"unknown key '{key}': did you mean '{where}'"):
        parse(NEEDED | {key: 5})
