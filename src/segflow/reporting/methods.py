"""A methods paragraph with the numbers of a run, and BibTeX of what it cites."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Final

import numpy as np

from segflow.contracts.assessment import Estimate
from segflow.recipes.inference import InferenceRecipe
from segflow.recipes.training import AugmentationRecipe, TrainingRecipe
from segflow.reporting.data import ReportData
from segflow.reporting.reasons import choice_sentences, normalisation_sentences, postprocessing_sentences
from segflow.reporting.tables import class_rows
from segflow.reporting.text import dice_text, listed, number_text, percent_text, shape_text

__all__ = ["methods_text", "references"]

_LOSS: Final = {
    "dice_ce": "the sum of Dice loss and cross-entropy",
    "dice_topk": "the sum of Dice loss and the cross-entropy of the voxels with the highest loss",
    "ce": "cross-entropy",
    "dice": "the Dice loss",
}
_TRANSFORMS: Final = {
    "p_rotation": "rotation",
    "p_scaling": "scaling",
    "p_elastic": "elastic deformation",
    "p_noise": "Gaussian noise",
    "p_blur": "Gaussian blur",
    "p_brightness": "brightness",
    "p_contrast": "contrast",
    "p_low_resolution": "simulated low resolution",
    "p_gamma": "gamma",
    "p_mirror_axis": "mirroring",
}


def methods_text(data: ReportData) -> str:
    """The paragraph, a line per topic; citations are keys of the BibTeX file as in Pandoc, such as [@dice1945]."""
    topics = (_data, _networks, _training, _prediction, _choice, _scores, _further)
    return "\n".join(filter(None, (" ".join(sentences(data)) for sentences in topics))) + "\n"


def references(data: ReportData) -> str:
    """BibTeX of what the methods paragraph cites, and nothing else."""
    cited = set(re.findall(r"\[@(\w+)\]", methods_text(data)))
    entries = files("segflow.reporting").joinpath("references.bib").read_text(encoding="utf-8").split("\n\n")
    return (
        "\n\n".join(entry.strip() for entry in entries if entry.split("{")[1].split(",")[0] in cited) + "\n"
    )


def _data(data: ReportData) -> Iterator[str]:
    labels, fingerprint = data.labels, data.fingerprint
    what = "regions" if labels.has_regions else "classes"
    channels = f"{len(data.channel_names)} channel{'s' if len(data.channel_names) > 1 else ''}"
    yield (
        f"The data set {data.card.dataset} has {len(fingerprint.spacings)} annotated images with {channels} "
        f"({listed(data.channel_names)}) and {len(labels.target_names)} {what} ({listed(labels.target_names)})."
    )
    spacing, shape = (
        np.median(np.asarray(values, np.float64), axis=0).tolist()
        for values in (fingerprint.spacings, fingerprint.shapes_after_crop)
    )
    cropped = " without margins of zeros" if fingerprint.median_relative_size_after_cropping < 1 else ""
    if {size[0] for size in fingerprint.shapes_after_crop} == {1}:
        yield f"The median image has {shape_text(shape[1:])} pixels (rows, columns){cropped}."
    elif not data.has_spacing:
        yield f"The median size is {shape_text(shape)} voxels (z, y, x){cropped}."
    else:
        yield (
            f"The median spacing is {shape_text(spacing)} mm, the median size {shape_text(shape)} voxels "
            f"(z, y, x){cropped}."
        )


def _networks(data: ReportData) -> Iterator[str]:
    version = data.card.versions.get("segflow", "")
    yield (
        f"Segmentation networks were configured with segflow {version} [@segflow] (recipe {data.card.recipe}), "
        f"which reimplements nnU-Net [@isensee2021]."
    )
    if data.plan.planner == "nnunet-2018":
        yield "The configuration follows its first version [@isensee2018]."
    for name, planned in data.plan.configurations.items():
        used = data.trained.get(name)
        if used is None:
            continue
        net = used.architecture
        kind = "a residual encoder [@isensee2024]" if net.encoder == "residual" else "plain convolutions"
        unit = "mm" if planned.dimensions == 3 else "mm in plane"
        spacing = f" at a spacing of {shape_text(used.spacing_mm)} {unit}" if data.has_spacing else ""
        yield (
            f"{name} is a U-Net with {kind}, {net.n_stages} stages and {net.features[0]} to {max(net.features)} "
            f"features, trained on patches of {shape_text(used.patch_shape)} voxels in batches of "
            f"{used.batch_size}{spacing}."
        )
    yield from normalisation_sentences(data)


def _training(data: ReportData) -> Iterator[str]:
    """Nothing where no job has noted how it trained, and each sentence once."""
    said: dict[str, list[str]] = {}
    for name, (training, augmentation) in data.trainings.items():
        batch = data.trained.get(name, data.plan.configurations[name]).batch_size
        for sentence in _of_training(training, augmentation, batch):
            said.setdefault(sentence, []).append(name)
    for sentence, names in said.items():
        everywhere = len(names) == len(data.trainings)
        yield sentence if everywhere else f"{listed(names)}: {sentence}"
    versions = data.card.versions
    if "torch" in versions:
        device = (
            f" on {listed('a CPU' if name == 'cpu' else name for name in data.devices)}"
            if data.devices
            else ""
        )
        yield f"Networks were trained with PyTorch {versions['torch']} [@paszke2019]{device}."
    if data.trainings and "snakemake" in versions:
        yield f"All steps were run by Snakemake {versions['snakemake']} [@moelder2021]."


def _of_training(used: TrainingRecipe, augmentation: AugmentationRecipe, batch: int) -> Iterator[str]:
    optimiser = {
        "sgd": "stochastic gradient descent "
        + (f"(Nesterov momentum {used.momentum:g})" if used.momentum else "without momentum"),
        "adamw": f"AdamW [@loshchilov2019] (beta {used.momentum:g})",
        "muon": f"Muon [@jordan2024] (momentum {used.momentum:g}; Adam for heads, biases and norms)",
    }[used.optimizer]
    schedule = f"{used.schedule} schedule"
    if used.schedule == "polynomial":
        schedule += f" with exponent {used.schedule_exponent:g}"
    if used.schedule_epochs not in {None, used.epochs}:
        schedule += f" of {used.schedule_epochs} epochs"
    if used.warmup:
        schedule += f", with a linear warm-up over {percent_text(used.warmup)} of training"
    if used.schedule_per == "step":
        schedule += ", updated at every step"
    most = "at most " if used.patience else ""
    supervision = ", with deep supervision" if used.deep_supervision else ""
    yield (
        f"Training took {most}{used.epochs} epochs of {used.iterations} steps with {optimiser}, a learning rate of "
        f"{used.learning_rate:g} on a {schedule}, weight decay {used.weight_decay:g} and gradients clipped to a norm "
        f"of {used.gradient_clip_norm:g}; the loss was {_LOSS[used.loss]}{supervision}."
    )
    if used.pretrained is not None:
        yield "Training began with the weights of another network."
    names = [text for field, text in _TRANSFORMS.items() if getattr(augmentation, field) > 0]
    augmented = f"; patches were augmented by random {listed(names)}" if names else ""
    forced = batch - used.first_forced(batch)
    patches, were = "patch" if batch == 1 else "patches", "was" if forced == 1 else "were"
    yield (
        f"Of each batch of {batch} {patches}, {forced} {were} centred on foreground, where the image had any"
        f"{augmented}."
    )


def _prediction(data: ReportData) -> Iterator[str]:
    used = InferenceRecipe.model_validate(data.card.inference)
    mirrored = "averaged over mirrored images" if used.mirroring is True else "without mirroring"
    if isinstance(used.mirroring, tuple):
        mirrored = f"averaged over images mirrored along {listed(used.mirroring)}"
    yield (
        f"Images were predicted in tiles of the patch size at a distance of {number_text(used.step)} of it, weighted "
        f"by a Gaussian with a standard deviation of {number_text(used.gaussian_sigma)} of it, {mirrored}."
    )


def _apart(data: ReportData) -> str:
    patients = data.summary.patients
    if patients is None:
        return ""
    return f", nor on another image of the same patient ({len(set(patients.values()))} patients)"


def _choice(data: ReportData) -> Iterator[str]:
    n = len(data.summary.metric_per_case)
    if not n:
        yield "Networks were trained on all images, so that none could be scored."
        return
    folds = data.card.folds
    yield (
        f"In a cross-validation (fold{'s' if len(folds) > 1 else ''} {listed(map(str, folds))}) each of {n} images was "
        f"predicted by the networks that had not been trained on it{_apart(data)}."
    )
    yield from choice_sentences(data)


def _scores(data: ReportData) -> Iterator[str]:
    if not data.summary.metric_per_case:
        return
    yield from postprocessing_sentences(data)
    of_classes = [
        f"{row['class']} {dice_text(row['mean dice'])}"
        + (f" \N{PLUS-MINUS SIGN} {dice_text(row['std dice'])}" if row["cases"] > 1 else "")
        + f" (n = {row['cases']})"
        for row in class_rows(data)
    ]
    yield (
        f"The final Dice coefficients [@dice1945], mean \N{PLUS-MINUS SIGN} standard deviation over the n images "
        f"with the class in reference or prediction, were {', '.join(of_classes)}; their mean was "
        f"{dice_text(data.summary.foreground_mean.dice)}."
    )


def _further(data: ReportData) -> Iterator[str]:
    """What was measured beyond Dice, of classes in which it is defined."""
    found = data.assessment
    if found is None:
        return
    tolerances = {
        one.name: f"{number_text(one.nsd_tolerance_mm)} mm"
        for one in found.classes
        if one.nsd_tolerance_mm is not None
    }
    same = set(tolerances.values())
    tolerance = "".join(same) if len(same) < 2 else ", ".join(map(" ".join, tolerances.items()))
    for name, what, unit in (
        ("nsd", f"normalised surface Dice [@nikolov2021] (tolerance: {tolerance})", ""),
        ("hd95", "95th percentile of surface distances [@maierhein2024]", " mm"),
        ("assd", "average surface distance [@maierhein2024]", " mm"),
    ):
        values = {one.name: one.metrics[name] for one in found.classes if name in one.metrics}
        yield from _estimates(f"The mean {what}", values, unit)
    agreement = {one.name: one.agreement for one in found.classes if one.agreement and one.agreement.n}
    if agreement:
        limits = (
            f"{name} {number_text(one.bias)} ml ({number_text(one.limits[0])} to {number_text(one.limits[1])})"
            for name, one in agreement.items()
        )
        yield f"Bias and limits of agreement of volumes [@bland1986] were {listed(limits)}."
    lesions = {one.name: one.lesions.f1 for one in found.classes if one.lesions}
    yield from _estimates("The F1 score of lesions, matched at an overlap of 10 % [@maierhein2024],", lesions)
    errors = {one.name: one.calibration.error for one in found.classes if one.calibration}
    yield from _estimates("The expected calibration error of the probabilities [@naeini2015]", errors)


def _estimates(what: str, values: Mapping[str, Estimate], unit: str = "") -> Iterator[str]:
    known = [
        f"{name} {number_text(one.value)}{unit} ({number_text(one.interval[0])} to {number_text(one.interval[1])})"
        for name, one in values.items()
        if not math.isnan(one.value)
    ]
    if known:
        yield f"{what} with 95 % bootstrap intervals was {listed(known)}."
