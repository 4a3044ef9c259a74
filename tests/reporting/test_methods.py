"""The methods paragraph has the numbers of the run, and cites what was used and nothing else."""

from __future__ import annotations

import re
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
import yaml
from report_samples import plan, postprocessing_of, report_data

from segflow.contracts.scores import Operation
from segflow.recipes.recipe import recipe_named
from segflow.recipes.training import AugmentationRecipe, TrainingRecipe
from segflow.reporting.methods import methods_text, references
from segflow.reporting.text import number_text

ENTRIES = files("segflow.reporting").joinpath("references.bib").read_text(encoding="utf-8")
ALWAYS = {"segflow", "isensee2021", "paszke2019", "moelder2021", "dice1945"}


def keys(text):
    return set(re.findall(r"@\w+\{(\w+),", text))


def trained(training=None, augmentation=None, **changes):
    """A report whose only network was trained in some way."""
    data = report_data(**{"assessment": None, **changes})
    used = (training or TrainingRecipe(), augmentation or AugmentationRecipe())
    return replace(data, trained=data.plan.configurations, trainings={"3d_fullres": used})


@pytest.mark.parametrize(
    "sentence",
    [
        "The data set Dataset001_Sample has 2 annotated images with 1 channel (T1) and 2 classes (organ and "
        "lesion <b>).",
        "The median spacing is 2.5 x 1 x 0.75 mm, the median size 11 x 22 x 30 voxels (z, y, x) without "
        "margins of zeros.",
        "configured with segflow 0.1.0 [@segflow] (recipe nnunet), which reimplements nnU-Net [@isensee2021].",
        "3d_fullres is a U-Net with plain convolutions, 3 stages and 32 to 128 features, trained on patches of "
        "16 x 64 x 48 voxels in batches of 2 at a spacing of 3 x 1 x 1 mm.",
        "Training took 1000 epochs of 250 steps with stochastic gradient descent (Nesterov momentum 0.99), a learning "
        "rate of 0.01 on a polynomial schedule with exponent 0.9, "
        "weight decay 3e-05 and gradients clipped to "
        "a norm of 12; "
        "the loss was the sum of Dice loss and cross-entropy, with deep supervision.",
        "Of each batch of 2 patches, 1 was centred on foreground, where the image had any; patches were augmented by "
        "random rotation, scaling, ",
        "trained with PyTorch 2.9.1 [@paszke2019] on NVIDIA A100.",
        "at a distance of 0.5 of it, weighted by a Gaussian with a standard deviation of 0.125 of it, averaged over",
        "In a cross-validation (folds 0 and 1) each of 3 images was predicted by the networks",
        "3d_fullres was chosen among 2d, 3d_fullres and 2d+3d_fullres: it has the highest mean Dice, 0.800. Over 1000 ",
        "Post-processing (keep the largest component of organ), 1 of 2 steps that were tried, changed the mean ",
        "Intensities of T1 are z-scored with mean and standard deviation of each image.",
        "were organ 0.850 \N{PLUS-MINUS SIGN} 0.132 (n = 3), "
        "lesion <b> 0.700 \N{PLUS-MINUS SIGN} 0.141 (n = 2); their mean was 0.775.",
    ],
)  # fmt: skip
def test_sentences(sentence):
    assert sentence in methods_text(trained()).replace("\N{MULTIPLICATION SIGN}", "x")


@pytest.mark.parametrize(
    ("data", "words", "cited"),
    [
        (trained(), [], set()),
        (
            trained(TrainingRecipe(optimizer="muon", schedule_per="step")),
            [
                "Muon [@jordan2024] (momentum 0.99; Adam for",
                "exponent 0.9, updated at every step, weight decay",
            ],
            {"jordan2024"},
        ),
        (trained(TrainingRecipe(momentum=0)), ["gradient descent without momentum, a learning rate"], set()),
        (
            trained(TrainingRecipe(optimizer="adamw", patience=9)),
            ["AdamW", "at most 1000 epochs"],
            {"loshchilov2019"},
        ),
        (
            trained(plan=plan().model_copy(update={"planner": recipe_named("nnunet-2018").planning.planner})),
            ["follows its first version"],
            {"isensee2018"},
        ),
        (
            trained(TrainingRecipe(epochs=300, schedule_epochs=1000, warmup=0.1)),
            ["exponent 0.9 of 1000 epochs, with a linear warm-up over 10 % of training, weight decay"],
            set(),
        ),
        (trained(TrainingRecipe(pretrained="some.pt")), ["began with the weights of another network"], set()),
        (
            trained(postprocessing=postprocessing_of(steps=report_data().card.postprocessing.steps)),
            ["None of 2 steps of post-processing was accepted"],
            set(),
        ),
        (
            trained(postprocessing=postprocessing_of(Operation(name="keep_largest", labels=(1, 2)))),
            ["of organ and lesion <b>"],
            set(),
        ),
    ],
)
def test_of_other_runs_and_what_they_cite(data, words, cited):
    text = methods_text(data)
    assert all(word in text for word in words)
    assert keys(references(data)) == set(re.findall(r"\[@(\w+)\]", text)) == ALWAYS | cited


def test_what_was_measured_beyond_dice_is_told_with_its_sources():
    data = report_data()
    text = methods_text(data)
    organ, _ = data.assessment.classes
    for name, unit in (("nsd", ""), ("hd95", " mm"), ("assd", " mm")):
        found = organ.metrics[name]
        low, high = map(number_text, found.interval)
        assert f"organ {number_text(found.value)}{unit} ({low} to {high})" in text
    assert f"organ {number_text(organ.agreement.bias)} ml (" in text
    assert f"organ {number_text(organ.calibration.error.value)} (" in text
    assert "(tolerance: 2 mm)" in text
    cited = {"nikolov2021", "maierhein2024", "bland1986", "naeini2015"}
    assert keys(references(data)) == ALWAYS | cited
    assert "nan" not in text


def test_what_no_job_has_noted_is_not_said():
    data = trained()
    data = replace(data, trainings={}, devices=())
    assert "Training took" not in methods_text(data)
    assert keys(references(data)) == ALWAYS - {"moelder2021"}


def test_entries_are_bibtex_of_sources_that_can_be_cited():
    entries = ENTRIES.strip().split("\n\n")
    assert len(keys(ENTRIES)) == len(entries)
    for entry in entries:
        assert re.fullmatch(r"@\w+\{\w+,\n(  \w+ = \{.+\},\n)+\}", entry), entry
        assert entry.count("{") == entry.count("}")
        assert "title = {" in entry
        assert "author = {" in entry


def test_the_entry_of_segflow_says_what_its_citation_file_does():
    citation = yaml.safe_load((Path(__file__).parents[2] / "CITATION.cff").read_text())
    own, paper = (
        entry for entry in ENTRIES.split("\n\n") if re.match(r"@\w+\{(segflow|isensee2021),", entry)
    )
    assert f"title = {{{citation['title']}}}" in own
    assert citation["authors"][0]["name"] in own
    assert citation["license"] in own
    (reference,) = citation["references"]
    assert reference["doi"] in paper
    assert all(author["family-names"] in paper for author in reference["authors"])
    assert paper.replace("{nnU-Net}", "nnU-Net").count(reference["title"]) == 1
