"""A small experiment to report on."""

from __future__ import annotations

import numpy as np
import pandas as pd
from case_samples import INTENSITIES, architecture_of, configuration_of, plan_of

from segflow.contracts.assessment import AssessedCase, Assessment, EvaluationConfig
from segflow.contracts.fingerprint import Fingerprint
from segflow.contracts.labels import Labels
from segflow.contracts.model import ModelCard
from segflow.contracts.scores import (
    Bootstrap,
    Candidate,
    CaseScores,
    Metrics,
    Operation,
    PostProcessing,
    Resampled,
    Selection,
    Step,
)
from segflow.evaluation.assessment import sum_up, value_names
from segflow.evaluation.beyond_dice import decide_measures, measure_case
from segflow.evaluation.scores import summarise
from segflow.metrics.calibration import count_calibration
from segflow.recipes.inference import InferenceRecipe
from segflow.recipes.training import AugmentationRecipe, TrainingRecipe
from segflow.reporting.cases import CaseFacts, measures
from segflow.reporting.data import Gallery, History, Overlay, Picture, ReportData, StageTime

LABELS = Labels((("background", 0), ("organ", 1), ("lesion <b>", 2)))
NAN = float("nan")
PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///ywAAAAAAQABAAACAUwAOw=="


def summary(*rows, labels=LABELS):
    """A summary with one row of Dice values per case."""
    keys = [str(target) for target in labels.targets]

    def metrics(dice):
        return Metrics(dice=dice, iou=dice, fn=1, fp=1, tn=1, tp=1, n_pred=2, n_ref=2)

    cases = tuple(
        CaseScores(
            metrics={key: metrics(dice) for key, dice in zip(keys, row, strict=True)},
            prediction_file=f"predicted/case_{i}.nii.gz",
            reference_file=f"labels/case_{i}.nii.gz",
        )
        for i, row in enumerate(rows)
    )
    return summarise(cases, labels)


def history(fold=0, epochs=3):
    names = ("epoch", "train_loss", "validation_loss", "mean_pseudo_dice", "ema_pseudo_dice")
    rows = [(i, -0.1, -0.2, 0.5, 0.4) for i in range(epochs)]
    return History("3d_fullres", fold, pd.DataFrame(rows, columns=names, dtype=float))


def plan():
    configuration = configuration_of((3.0, 1.0, 1.0), ("zscore",))
    network = architecture_of(["111", "122", "222"], (32, 64, 128), kernels=["133", "333", "333"])
    changes = {"patch_shape": (16, 64, 48), "median_shape": (18.5, 70, 60), "architecture": network}
    return plan_of(configuration.model_copy(update=changes))


def candidate(name, score):
    return Candidate(
        name=name, configurations=tuple(name.split("+")), foreground_mean_dice=score, summary="summary.json"
    )


def postprocessing_of(*operations, steps=()):
    return PostProcessing(
        operations=operations, steps=steps, foreground_mean_dice_before=0.5, foreground_mean_dice_after=0.6
    )


def model_card(best, *operations, **changes):
    """The card of a package of one fold, in which a candidate such as "2d+3d_fullres" is the best and only one."""
    chosen = candidate(best, 0.5)
    values = {
        "dataset": "sample",
        "recipe": "nnunet",
        "inference": InferenceRecipe().model_dump(),
        "configurations": chosen.configurations,
        "stages": (),
        "folds": (0,),
        "postprocessing": postprocessing_of(*operations),
        "selection": Selection(best=chosen, candidates=(chosen,)),
        "versions": {},
    }
    return ModelCard(**{**values, **changes})


def bootstrap():
    rows = {
        "2d": ((NAN, NAN), (0.0, 0.0, 0.0)),
        "3d_fullres": ((0.71, 0.88), (0.912, 0.086, 0.002)),
        "2d+3d_fullres": ((0.69, 0.83), (0.088, 0.912, 0.0)),
    }
    found = tuple(
        Resampled(name=name, interval=interval, rank_shares=shares, probability_best=shares[0])
        for name, (interval, shares) in rows.items()
    )
    return Bootstrap(replicates=1000, seed=0, cases=3, candidates=found)


def gallery():
    """Three cases, the last of which was not predicted in a way that its reference allows."""
    facts = tuple(
        CaseFacts(f"case_{i}", (1.0 + i, 1.0, 1.0), (10, 20, 30), (5.0,), (2.0, 0.0), (2.0, 1.0), doubts)
        for i, doubts in enumerate(
            [(), (), ("'lesion <b>' is not annotated, but 1 ml of it are predicted.",)]
        )
    )
    return Gallery(
        facts=facts,
        measures=measures(facts, LABELS, ["T1"]),
        thumbnails={f"case_{i}": Picture(PIXEL, "image, reference, prediction") for i in range(3)},
        overlays=(Overlay("case_0", "best", 0.85, (Picture(PIXEL, "axial slice 1 of 2"),), PIXEL, 3),),
    )


def assessment(labels=LABELS, cases=("case_0", "case_1", "case_2")):
    """Three cases of two configurations in arrays of a few voxels, measured in every way."""
    how = decide_measures(EvaluationConfig(), labels, [((4, 9, 9), (2.0, 1.0, 1.0))], has_spacing=True)
    measures = []
    for number in range(3):
        reference = np.zeros((4, 9, 9), dtype=np.uint8)
        reference[1:3, 1:5, 2:6] = 1
        reference[1, 7, 1] = reference[2, 7, 5:7] = 2 if number < 2 else 0
        found = np.roll(reference, number, axis=2)
        maps = {"2d": reference, "3d_fullres": found}
        measured = measure_case(found, maps, reference, labels, (2.0, 1.0, 1.0), how)
        sure = np.where(np.arange(3)[:, None, None, None] == found, 204, 26).astype(np.float32) / 255
        table = count_calibration(sure, reference, labels).tolist()
        measures.append(
            measured.model_copy(update={"calibration": tuple(tuple(map(tuple, one)) for one in table)})
        )
    return Assessment(
        model="3d_fullres",
        measures=how.measures,
        notes=how.notes,
        replicates=1000,
        seed=0,
        classes=sum_up(measures, ["0", "0", "1"], labels, how),
        cases=tuple(
            AssessedCase(case=case, fold=fold, values=one.values)
            for case, fold, one in zip(cases, "001", measures, strict=True)
        ),
        values=value_names(labels),
        confusion=tuple(map(tuple, np.sum([one.confusion for one in measures], axis=0).tolist())),
    )


def report_data(**changes):
    scores = changes.pop("summary", summary((0.9, 0.8), (0.7, NAN), (0.95, 0.6)))
    keep = Operation(name="keep_largest", labels=(1,))
    small = Operation(name="remove_small", labels=(1, 2), min_volume_mm3=12.5)
    of_card = {
        "dataset": "Dataset001_Sample",
        "folds": (0, 1),
        "versions": {"segflow": "0.1.0", "torch": "2.9.1", "snakemake": "9.20.0"},
        "selection": Selection(
            best=candidate("3d_fullres", 0.8),
            candidates=(candidate("2d", NAN), candidate("3d_fullres", 0.8), candidate("2d+3d_fullres", 0.75)),
            bootstrap=bootstrap(),
        ),
        "postprocessing": postprocessing_of(
            keep,
            steps=(
                Step(operation=keep, target="1", dice_before=0.5, dice_after=0.6, accepted=True),
                Step(operation=small, target="foreground", dice_before=0.6, dice_after=0.59, accepted=False),
            ),
        ),
    }
    card = model_card("3d_fullres", **{name: changes.pop(name, value) for name, value in of_card.items()})
    values = {
        "card": card,
        "labels": LABELS,
        "channel_names": ("T1",),
        "file_ending": ".nii.gz",
        "fingerprint": Fingerprint(
            foreground_intensity_properties_per_channel={"0": INTENSITIES},
            median_relative_size_after_cropping=0.5,
            shapes_after_crop=((10, 20, 30), (12, 24, 30)),
            spacings=((3.0, 1.0, 1.0), (2.0, 1.0, 0.5)),
        ),
        "plan": plan(),
        "trainings": {"3d_fullres": (TrainingRecipe(), AugmentationRecipe())},
        "devices": ("NVIDIA A100",),
        "summary": scores,
        "candidate_summaries": {"3d_fullres": scores},
        "histories": (history(1), history(0)),
        "gallery": gallery(),
        "assessment": assessment(),
        "stages": (StageTime("plan", 1), StageTime("train", 7200, 2)),
        "provenance": (("segflow", "0.1.0"),),
        "warnings": ("Trained for a moment.",),
    }
    return ReportData(**{**values, **changes})
