"""The method in words: why the plan is as it is, why a model was chosen, and what post-processing gained.

The page has all of it; the methods paragraph (`segflow.reporting.methods`) has the last three.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from segflow.contracts.labels import members
from segflow.contracts.plan import Configuration
from segflow.contracts.reasons import PlanReasons, SizeReasons, SpacingReasons
from segflow.contracts.scores import Operation
from segflow.reporting.data import ReportData
from segflow.reporting.text import (
    FEW_CASES,
    change_text,
    dice_text,
    listed,
    number_text,
    percent_text,
    shape_text,
)

__all__ = ["choice_sentences", "normalisation_sentences", "plan_sentences", "postprocessing_sentences"]

# Limits of the rules. Source: method.md sections 6.1, 6.7, 7.
_ANISOTROPY, _PERCENTILE, _COVERAGE, _MASK_BELOW = 3, 10, 0.25, 0.75
#: Share of bootstrap samples from which a choice counts as certain.
_CERTAIN = 0.95
_SCHEMES: Final = {
    "zscore": "z-scored with mean and standard deviation of each image",
    "ct": "clipped to the 0.5 and 99.5 percentiles of the annotated voxels of all cases ({0} to {1}) and z-scored with "
    "their mean ({2}) and standard deviation ({3}), as intensities of CT mean the same in every image",
    "none": "left as they are",
    "rescale_0_1": "scaled to the range from 0 to 1 in each image",
    "rgb_0_1": "divided by 255",
}


def plan_sentences(data: ReportData) -> list[tuple[str, list[str]]]:
    """Sentences by topic: spacing, configurations, each of them, normalisation; only the last without reasons."""
    reasons, plan = data.reasons, data.plan
    normalisation = ("Normalisation", normalisation_sentences(data))
    if reasons is None:
        return [normalisation]
    sizes = [
        (name, list(_size(plan.configurations[name], of_one)))
        for name, of_one in reasons.sizes.items()
        if name != "3d_cascade_fullres"
    ]
    return [
        ("Spacing", list(_spacing(data, reasons))),
        ("Configurations", list(_configurations(data, reasons))),
        *sizes,
        normalisation,
    ]


def _spacing(data: ReportData, reasons: PlanReasons) -> Iterator[str]:
    found, plan, n = reasons.spacing, data.plan, len(data.fingerprint.spacings)
    if found is None:
        yield "The spacing was given (planning.spacing_mm)."
    elif not data.has_spacing:
        yield "The files say nothing of the spacing: images are not resampled."
    elif "3d_fullres" not in reasons.sizes:
        in_plane = plan.configurations["2d"].spacing_mm
        yield f"Images are resampled to {shape_text(in_plane)} mm in plane, the median spacing of the {n} cases."
    else:
        yield from _spacing_of_volumes(found, n)
    if plan.transpose_forward != (0, 1, 2):
        yield f"Axis {'zyx'[plan.transpose_forward[0]]} is the coarsest and comes first in the plan."


def _spacing_of_volumes(reasons: SpacingReasons, n: int) -> Iterator[str]:
    median, axis = shape_text(reasons.median_mm), "zyx"[reasons.coarse]
    longer, fewer = (number_text(round(times, 2)) for times in (reasons.times_coarser, reasons.times_shorter))
    compared = f"Along {axis} voxels are {longer} times as long as along the other axes"
    compared += f", and the image has {fewer} times fewer"
    if not reasons.is_anisotropic:
        yield f"Images are resampled to {median} mm (z, y, x), the median spacing of the {n} cases."
        if max(reasons.times_coarser, reasons.times_shorter) > _ANISOTROPY:
            yield f"{compared}; as not both are more than {_ANISOTROPY}, the median decides there, too."
        else:
            yield (
                f"No axis is more than {_ANISOTROPY} times as coarse as the others, so that the median decides along "
                "all."
            )
        return
    target, percentile = reasons.target_mm[reasons.coarse], number_text(reasons.percentile_mm)
    yield f"Images are resampled to {shape_text(reasons.target_mm)} mm (z, y, x)."
    yield (
        f"The median spacing of the {n} cases is {median} mm. {compared}: both are more than {_ANISOTROPY}, so that "
        f"not the median decides along {axis}, but the {_PERCENTILE}th percentile, {percentile} mm, which keeps the "
        "detail of images with thin slices."
    )
    if target != reasons.percentile_mm:
        yield f"As that is finer than the other axes, their {number_text(target)} mm are taken."


def _configurations(data: ReportData, reasons: PlanReasons) -> Iterator[str]:
    plan, selection = data.plan, data.card.selection
    if "3d_fullres" not in reasons.sizes:
        yield "Images have a single slice, so that only 2d is planned."
        return
    compared = data.summary.metric_per_case and {"2d", "3d_fullres"} <= {
        one.name for one in selection.candidates
    }
    decision = "; the cross-validation decides between them" if compared else ""
    yield f"2d and 3d_fullres are planned for all volumes{decision}."
    covered = _share(reasons.coverage)
    if reasons.coverage >= _COVERAGE:
        much = "all" if reasons.coverage >= 1 else f"{covered}"
        yield (
            f"A patch of 3d_fullres covers {much} of the median image, not less than {_share(_COVERAGE)}, so that no "
            "lower resolution is needed."
        )
    elif "3d_lowres" not in reasons.sizes:
        yield (
            f"A patch of 3d_fullres covers {covered} of the median image, less than {_share(_COVERAGE)}; but the "
            "lower resolution at which it covers more has over half as many voxels, so that it is not worth a "
            "network."
        )
    else:
        low = plan.configurations["3d_lowres"]
        yield (
            f"A patch of 3d_fullres covers {covered} of the median image, less than {_share(_COVERAGE)}, and sees "
            f"little of what is around it. So there is 3d_lowres, whose spacing of {shape_text(low.spacing_mm)} mm "
            f"lets a patch cover {_share(math.prod(low.patch_shape) / math.prod(low.median_shape))}, and "
            "3d_cascade_fullres, which refines its result with patch, batch and network of 3d_fullres."
        )


def _size(planned: Configuration, reasons: SizeReasons) -> Iterator[str]:
    needs = (
        f"a batch of {reasons.needed} takes {_share(reasons.used)} of the memory that is planned for (a GPU with "
        f"{number_text(reasons.gpu_gb)} GB)"
        if reasons.budget == "activations"
        else f"a batch of {reasons.needed} has {_share(reasons.used)} of the voxels that a batch may have"
    )
    median = f"the median image has {shape_text(planned.median_shape)} voxels"
    patch = shape_text(planned.patch_shape)
    if reasons.is_given:
        yield f"The patch of {patch} voxels was given (planning.patch_3d); {median}."
    elif reasons.shortened:
        times = "once, along" if reasons.shortened == 1 else f"{reasons.shortened} times, each time along"
        yield (
            f"The search for a patch begins with {shape_text(reasons.start)} voxels; {median}. It was shortened "
            f"{times} the axis that covers most of the image, until the network fits: with {patch} {needs}."
        )
    else:
        yield f"The search for a patch begins with {patch} voxels, and ends with it: {needs}; {median}."
    yield (
        f"{number_text(round(reasons.fitting, 2))} patches would fit, and {reasons.cap} "
        f"{'has' if reasons.cap == 1 else 'have'} {_share(reasons.share)} of the voxels of all cases, the most that "
        f"a batch may have. The planned size is {planned.batch_size}: the smaller of the two as a whole number, but "
        "at least 2."
    )
    most = "" if reasons.max_poolings is None else f"at most {reasons.max_poolings} times, "
    strides = planned.architecture.strides
    pools = [sum(stride[axis] == 2 for stride in strides) for axis in range(planned.dimensions)]
    yield (
        f"The network halves the patch {listed(map(str, pools))} times along its axes, to "
        f"{shape_text(reasons.edges)} voxels ({planned.architecture.n_stages} stages): {most}as long as an edge keeps "
        f"{reasons.min_edge} voxels, and an axis only while its voxels are less than twice as long as the shortest."
    )
    flat = [kernel for kernel in planned.architecture.kernels if 1 in kernel]
    if flat:
        stages = "stage has" if len(flat) == 1 else f"{len(flat)} stages have"
        yield (
            f"The first {stages} kernels of {shape_text(flat[0])}, as voxels are at least twice as long along one "
            "axis."
        )


def normalisation_sentences(data: ReportData) -> list[str]:
    """How intensities are normalised, by channel."""
    first = next(iter(data.plan.configurations.values()))
    said = defaultdict[tuple[str, bool], list[str]](list)
    for i, (name, scheme, masked) in enumerate(
        zip(data.channel_names, first.normalization, first.mask_normalization, strict=True)
    ):
        found = data.plan.intensities[str(i)]
        values = (found.percentile_00_5, found.percentile_99_5, found.mean, found.std)
        said[_SCHEMES[scheme].format(*map(number_text, values)), masked].append(name)
    sentences = []
    for (how, masked), names in said.items():
        sentences.append(f"Intensities of {listed(names)} are {how}.")
        if masked:
            kept = _share(data.fingerprint.median_relative_size_after_cropping)
            sentences.append(
                f"Only voxels within the non-zero region count for that, as cropping to it keeps {kept} of the median "
                f"image, less than {_share(_MASK_BELOW)}."
            )
    return sentences


def choice_sentences(data: ReportData) -> list[str]:
    """Why a model was chosen, and how certain that is; none where nothing was scored."""
    selection = data.card.selection
    best, bootstrap = selection.best, selection.bootstrap
    if math.isnan(best.foreground_mean_dice):
        return []
    score = dice_text(best.foreground_mean_dice)
    defined = [c for c in selection.candidates if not math.isnan(c.foreground_mean_dice)]
    highest = max(defined, key=lambda candidate: candidate.foreground_mean_dice, default=best)
    is_only = len(selection.candidates) == 1
    if is_only:
        found = [f"{best.name} is the only candidate, with a mean Dice of {score}."]
    else:
        why = f"it has the highest mean Dice, {score}"
        if highest.foreground_mean_dice > best.foreground_mean_dice:
            why = (
                f"its mean Dice is {score}, and that of {highest.name} {dice_text(highest.foreground_mean_dice)}, but "
                f"a single configuration is preferred within {number_text(selection.prefer_single_within)}"
            )
        found = [f"{best.name} was chosen among {listed(one.name for one in selection.candidates)}: {why}."]
    resampled = {one.name: one for one in bootstrap.candidates}.get(best.name) if bootstrap else None
    if bootstrap is None or resampled is None:
        return found
    low, high = map(dice_text, resampled.interval)
    found.append(
        f"Over {bootstrap.replicates} samples of the {bootstrap.patients or bootstrap.cases} {bootstrap.units}, drawn "
        f"with replacement, its mean Dice lies between {low} and {high} in 95 %."
    )
    if (bootstrap.patients or bootstrap.cases) < FEW_CASES:
        verdict = "with so few cases that says little"
    elif resampled.probability_best < _CERTAIN:
        verdict = "these cases do not separate the candidates"
    else:
        verdict = "the choice does not depend on which cases were drawn"
    first = f"It ranks first in {percent_text(resampled.probability_best)} of the samples: {verdict}."
    return [*found, *([] if is_only else [first])]


def postprocessing_sentences(data: ReportData) -> list[str]:
    """What was accepted, and what it gained; none where nothing was tried."""
    found = data.card.postprocessing
    before, after = found.foreground_mean_dice_before, found.foreground_mean_dice_after
    if found.operations:
        done = listed(_operation(operation, data) for operation in found.operations)
        tried = (
            f", {len(found.operations)} of {len(found.steps)} steps that were tried," if found.steps else ""
        )
        change = f"from {dice_text(before)} to {dice_text(after)} ({change_text(after - before)})"
        return [f"Post-processing ({done}){tried} changed the mean Dice {change}."]
    if found.steps:
        n = len(found.steps)
        none = (
            "The only step of post-processing was not"
            if n == 1
            else f"None of {n} steps of post-processing was"
        )
        return [f"{none} accepted, so label maps stay as the networks predict them."]
    return []


def _operation(operation: Operation, data: ReportData) -> str:
    """With the region that it is about, or else all classes or regions in it."""
    sets = {name: set(members(value)) for name, value in data.labels.entries}
    whole = [name for name, values in sets.items() if values == set(operation.labels)]
    names = whole[:1] or [name for name, values in sets.items() if values <= set(operation.labels)]
    return f"{operation.description} of {listed(names)}" if names else operation.description


def _share(share: float) -> str:
    """In percent with three digits, so that it is on the right side of a limit."""
    return f"{100 * share:.3g} %"
