"""Sections as words of a command line, and back."""

from __future__ import annotations

import json

import pytest

from segflow.contracts.errors import ConfigurationError
from segflow.recipes.inference import InferenceRecipe
from segflow.recipes.planner import PlannerRecipe
from segflow.recipes.recipe import SECTIONS, Recipe, recipe_named, recipe_names
from segflow.recipes.selection import PostprocessingRecipe, SelectionRecipe
from segflow.recipes.settings import parse_settings, settings_of
from segflow.recipes.training import AugmentationRecipe, TrainingRecipe

MODELS = {name: Recipe.model_fields[name].annotation for name in SECTIONS}
EXTREMES = [
    ("planning", PlannerRecipe(spacing_mm=(0.1, 1e-17, 1e300), memory_3d=5e-324, gpu_memory_gb=1 / 3)),
    ("planning", PlannerRecipe(encoder="residual", encoder_blocks=(1,) * 99, full_batch_must_fit=True)),
    ("planning", PlannerRecipe(planner='my plan\'s "name" = a.b \\ ä\n$HOME {x}')),
    *(("planning", PlannerRecipe(planner=text)) for text in ("", "12", "null")),
    ("training", TrainingRecipe(epochs=2**31 - 1, base_width=1, learning_rate=0.1 + 0.2)),
    ("training", TrainingRecipe(batch_size={"3d_fullres": 2, "2d": 12, "3d_cascade_fullres": 1})),
    ("training", TrainingRecipe(gradient_clip_norm=1e300, momentum=-0.0)),
    ("augmentation", AugmentationRecipe(scaling=(1e-9, 1e9), p_rotation=1)),
    ("inference", InferenceRecipe(step=1, mirroring=False)),
    ("inference", InferenceRecipe(mirroring=("y", "x"))),
    ("planning", PlannerRecipe(normalization="ct", label_interpolation="nearest", patch_3d=(8, 16, 32))),
    ("training", TrainingRecipe(dice="squared", entropy_per_class=True)),
    ("selection", SelectionRecipe(prefer_single_within=1 / 3)),
    ("selection", SelectionRecipe(configurations=("3d_lowres", "2d"))),
    ("postprocessing", PostprocessingRecipe(remove_below_mm3=(0.1, 20), fill_holes=True)),
]
PRESETS = [(name, getattr(recipe_named(recipe), name)) for recipe in recipe_names() for name in SECTIONS]


@pytest.mark.parametrize(("name", "section"), EXTREMES + PRESETS)
def test_round_trip(name, section):
    words = settings_of(name, section)
    assert parse_settings(type(section), name, words) == section
    pairs = [word.split("=", 1) for word in words]
    given = {field: value for field, value in section.model_dump(mode="json").items() if value is not None}
    assert [key for key, _ in pairs] == [f"{name}.{field}" for field in given]
    assert [json.loads(text) for _, text in pairs] == list(given.values())
    assert not any("\n" in word for word in words)


def test_words_of_a_section():
    """None is left out; equal sections have equal words; swapping two values is a change."""
    training = TrainingRecipe(batch_size={"3d_fullres": 2, "2d": 1})
    words = settings_of("training", training)
    assert 'training.batch_size={"2d":1,"3d_fullres":2}' in words
    assert words == settings_of("training", TrainingRecipe(batch_size={"2d": 1, "3d_fullres": 2}))
    assert not any("base_width" in word for word in words)
    assert "training.base_width=8" in settings_of("training", TrainingRecipe(base_width=8))
    one, two = (AugmentationRecipe(p_rotation=a, p_scaling=b) for a, b in ((0.1, 0.3), (0.3, 0.1)))
    assert set(settings_of("augmentation", one)) != set(settings_of("augmentation", two))


def test_some_fields_only():
    words = settings_of("planning", PlannerRecipe(), only=("max_features_2d", "max_features_3d"))
    assert words == ("planning.max_features_3d=320", "planning.max_features_2d=512")
    assert settings_of("training", TrainingRecipe(), only=("base_width",)) == ()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], TrainingRecipe()),
        (["training.epochs=5", "training.epochs=7"], TrainingRecipe(epochs=7)),  # later words win
        (
            ['training.batch_size={"2d":1}', 'training.batch_size={"x":2}'],
            TrainingRecipe(batch_size={"x": 2}),
        ),
        (
            ["training.batch_size={2d: 1, 3d_fullres: 3}"],
            TrainingRecipe(batch_size={"2d": 1, "3d_fullres": 3}),
        ),
        (["inference.step=2", "training.epochs=5", "trainingx.epochs=9"], TrainingRecipe(epochs=5)),
        (["training.loss=ce", "training.pretrained=a=b.c"], TrainingRecipe(loss="ce", pretrained="a=b.c")),
    ],
)
def test_words_to_a_section(words, expected):
    assert parse_settings(TrainingRecipe, "training", words) == expected


@pytest.mark.parametrize("axis", ["z", "y", "x"])
def test_a_single_axis_is_no_yes(axis):
    assert parse_settings(InferenceRecipe, "inference", [f"inference.mirroring={axis}"]).mirroring == (axis,)


def test_patience_needs_scores():
    words = ["training.patience=5", "training.validation_iterations=0"]
    with pytest.raises(
        ConfigurationError, match=r"training\.patience needs the pseudo-Dice of held-out cases"
    ):
        parse_settings(TrainingRecipe, "training", words)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("training.epoch=5", r"unknown key 'epoch': did you mean 'epochs'\?"),
        ("training.zzz=5", r"unknown key 'zzz': valid keys are epochs, "),
        ("training.batch_size.2d=5", r"unknown key 'batch_size\.2d': "),
        ("training.epochs=many", r"'epochs': .* \(found 'many'\)"),
        ("training.epochs=", r"'epochs': .* \(found ''\)"),
        ("training.epochs=0", r"'epochs': .*greater than or equal to 1"),
        ("training.epochs=null", r"'epochs': "),
        ('training.batch_size={"4+d":2}', r"'batch_size\.4\+d.*': "),
        ("training.batch_size=3", r"'batch_size': "),
        ("training.batch_size={2d: 1", r"'batch_size': .*\(found '\{2d: 1'\)"),
        ("training.deep_supervision_weights=[]", r"'deep_supervision_weights': "),
        ("training.deep_supervision_weights=[1,-1]", r"'deep_supervision_weights\.1': "),
        ("training.deep_supervision_weights=[0,1]", r"the first of training\.deep_supervision_weights"),
        ("training.loss=focal", r"'loss': .*'dice_ce', 'dice_topk', 'ce' or 'dice'"),
        ("training.top_k_share=0", r"'top_k_share': "),
        ("training.patience=0", r"'patience': "),
        ("training.schedule_epochs=999", r"training\.schedule_epochs is 999, but training lasts for 1000"),
        *((f"inference.mirroring={axes}", "'mirroring") for axes in ("[]", '["w"]', "maybe", "[0]")),
        ("augmentation.p_elastic=1.1", "'p_elastic"),
        ("augmentation.elastic_magnitude=[0,0.5]", "'elastic_magnitude"),  # could fold
        ("augmentation.elastic_scale=[0,1]", "'elastic_scale"),  # too many nodes
        ("planning.gpu_memory_gb=0", "'gpu_memory_gb"),
        ("planning.gpu_memory_gb=Infinity", "'gpu_memory_gb"),
        ("planning.spacing_mm=[1,0,1]", "'spacing_mm"),
        ("planning.encoder_blocks=[]", "'encoder_blocks"),
        ("planning.base_features=0", "'base_features"),
        ("planning.low_resolution_step=1.0", "'low_resolution_step"),
        ("planning.max_poolings=0", "'max_poolings"),
        ("planning.start_patch=large", "'start_patch"),
        ("planning.patch_3d=[8,8]", "'patch_3d"),
        ("planning.normalization=minmax", "'normalization"),
        ("planning.label_interpolation=cubic", "'label_interpolation"),
        ("planning.heads=0", "'heads"),
        ("planning.lone_axis_edges=1", "'lone_axis_edges"),
        ("training.dice=cubed", "'dice'"),
        ("selection.configurations=[]", "'configurations"),
        ('selection.configurations=["2d+3d"]', "'configurations"),
        ("postprocessing.largest_component=sometimes", "'largest_component"),
        ("postprocessing.remove_below_mm3=[3,1]", r"postprocessing\.remove_below_mm3 must be ascending"),
    ],
)
def test_a_value_that_is_not_allowed_names_the_field(word, message):
    section = word.partition(".")[0]
    with pytest.raises(ConfigurationError, match=rf"^settings of {section}: {message}"):
        parse_settings(MODELS[section], section, [word])


@pytest.mark.parametrize(
    "word",
    ["training", "inference.step", "training=5", "=5", ".=", "training.=5", "", "epochs=5", "--settings"],
)
def test_a_malformed_word_of_any_section_is_refused(word):
    with pytest.raises(ConfigurationError, match=rf"setting '{word}' is not of the form SECTION\.NAME=VALUE"):
        parse_settings(TrainingRecipe, "training", ["training.epochs=5", word])
