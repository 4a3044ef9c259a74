"""The same short training by both, several times: mean foreground Dice on the held-out cases of a fold.

    python benchmarks/accuracy.py segflow --hippocampus ../shared/data/hippocampus --seeds 0 1 2 --output segflow.json
    python benchmarks/accuracy.py nnunet --nnunet NNUNET/bin/python --hippocampus ... --seeds 0 1 2 --output nnunet.json

3d_fullres of MSD Task04, fold 0, base width 8, batch 2, 20 epochs of 50 steps; prediction with
mirroring, no post-processing. nnU-Net has no seed: its runs are only numbered. The output holds all runs so far,
and a run found there is not repeated.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import yaml
from side_by_side import call, last_json, nnunet_environment, timed

from segflow.storage.files import write_json

HERE = Path(__file__).resolve().parent
EPOCHS, ITERATIONS, VALIDATION_ITERATIONS, WIDTH, BATCH = 20, 50, 5, 8, 2
DATASET = "Dataset004_Hippocampus"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", choices=["segflow", "nnunet"])
    parser.add_argument("--nnunet", help="Python of nnU-Net's environment")
    parser.add_argument("--hippocampus", type=Path, required=True, help="MSD Task04 in raw layout")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=Path, required=True, help="folder for everything that is made")
    parser.add_argument("--output", type=Path, required=True, help="JSON, seed to figures")
    options = parser.parse_args()
    found = json.loads(options.output.read_text()) if options.output.exists() else {}
    train = {"segflow": train_segflow, "nnunet": train_nnunet}[options.program]
    for seed in options.seeds:
        if str(seed) not in found:
            summaries: list[dict] = []
            seconds = timed(lambda seed=seed, kept=summaries: kept.append(train(options, seed)))
            found[str(seed)] = {"dice": dice_of(summaries[0]), "seconds": seconds}
            write_json(options.output, found)
        print(seed, found[str(seed)], flush=True)


def dice_of(summary: dict) -> dict[str, float]:
    """Foreground mean, and the mean of each label."""
    each = {label: figures["Dice"] for label, figures in summary["mean"].items()}
    return {"foreground": summary["foreground_mean"]["Dice"], **each}


def train_segflow(options, seed: int) -> dict:
    output = options.work / f"segflow_{seed}"
    config = options.work / f"segflow_{seed}.yaml"
    config.parent.mkdir(parents=True, exist_ok=True)
    training = {
        "epochs": EPOCHS,
        "iterations": ITERATIONS,
        "validation_iterations": VALIDATION_ITERATIONS,
        "base_width": WIDTH,
        "batch_size": {"3d_fullres": BATCH},
    }
    settings = {
        "dataset": str(options.hippocampus.resolve()),
        "output": str(output),
        "configurations": ["3d_fullres"],
        "folds": [0],
        "seed": seed,
        "training": training,
    }
    config.write_text(yaml.safe_dump(settings))
    words = ["-m", "snakemake", "--snakefile", HERE.parent / "Snakefile", "--configfile", config, "--quiet"]
    places = ["--directory", options.work / f"segflow_{seed}_run"]
    call([sys.executable, *words, *places, "--cores", options.threads], dict(os.environ))
    (summary,) = output.rglob("3d_fullres/**/summary.json")
    return json.loads(summary.read_text())


def train_nnunet(options, seed: int) -> dict:
    folder = options.work / "nnunet"
    job = {
        "seed": seed,
        "epochs": EPOCHS,
        "iterations": ITERATIONS,
        "validation_iterations": VALIDATION_ITERATIONS,
        "width": WIDTH,
        "batch": BATCH,
        "threads": options.threads,
        "prepared": str(folder / "preprocessed" / DATASET),
    }
    raw = folder / "raw" / DATASET
    environment = nnunet_environment(folder) | {"OMP_NUM_THREADS": str(options.threads)}
    if not raw.exists():
        raw.parent.mkdir(parents=True)
        raw.symlink_to(options.hippocampus.resolve())
        command = Path(options.nnunet).with_name("nnUNetv2_plan_and_preprocess")
        call([command, "-d", "4", "-c", "3d_fullres", "-np", "2", "-npfp", "2"], environment)
    file = folder / f"job_{seed}.json"
    write_json(file, job)
    summary = last_json(call([options.nnunet, HERE / "one_accuracy.py", file], environment))["summary"]
    return json.loads(Path(summary).read_text())


if __name__ == "__main__":
    main()
