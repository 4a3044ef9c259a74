"""The method in words: sentences with the numbers of real fingerprints, and of a choice."""

from __future__ import annotations

from dataclasses import replace

import pytest
from case_samples import REGIONS
from reference_plans import inputs_of
from report_samples import NAN, bootstrap, candidate, postprocessing_of, report_data, summary

from segflow.contracts.reasons import PlanReasons
from segflow.contracts.scores import Operation, Selection, Step
from segflow.planning import patch, plan, spacing
from segflow.recipes.planner import PlannerRecipe
from segflow.recipes.recipe import recipe_named
from segflow.reporting import reasons
from segflow.reporting.page.render import render_report
from segflow.reporting.reasons import choice_sentences, plan_sentences, postprocessing_sentences


def words_of(fingerprint, dataset, recipe):
    """All sentences about a plan, by topic."""
    made, found = plan.make_plan_with_reasons(fingerprint, dataset, recipe)
    data = report_data(plan=made, fingerprint=fingerprint, channel_names=dataset.channel_names)
    sentences = plan_sentences(replace(data, reasons=found))
    return {
        topic: " ".join(of_topic).replace("\N{MULTIPLICATION SIGN}", "x") for topic, of_topic in sentences
    }


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "topic", "sentence"),
    [
        ("004_Hippocampus", "Spacing", "Images are resampled to 1 x 1 x 1 mm (z, y, x), the median spacing of the 260"),
        ("LymphNodes250", "Spacing", "No axis is more than 3 times as coarse as the others, so that the median"),
        (
            "UPPECT", "Spacing",
            "Along z voxels are 5.12 times as long as along the other axes, and the image has 2.39 times fewer; as "
            "not both are more than 3, the median decides there, too.",
        ),
        ("007_Pancreas", "Spacing", "Images are resampled to 2.5 x 0.8027 x 0.8027 mm (z, y, x)."),
        (
            "005_Prostate", "Spacing",
            "Along z voxels are 5.76 times as long as along the other axes, and the image has 15.97 times fewer: "
            "both are more than 3, so that not the median decides along z, but the 10th percentile, 3.6 mm,",
        ),
        ("RaSPDAM", "Spacing", "Images are resampled to 1 x 1 mm in plane, the median spacing of the 9999 cases."),
        ("RaSPDAM", "Configurations", "Images have a single slice, so that only 2d is planned."),
        ("002_Heart", "Configurations", "2d and 3d_fullres are planned for all volumes"),
        ("002_Heart", "Configurations", "covers 28.8 % of the median image, not less than 25 %, so that no lower"),
        ("004_Hippocampus", "Configurations", "covers all of the median image, not less than 25 %"),
        (
            "003_Liver", "Configurations",
            "A patch of 3d_fullres covers 1.66 % of the median image, less than 25 %, and sees little of what is "
            "around it. So there is 3d_lowres, whose spacing of 2.5 x 1.919 x 1.919 mm lets a patch cover 25.9 %, "
            "and 3d_cascade_fullres,",
        ),
        (
            "005_Prostate", "3d_fullres",
            "The search for a patch begins with 20 x 320 x 320 voxels; the median image has 20 x 320 x 319 voxels. "
            "It was shortened once, along the axis that covers most of the image, until the network fits: with 20 x "
            "320 x 256 a batch of 2 takes 86.3 % of the memory that is planned for (a GPU with 8 GB).",
        ),
        ("LymphNodes250-L", "3d_fullres", "It was shortened 7 times, each time along the axis that covers most"),
        ("LymphNodes250-L", "2d", "a batch of 12 takes 36.1 % of the memory that is planned for (a GPU with 24 GB)"),
        ("MSSEG", "2d", "begins with 224 x 192 voxels, and ends with it: a batch of 2 takes 2.65 % of the memory"),
        (
            "004_Hippocampus", "3d_fullres",
            "58.41 patches would fit, and 9 have 5 % of the voxels of all cases, the most that a batch may have. The "
            "planned size is 9:",
        ),
        ("003_Liver", "2d", "12.31 patches would fit, and 3157 have 5 % of the voxels of all cases, the most"),
        (
            "007_Pancreas", "3d_fullres",
            "The network halves the patch 3, 5 and 5 times along its axes, to 5 x 7 x 7 voxels (6 stages): as long "
            "as an edge keeps 4 voxels,",
        ),
        ("007_Pancreas", "3d_fullres", "The first stage has kernels of 1 x 3 x 3, as voxels are at least twice as"),
        ("UPPECT", "3d_fullres", "The first 2 stages have kernels of 1 x 3 x 3"),
        (
            "003_Liver", "Normalisation",
            "Intensities of CT are clipped to the 0.5 and 99.5 percentiles of the annotated voxels of all cases (-15 "
            "to 197) and z-scored with their mean (99.48) and standard deviation (37.14),",
        ),
        ("005_Prostate", "Normalisation", "Intensities of T2 and ADC are z-scored with mean and standard"),
        (
            "002_Heart", "Normalisation",
            "Only voxels within the non-zero region count for that, as cropping to it keeps 72.5 % of the median "
            "image, less than 75 %.",
        ),
    ],
)  # fmt: skip
def test_a_sentence_on_a_real_fingerprint(name, topic, sentence, shared):
    assert sentence in words_of(*inputs_of(name, shared))[topic]


@pytest.mark.data
@pytest.mark.parametrize(
    ("changes", "topic", "sentence"),
    [
        ({"spacing_mm": (5.0, 1.0, 1.0)}, "Spacing", "The spacing was given (planning.spacing_mm)."),
        ({"spacing_mm": (1.0, 5.0, 1.0)}, "Spacing", "Axis y is the coarsest and comes first in the plan."),
        (
            {"patch_3d": (16, 32, 32)},
            "3d_fullres",
            "The patch of 16 x 32 x 32 voxels was given (planning.patch_3d)",
        ),
        ({"normalization": "none"}, "Normalisation", "Intensities of MRI are left as they are."),
        (
            {"normalization": "rescale_0_1"},
            "Normalisation",
            "Intensities of MRI are scaled to the range from 0 to 1 in each image.",
        ),
        ({"normalization": "rgb_0_1"}, "Normalisation", "Intensities of MRI are divided by 255."),
    ],
)
def test_a_sentence_on_what_a_recipe_decides(changes, topic, sentence, shared):
    fingerprint, about, _ = inputs_of("004_Hippocampus", shared)
    assert sentence in words_of(fingerprint, about, PlannerRecipe(**changes))[topic]


@pytest.mark.data
def test_fine_slices_among_coarse_ones(shared):
    """The percentile is finer than the other axes, whose spacing is taken."""
    fingerprint, about, recipe = inputs_of("005_Prostate", shared)
    spacings = tuple((0.5, *mm[1:]) if i < 8 else mm for i, mm in enumerate(fingerprint.spacings))
    words = words_of(fingerprint.model_copy(update={"spacings": spacings}), about, recipe)["Spacing"]
    assert "but the 10th percentile, 0.5 mm, which" in words
    assert "As that is finer than the other axes, their 0.625 mm are taken." in words


@pytest.mark.data
def test_limits_of_the_first_version(shared):
    """It counts voxels, and its network halves an axis five times at most."""
    fingerprint, about, _ = inputs_of("003_Liver", shared)
    words = words_of(fingerprint, about, recipe_named("nnunet-2018").planning)["3d_fullres"]
    assert "of the voxels that a batch may have" in words
    assert "stages): at most 5 times, as long as an edge keeps 4 voxels" in words


def test_a_decision_is_told_where_there_is_one():
    found = plan_of_two(report_data())
    assert "; the cross-validation decides between them" in found
    assert "decides" not in plan_of_two(report_data(selection=Selection(best=ONE, candidates=(ONE,))))
    assert "decides" not in plan_of_two(report_data(summary=summary()))


def plan_of_two(data):
    """The first sentence about the configurations of volumes."""
    why = PlanReasons(spacing=None, sizes={"2d": None, "3d_fullres": None}, coverage=1.0, relative_size=1.0)
    return next(reasons._configurations(data, why))


@pytest.mark.parametrize(
    ("labels", "named"),
    [((1, 2), "whole"), ((2,), "core"), ((1,), None)],
)
def test_operations_on_regions_name_the_region(labels, named):
    data = replace(report_data(), labels=REGIONS)
    said = reasons._operation(Operation(name="keep_largest", labels=labels), data)
    assert said == "keep the largest component" + (f" of {named}" if named else "")


def test_limits_in_the_sentences_are_those_of_the_planner():
    assert reasons._ANISOTROPY == spacing.ANISOTROPY_RATIO
    assert reasons._PERCENTILE == spacing.COARSE_AXIS_PERCENTILE
    assert reasons._COVERAGE == patch.MIN_PATCH_COVERAGE
    assert reasons._MASK_BELOW == plan.MASK_BELOW_RELATIVE_SIZE


def test_without_the_planners_reasons_only_what_the_plan_says_is_told():
    data = report_data()
    assert [topic for topic, _ in plan_sentences(data)] == ["Normalisation"]
    assert "what decided it is not known" in render_report(data)


ONE = candidate("3d_fullres", 0.8)
PREFERRED = Selection(
    best=ONE,
    candidates=(ONE, candidate("2d+3d_fullres", 0.805)),
    prefer_single_within=0.01,
    bootstrap=bootstrap(),
)
SURE = bootstrap().model_copy(
    update={
        "cases": 10,
        "candidates": tuple(
            one.model_copy(update={"probability_best": 0.97} if one.name == "3d_fullres" else {})
            for one in bootstrap().candidates
        ),
    }
)


@pytest.mark.parametrize(
    ("selection", "sentences"),
    [
        (
            report_data().card.selection,
            [
                "3d_fullres was chosen among 2d, 3d_fullres and 2d+3d_fullres: it has the highest mean Dice, 0.800.",
                "Over 1000 samples of the 3 cases, drawn with replacement, its mean Dice lies between 0.710 and "
                "0.880 in 95 %.",
                "It ranks first in 91 % of the samples: with so few cases that says little.",
            ],
        ),
        (
            report_data().card.selection.model_copy(update={"bootstrap": SURE}),
            ["It ranks first in 97 % of the samples: the choice does not depend on which cases were drawn."],
        ),
        (
            report_data().card.selection.model_copy(
                update={"bootstrap": bootstrap().model_copy(update={"cases": 10})}
            ),
            ["It ranks first in 91 % of the samples: these cases do not separate the candidates."],
        ),
        (
            PREFERRED,
            [
                "3d_fullres was chosen among 3d_fullres and 2d+3d_fullres: its mean Dice is 0.800, and that of "
                "2d+3d_fullres 0.805, but a single configuration is preferred within 0.01."
            ],
        ),
        (
            Selection(best=ONE, candidates=(ONE,)),
            ["3d_fullres is the only candidate, with a mean Dice of 0.800."],
        ),
        (Selection(best=candidate("2d", NAN), candidates=(candidate("2d", NAN),)), []),
    ],
)
def test_the_choice(selection, sentences):
    found = choice_sentences(report_data(selection=selection))
    assert set(sentences) <= set(found)
    assert bool(found) == bool(sentences)


KEEP = Operation(name="keep_largest", labels=(1,))
TRIED = Step(operation=KEEP, target="1", dice_before=0.5, dice_after=0.5, accepted=False)


@pytest.mark.parametrize(
    ("found", "sentences"),
    [
        (
            postprocessing_of(KEEP, steps=(TRIED, TRIED)),
            ["Post-processing (keep the largest component of organ), 1 of 2 steps that were tried, changed the mean "
             "Dice from 0.500 to 0.600 (+0.1000)."],
        ),
        (
            postprocessing_of(steps=(TRIED, TRIED)),
            ["None of 2 steps of post-processing was accepted, so label maps stay as the networks predict them."],
        ),
        (
            postprocessing_of(steps=(TRIED,)),
            ["The only step of post-processing was not accepted, so label maps stay as the networks predict them."],
        ),
        (postprocessing_of(), []),
    ],
)  # fmt: skip
def test_post_processing(found, sentences):
    assert postprocessing_sentences(report_data(postprocessing=found)) == sentences
