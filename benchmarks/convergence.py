"""Dice against steps: short trainings of one configuration, each scored on the whole volumes of its held-out cases.

    python benchmarks/convergence.py run --dataset ../shared/data/hippocampus --configuration 3d_fullres --fold 0 \
        --recipe nnunet swift --steps 250 1000 --seeds 0 1 2 3 4 --work WORK --output runs.csv
    python benchmarks/convergence.py table runs.csv
    python benchmarks/convergence.py curves runs.csv --work WORK --output curves.png

Epochs have 50 steps, or 25; prediction is not mirrored, nothing is post-processed. Of the recipes only the section
`training` is used, and `--set training.momentum=0.9` changes a value of it. `--config planning.gpu_memory_gb=0.5`
changes a key of the configuration that plan and folds are made with. `--without-fold 0` also keeps the cases of another
fold out of training, so that what is tuned never saw them. A run that the output holds already is not repeated,
whatever its device, threads and compilation.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from multiprocessing.pool import ThreadPool
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import yaml
from side_by_side import call, segflow

from segflow.recipes.recipe import find_recipe
from segflow.recipes.settings import settings_of
from segflow.storage.files import key_of, write_json

HERE = Path(__file__).resolve().parent
SAME = ["data", "config", "configuration", "fold", "recipe", "changes", "width", "batch", "steps"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run", help="train, predict and score")
    run.add_argument("--dataset", type=Path, required=True)
    run.add_argument("--configuration", default="3d_fullres")
    run.add_argument("--fold", type=int, default=0)
    run.add_argument("--without-fold", type=int)
    run.add_argument("--recipe", nargs="+", default=["nnunet"])
    run.add_argument("--set", dest="changes", nargs="*", default=[], metavar="training.NAME=VALUE")
    run.add_argument("--config", nargs="*", default=[], metavar="KEY=VALUE")
    run.add_argument("--steps", type=int, nargs="+", required=True, help="multiples of 25")
    run.add_argument("--seeds", type=int, nargs="+", default=[0])
    run.add_argument("--width", type=int, default=8, help="feature maps of the first stage")
    run.add_argument("--batch", type=int, default=2)
    run.add_argument("--device", default="cpu")
    run.add_argument("--threads", type=int, default=1)
    run.add_argument("--compile", action="store_true", help="compile the networks")
    run.add_argument("--jobs", type=int, default=1, help="runs at a time")
    run.add_argument("--work", type=Path, required=True, help="folder for everything that is made")
    run.add_argument("--output", type=Path, required=True, help="CSV, a row per run")
    table = verbs.add_parser("table", help="print Markdown")
    curves = verbs.add_parser("curves", help="draw the training losses")
    for verb in (table, curves):
        verb.add_argument("runs", type=Path)
    curves.add_argument("--work", type=Path, required=True)
    curves.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    if options.verb == "run" and any(steps % 25 for steps in options.steps):
        parser.error("--steps: multiples of 25")
    {"run": run_all, "table": show_table, "curves": draw_curves}[options.verb](options)


def run_all(options) -> None:
    places = prepare(options)
    wanted = [
        {
            "data": options.dataset.name,
            "config": " ".join(options.config),
            "configuration": options.configuration,
            "fold": f"{options.fold}" + ("" if options.without_fold is None else f" -{options.without_fold}"),
            "recipe": Path(recipe).stem,
            "changes": " ".join(options.changes),
            "width": options.width,
            "batch": options.batch,
            "steps": steps,
            "seed": seed,
        }
        for seed in options.seeds
        for steps in options.steps
        for recipe in options.recipe
    ]
    found = pd.read_csv(options.output, keep_default_na=False) if options.output.exists() else pd.DataFrame()
    known = {tuple(map(str, row)) for row in found.reindex(columns=[*SAME, "seed"]).to_numpy()}
    missing = [row for row in wanted if tuple(str(row[key]) for key in [*SAME, "seed"]) not in known]
    files = {Path(recipe).stem: recipe for recipe in options.recipe}
    with ThreadPool(options.jobs) as pool:
        for row in pool.imap_unordered(lambda row: one_run(options, places, files, row), missing):
            pd.DataFrame([row]).to_csv(
                options.output, mode="a", header=not options.output.exists(), index=False
            )
            print(row, flush=True)


def prepare(options) -> dict[str, Path]:
    """Prepare the cases if there are none, and write the split and links to the held-out cases' references."""
    root = root_of(options.work, options.dataset.name, " ".join(options.config))
    settings = {
        "dataset": str(options.dataset.resolve()),
        "output": str(root / "results"),
        "configurations": [options.configuration],
    }
    for key, value in (one.split("=", 1) for one in options.config):
        section, _, name = key.rpartition(".")
        (settings.setdefault(section, {}) if section else settings)[name] = yaml.safe_load(value)
    root.mkdir(parents=True, exist_ok=True)
    config = root / "config.yaml"
    config.write_text(yaml.safe_dump(settings))
    results = root / "results" / options.dataset.name
    plan = results / "plans" / "nnUNetPlans"
    prepared = results / "preprocessed" / "nnUNetPlans" / options.configuration / "prepared.json"
    folds = results / "splits_final.json"
    workflow = [
        "-m",
        "snakemake",
        "--snakefile",
        HERE.parent / "Snakefile",
        "--configfile",
        config,
        "--quiet",
    ]
    if not (prepared.exists() and folds.exists()):
        words = [sys.executable, *workflow, "--directory", root, "--cores", 2, prepared, folds]
        call(words, dict(os.environ))
    splits = json.loads(folds.read_text())
    split = splits[options.fold]
    if options.without_fold is not None:
        kept_out = set(splits[options.without_fold]["val"])
        split["train"] = [case for case in split["train"] if case not in kept_out]
    name = f"fold_{options.fold}" + (
        "" if options.without_fold is None else f"_without_{options.without_fold}"
    )
    write_json(root / f"{name}.json", [split])
    references = root / f"references_{name}"
    references.mkdir(exist_ok=True)
    ending = json.loads((options.dataset / "dataset.json").read_text())["file_ending"]
    for case in split["val"]:
        link = references / f"{case}{ending}"
        if not link.exists():
            link.symlink_to((options.dataset / "labelsTr" / f"{case}{ending}").resolve())
    return {
        "network": plan / "network" / f"{options.configuration}.json",
        "preparation": plan / "preparation" / f"{options.configuration}.json",
        "prepared": prepared,
        "folds": root / f"{name}.json",
        "references": references,
        "runs": root / "runs",
    }


def one_run(options, places: dict[str, Path], files: dict[str, str], row: dict) -> dict:
    folder = places["runs"] / name_of(row)
    epoch = 25 if row["steps"] % 50 else 50
    values = settings_of("training", find_recipe(files[row["recipe"]]).training)
    budget = {
        "epochs": row["steps"] // epoch,
        "iterations": epoch,
        "validation_iterations": 0,
        "base_width": row["width"],
        "batch_size": {options.configuration: row["batch"]},
    }
    words = [*values, *(f"training.{name}={json.dumps(value)}" for name, value in budget.items())]
    common = ["--dataset", options.dataset, "--folds", places["folds"], "--fold", 0]
    common += ["--prepared", places["prepared"], "--device", options.device, "--threads", options.threads]
    model = folder / "model.pt"
    began = time.perf_counter()
    segflow(
        *("train", *common, "--network", places["network"], "--seed", row["seed"], "--output", model),
        *("--history", folder / "training.csv", "--work", folder / "work"),
        "--compile-network" if options.compile else "--no-compile-network",
        *("--settings", *words, *options.changes),
    )
    seconds = time.perf_counter() - began
    predictions = folder / "predictions"
    segflow(
        *("predict-fold", *common, "--preparation", places["preparation"], "--model", model),
        *("--output", predictions, "--manifest", predictions / "manifest.json"),
        *("--settings", "inference.mirroring=false"),
    )
    segflow(
        *("evaluate", "--dataset", options.dataset, "--predictions", predictions),
        *("--references", places["references"], "--output", folder / "summary.json"),
    )
    summary = json.loads((folder / "summary.json").read_text())
    each = [figures["Dice"] for figures in summary["mean"].values()]
    trained = pd.read_csv(folder / "training.csv")["seconds"].sum()
    dice = {"dice": summary["foreground_mean"]["Dice"], "classes": " ".join(f"{one:.4f}" for one in each)}
    return row | dice | {"training_s": round(trained, 1), "process_s": round(seconds, 1)}


def root_of(work: Path, data: str, config: str) -> Path:
    """The folder of a data set, planned and divided into folds with some changes of the configuration."""
    return work / (f"{data}-{key_of(config)[:8]}" if config else data)


def name_of(row) -> str:
    return "_".join(str(row[key]) for key in [*SAME[2:], "seed"]).replace(" ", "_").replace("/", "-")


def show_table(options) -> None:
    """A row for each that `SAME` tells apart: the Dice of every seed and class, and figures of the seeds' means."""
    runs = pd.read_csv(options.runs, keep_default_na=False, dtype={"classes": str})
    figures = ["mean", "median", "min", "max"]
    print(
        "| " + " | ".join([*SAME, "seed: Dice of the classes", "mean", "median", "worst", "best", "s"]) + " |"
    )
    print("|---" * (len(SAME) + 6) + "|")
    for key, group in runs.groupby(SAME, sort=False):
        each = "; ".join(f"{row.seed}: {row.classes}" for row in group.sort_values("seed").itertuples())
        numbers = [f"{value:.3f}" for value in group["dice"].agg(figures)]
        print(
            "| " + " | ".join([*map(str, key), each, *numbers, f"{group['training_s'].median():.0f}"]) + " |"
        )


def draw_curves(options) -> None:
    """Training loss by step, a line per run, a colour per row of the table, named by what the rows differ in."""
    runs = pd.read_csv(options.runs, keep_default_na=False)
    differing = [name for name in SAME if runs[name].nunique() > 1]
    figure, axes = plt.subplots(figsize=(8, 5))
    for number, (_, group) in enumerate(runs.groupby(SAME, sort=False)):
        for index, (_, row) in enumerate(group.iterrows()):
            history = pd.read_csv(
                root_of(options.work, row["data"], row["config"]) / "runs" / name_of(row) / "training.csv"
            )
            steps = (history["epoch"] + 0.5) * row["steps"] / len(history)
            words = (f"{row[name]} steps" if name == "steps" else str(row[name]) for name in differing)
            label = None if index else ", ".join(words)
            axes.plot(steps, history["train_loss"], color=f"C{number % 10}", label=label, linewidth=1)
    axes.set_xlabel("step")
    axes.set_ylabel("training loss, mean of an epoch")
    axes.legend()
    figure.savefig(options.output, dpi=100, bbox_inches="tight")


if __name__ == "__main__":
    main()
