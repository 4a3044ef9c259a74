"""Sections as words of a command line, and back."""

from __future__ import annotations

import json
import math

import pytest

from segflow.contracts.errors import ConfigurationError
from segflow.recipes.inference import InferenceRecipe
from segflow.recipes.planner import PlannerRecipe
from segflow.recipes.recipe import Recipe, recipe_named, recipe_names
from segflow.recipes.selection import PostprocessingRecipe, SelectionRecipe
from segflow.recipes.settings import parse_settings, settings_of
from segflow.recipes.training import AugmentationRecipe, TrainingRecipe

SECTIONS = {
    "planning": PlannerRecipe,
    "training": TrainingRecipe,
    "augmentation": AugmentationRecipe,
    "inference": InferenceRecipe,
    "selection": SelectionRecipe,
    "postprocessing": PostprocessingRecipe,
}
EXTREMES = [
    ("planning", PlannerRecipe(spacing_mm=(0.1, 1e-17, 1e300), memory_3d=5e-324, gpu_memory_gb=1 / 3)),
    ("planning", PlannerRecipe(encoder="residual", encoder_blocks=(1, 3, 4, 6), full_batch_must_fit=True)),
    ("planning", PlannerRecipe(plans_name='my plan\'s "name" = a.b \\ ä\n$HOME {x}')),
    ("planning", PlannerRecipe(plans_name="")),
    ("planning", PlannerRecipe(plans_name="12")),
    ("planning", PlannerRecipe(plans_name="null")),
    ("planning", PlannerRecipe(encoder_blocks=(1,) * 99, data_name="a b")),
    ("training", TrainingRecipe(epochs=10**30, base_width=1, learning_rate=0.1 + 0.2)),
    ("training", TrainingRecipe(batch_size={"3d_fullres": 2, "2d": 12, "3d_cascade_fullres": 1})),
    ("training", TrainingRecipe(gradient_clip_norm=math.inf, momentum=-0.0)),
    ("augmentation", AugmentationRecipe(scaling=(0.0, 1e-9), p_rotation=1)),
    ("training", TrainingRecipe(epochs=3, schedule_epochs=9, patience=2, loss="dice_topk", top_k_share=1)),
    ("training", TrainingRecipe(deep_supervision_weights=(1e-9, 0, 3))),
    ("augmentation", AugmentationRecipe(p_elastic=1, elastic_scale=(1, 1), elastic_magnitude=(0.4, 0))),
    ("inference", InferenceRecipe(step=1, mirroring=False)),
    ("inference", InferenceRecipe(mirroring=("y", "x"))),
    ("selection", SelectionRecipe(prefer_single_within=1 / 3)),
    ("postprocessing", PostprocessingRecipe(largest_component=False)),
    ("postprocessing", PostprocessingRecipe(remove_below_mm3=(0.1, 20), fill_holes=True)),
]


def test_these_are_all_sections():
    sections = {name: field.annotation for name, field in Recipe.model_fields.items() if name != "name"}
    assert sections == SECTIONS


@pytest.mark.parametrize("name", SECTIONS)
@pytest.mark.parametrize("recipe", recipe_names())
def test_round_trip(recipe, name):
    section = getattr(recipe_named(recipe), name)
    words = settings_of(name, section)
    assert parse_settings(SECTIONS[name], name, words) == section
    assert settings_of(name, parse_settings(SECTIONS[name], name, words)) == words


@pytest.mark.parametrize(("name", "section"), EXTREMES)
def test_round_trip_of_extremes(name, section):
    assert parse_settings(type(section), name, settings_of(name, section)) == section


@pytest.mark.parametrize(("name", "kind"), SECTIONS.items())
def test_one_word_per_value_with_its_name(name, kind):
    section = kind()
    words = settings_of(name, section)
    pairs = [word.split("=", 1) for word in words]
    given = {field: value for field, value in section.model_dump(mode="json").items() if value is not None}
    assert [key for key, _ in pairs] == [f"{name}.{field}" for field in given]
    assert [json.loads(text) for _, text in pairs] == list(given.values())


def test_none_is_left_out():
    assert not [word for word in settings_of("training", TrainingRecipe()) if "base_width" in word]
    assert "training.base_width=8" in settings_of("training", TrainingRecipe(base_width=8))
    assert not [word for word in settings_of("planning", PlannerRecipe()) if "spacing_mm" in word]


def test_some_fields_only():
    words = settings_of("planning", PlannerRecipe(), only=("max_features_2d", "max_features_3d"))
    assert words == ("planning.max_features_3d=320", "planning.max_features_2d=512")
    assert settings_of("training", TrainingRecipe(), only=("base_width",)) == ()


def test_equal_sections_have_equal_words():
    one = TrainingRecipe(batch_size={"2d": 1, "3d_fullres": 2})
    two = TrainingRecipe(batch_size={"3d_fullres": 2, "2d": 1})
    assert settings_of("training", one) == settings_of("training", two)
    assert 'training.batch_size={"2d":1,"3d_fullres":2}' in settings_of("training", one)


def test_two_values_that_trade_places_are_a_change():
    one = AugmentationRecipe(p_rotation=0.1, p_scaling=0.3)
    two = AugmentationRecipe(p_rotation=0.3, p_scaling=0.1)
    assert set(settings_of("augmentation", one)) != set(settings_of("augmentation", two))


def test_a_word_holds_no_line_break_and_no_text_before_its_name():
    for name, section in EXTREMES:
        for word in settings_of(name, section):
            assert word.startswith(f"{name}.")
            assert "\n" not in word


def test_no_words_mean_the_defaults():
    assert parse_settings(TrainingRecipe, "training", ()) == TrainingRecipe()


def test_later_words_win():
    found = parse_settings(TrainingRecipe, "training", ["training.epochs=5", "training.epochs=7"])
    assert found == TrainingRecipe(epochs=7)


def test_later_words_replace_a_mapping_as_a_whole():
    words = ['training.batch_size={"2d":1}', 'training.batch_size={"3d_fullres":2}']
    assert parse_settings(TrainingRecipe, "training", words).batch_size == {"3d_fullres": 2}


def test_words_of_other_sections_are_passed_over():
    words = ["inference.step=0.25", "training.epochs=5", "elsewhere.epochs=9", "trainingx.epochs=9"]
    assert parse_settings(TrainingRecipe, "training", words) == TrainingRecipe(epochs=5)
    assert parse_settings(InferenceRecipe, "inference", words) == InferenceRecipe(step=0.25)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("training.epoch=5", r"unknown key 'epoch': did you mean 'epochs'\?"),
        ("training.learningrate=5", r"unknown key 'learningrate': did you mean 'learning_rate'\?"),
        ("training.zzz=5", r"unknown key 'zzz': valid keys are epochs, "),
        ("training.batch_size.2d=5", r"unknown key 'batch_size\.2d': "),
        ("training.epochs=many", r"'epochs': .* \(found 'many'\)"),
        ("training.epochs=", r"'epochs': .* \(found ''\)"),
        ("training.epochs=0", r"'epochs': .*greater than or equal to 1"),
        ("training.epochs=1.5", r"'epochs': "),
        ("training.epochs=null", r"'epochs': "),
        ("training.epochs= =", r"'epochs': .* \(found ' ='\)"),
        ('training.batch_size={"4+d":2}', r"'batch_size\.4\+d.*': "),
        ("training.batch_size=3", r"'batch_size': "),
        ("training.deep_supervision=perhaps", r"'deep_supervision': "),
        ("training.deep_supervision_weights=[]", r"'deep_supervision_weights': "),
        ("training.deep_supervision_weights=[1,-1]", r"'deep_supervision_weights\.1': "),
        ("training.deep_supervision_weights=[0,1]", r"the first of training\.deep_supervision_weights"),
        ("training.loss=focal", r"'loss': .*'dice_ce', 'dice_topk', 'ce' or 'dice'"),
        ("training.top_k_share=0", r"'top_k_share': "),
        ("training.top_k_share=1.1", r"'top_k_share': "),
        ("training.patience=0", r"'patience': "),
        (
            "training.schedule_epochs=999",
            r"training\.schedule_epochs is 999, but training lasts for 1000 epochs",
        ),
    ],
)
def test_what_is_not_allowed_names_the_field(word, message):
    with pytest.raises(ConfigurationError, match=rf"^settings of training: {message}"):
        parse_settings(TrainingRecipe, "training", [word])


def test_text_that_is_no_json_is_taken_as_it_is():
    words = ["planning.encoder=residual", "planning.plans_name=a=b.c"]
    found = parse_settings(PlannerRecipe, "planning", words)
    assert found == PlannerRecipe(encoder="residual", plans_name="a=b.c")


@pytest.mark.parametrize(
    "word",
    ["training", "training.epochs", "training=5", "=5", ".=", "training.=5", "", "epochs=5", "--settings"],
)
def test_a_malformed_word_is_refused(word):
    with pytest.raises(ConfigurationError, match=r"setting '.*' is not of the form SECTION\.NAME=VALUE"):
        parse_settings(TrainingRecipe, "training", ["training.epochs=5", word])


def test_a_malformed_word_of_another_section_is_refused_too():
    with pytest.raises(ConfigurationError, match=r"setting 'inference\.step' is not of the form"):
        parse_settings(TrainingRecipe, "training", ["inference.step"])


@pytest.mark.parametrize("word", ["[]", '["w"]', "maybe", "[0]"])
def test_mirroring_is_yes_no_or_axes(word):
    with pytest.raises(ConfigurationError, match=r"^settings of inference: 'mirroring"):
        parse_settings(InferenceRecipe, "inference", [f"inference.mirroring={word}"])


@pytest.mark.parametrize(
    "word",
    [
        "p_elastic=1.1",
        "p_elastic=-1",
        "elastic_magnitude=[0,0.5]",
        "elastic_scale=[0,1]",
        "elastic_scale=[1]",
    ],
)
def test_deformations_that_fold_or_need_too_many_nodes(word):
    with pytest.raises(ConfigurationError, match=rf"^settings of augmentation: '{word.split('=')[0]}"):
        parse_settings(AugmentationRecipe, "augmentation", [f"augmentation.{word}"])
