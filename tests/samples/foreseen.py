"""Changes of which it is known beforehand what runs again, and the stages that do."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import yaml
from workflow_runs import TINY, Experiment

#: The spacing is fixed because its rule is a median, which moves with every case that is added.
BASE = {"folds": [0], "planning": {"spacing_mm": [2.0, 1.0, 1.0]}}

#: From a stage to the end, in the order of the rules.
ORDER = (
    "train", "predict_fold", "ensemble", "evaluate", "crossvalidate", "select", "postprocess_search", "postprocess",
    "evaluate_final", "assess", "make_package", "score_fast", "make_report", "compare",
)  # fmt: skip
DATA = ("check", "fingerprint", "plan", "folds", "preprocess", "manifest")

Change = Callable[[Experiment], None]


def since(stage: str) -> set[str]:
    return set(ORDER[ORDER.index(stage) :])


def settings(**changes: object) -> Change:
    """Change the configuration; sections are merged with the tiny budget's."""
    merged = {
        key: {**TINY[key], **value} if isinstance(value, dict) and key in TINY else value
        for key, value in changes.items()
    }
    return lambda experiment: experiment.configure(**BASE | merged)


def edit(module: str) -> Change:
    """Change the code of a module in a way that matters to no result."""

    def change(experiment: Experiment) -> None:
        with (experiment.own_program() / module).open("a") as file:
            file.write("\n_EDITED = 1\n")

    return change


def comment_everywhere(experiment: Experiment) -> None:
    """A comment and a longer docstring in every module."""
    for file in experiment.own_program().rglob("*.py"):
        text = file.read_text().replace('"""', '"""Edited. ', 1)
        file.write_text(f"# a comment\n{text}\n\n# another\n")


def reorder(experiment: Experiment) -> None:
    file = experiment.folder / "config.yaml"
    content = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump(dict(reversed(content.items())), sort_keys=False))


def recipe_with_the_same_plan(experiment: Experiment) -> None:
    recipe = {"based_on": "nnunet", "training": {"learning_rate": 0.02}}
    (experiment.folder / "faster.yaml").write_text(yaml.safe_dump(recipe))
    experiment.configure(**BASE, recipe="faster.yaml")


def plan_in_a_file(experiment: Experiment) -> None:
    """The planner's plan as an edited one, with nothing edited."""
    shutil.copy(experiment.shared / "plans" / "nnUNetPlans" / "plans.json", experiment.folder / "edited.json")
    experiment.configure(folds=BASE["folds"], plan="edited.json")


def pretrained(experiment: Experiment) -> None:
    """The experiment's own weights, for one of its configurations."""
    shutil.copy(experiment.results / "models" / "2d" / "fold_0" / "model.pt", experiment.folder / "first.pt")
    settings(training={"pretrained": {"2d": "first.pt"}})(experiment)


FORESEEN = {
    "nothing": (settings(), set()),
    "the folders, written otherwise": (settings(dataset="./data/", output="results//"), set()),
    "learning rate": (settings(training={"learning_rate": 0.02}), since("train")),
    "the loss": (settings(training={"loss": "dice_topk"}), since("train")),
    "the form of Dice": (settings(training={"dice": "squared"}), since("train")),
    "cross-entropy per class": (settings(training={"entropy_per_class": True}), since("train")),
    "patience": (settings(training={"patience": 5}), since("train")),
    "elastic deformation": (settings(augmentation={"p_elastic": 0.2}), since("train")),
    "axes of mirroring": (settings(inference={"mirroring": ["x"]}), since("predict_fold")),
    "base width": (settings(training={"base_width": 6}), since("train")),
    "augmentation probability": (settings(augmentation={"p_rotation": 0.3}), since("train")),
    "seed": (settings(seed=1), since("train")),
    "augmentation of cascades, which are not planned": (
        settings(augmentation={"p_cascade_remove": 0.3}),
        set(),
    ),
    "step of inference": (settings(inference={"step": 0.6}), since("predict_fold")),
    "post-processing option": (
        settings(postprocessing={"largest_component": False}),
        since("postprocess_search"),
    ),
    "removal of small components": (
        settings(postprocessing={"remove_below_mm3": [1, 30]}),
        since("postprocess_search"),
    ),
    "post-processing by the training labels": (
        settings(postprocessing={"largest_component": "if_single_in_labels"}),
        since("postprocess_search"),
    ),
    "configurations as they are, by name": (settings(configurations=["3d_fullres", "2d"]), set()),
    "the same, of the recipe": (settings(selection={"configurations": ["2d", "3d_fullres"]}), set()),
    "preference for single models": (settings(selection={"prefer_single_within": 0.01}), since("select")),
    "the forecast, which is off in these runs": (settings(forecast=True), {"forecast", "make_report"}),
    "overlays of the report": (settings(report={"overlays": 1}), {"make_report"}),
    "threads and workers": (settings(resources={"threads": 1, "workers": 1}), set()),
    "where patches are augmented": (settings(resources={"augment": "device"}), set()),
    "what is kept and shown of a training": (
        settings(resources={"checkpoint_minutes": 0.5, "trackers": ["tensorboard"], "compile": False}),
        set(),
    ),
    "weights to begin with": (pretrained, since("train")),
    "keys in another order": (reorder, set()),
    "a fold more": (settings(folds=[0, 1]), since("train")),
    "training on all cases": (settings(folds="all"), since("train") - {"ensemble"}),
    "another recipe with the same plan": (recipe_with_the_same_plan, since("train")),
    "the planner's plan in a file": (plan_in_a_file, {"plan"}),
    "code of the recipes there are": (edit("recipes/recipe.py"), set()),
    "code of training": (edit("training/loop.py"), since("train")),
    "code of augmentation": (edit("augmentation/spatial.py"), since("train")),
    "code of a loss": (edit("losses/dice.py"), since("train")),
    "code of sampling": (edit("augmentation/patches.py"), since("train")),
    "code of the network": (edit("network/blocks.py"), since("train")),
    "code of inference": (edit("prediction/sliding_window.py"), since("predict_fold")),
    "code of export": (edit("prediction/restore.py"), since("predict_fold")),
    "code of averaging": (edit("prediction/averaging.py"), since("ensemble")),
    "code of evaluation": (edit("evaluation/scores.py"), since("evaluate")),
    "code of merging folds": (edit("commands/crossvalidate.py"), since("crossvalidate")),
    "code of selection and its bootstrap": (edit("selection/choose.py"), since("select")),
    "code of the post-processing search": (edit("selection/search.py"), since("postprocess_search")),
    "code of post-processing": (
        edit("commands/postprocess.py"),
        {"postprocess", "evaluate_final", "assess", "make_report", "compare"},
    ),
    "code of the package": (
        edit("commands/package.py"),
        {"make_package", "score_fast", "make_report", "compare"},
    ),
    "code of the model card": (
        edit("reporting/model_card.py"),
        {"make_package", "score_fast", "make_report", "compare"},
    ),
    "code of a package that is loaded": (edit("prediction/predictor.py"), {"score_fast", "make_report"}),
    "what is measured beyond Dice": (
        settings(evaluation={"metrics": ["dice", "nsd"]}),
        {"assess", "make_report"},
    ),
    "tolerance of a class": (
        settings(evaluation={"nsd_tolerance_mm": {"lesion": 3}}),
        {"assess", "make_report"},
    ),
    "code of surfaces": (edit("metrics/surface.py"), {"assess", "make_report"}),
    "code of lesions": (edit("metrics/lesions.py"), {"assess", "make_report"}),
    "code of calibration": (edit("metrics/calibration.py"), {"assess", "make_report"}),
    "code of what is measured beyond Dice": (edit("evaluation/assessment.py"), {"assess", "make_report"}),
    "code of the report": (edit("reporting/page/render.py"), {"make_report"}),
    "code of the comparison": (edit("commands/compare.py"), {"compare"}),
    "code of the screen's summary": (edit("commands/summary.py"), set()),
    "code of prediction of new images": (edit("commands/predict.py"), set()),
    "code of the exchange of networks": (edit("nnunet/imported.py"), set()),
    "code of the picture of a training": (edit("reporting/progress.py"), set()),
    "code that shows a training": (edit("commands/watching.py"), set()),
    "a comment in every module": (comment_everywhere, set()),
}
