"""Prediction and export beside nnU-Net, in turns within one run.

    python benchmarks/inference.py all --nnunet NNUNET/bin/python --model MODEL --hippocampus ../shared/data/hippocampus

`--nnunet` is the Python of an nnU-Net v2 environment (docs/how-to/compare-with-nnunet.md); MODEL a package with
3d_fullres and fold 0. It prints Markdown; speed varies with what else the machine does, so only the ratio within a run
counts. Linux only.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from side_by_side import call, call_one, in_turn, nnunet_environment, pair, runs, segflow, show_tables, timed

from segflow.storage.files import write_json

HERE = Path(__file__).resolve().parent
DATA_SET = "Dataset004_Hippocampus"
TRAINER = "nnUNetTrainer__*__3d_fullres"
CT = {"shape": (267, 320, 320), "raw_shape": (400, 512, 512), "classes": 25}
WHOLE_BODY = {"shape": (400, 320, 320), "raw_shape": (600, 512, 512), "classes": 117}
OUR_THREADS = {"OPENBLAS_NUM_THREADS": "1", "GOMP_SPINCOUNT": "20000"}  # as the command sets them
FEW_CLASSES = (10, 20)  # of nnU-Net: its memory grows linearly with them


def main() -> None:
    options = parsed()
    folder = Path(tempfile.mkdtemp(prefix="inference_", dir=options.work))
    try:
        names = list(BENCHMARKS) if options.what == "all" else [options.what]
        tables = {name: BENCHMARKS[name](options, folder) for name in names}
    finally:
        shutil.rmtree(folder)
    if options.output:
        write_json(options.output, tables)
    show_tables(tables)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["all", *BENCHMARKS])
    parser.add_argument("--nnunet", required=True, help="Python of nnU-Net's environment")
    parser.add_argument("--model", type=Path, required=True, help="model package with 3d_fullres and fold 0")
    parser.add_argument("--hippocampus", type=Path, help="MSD Task04 in raw layout")
    parser.add_argument(
        "--splits", type=Path, help="its splits_final.json, of which fold 0 is predicted (default: nnU-Net's)"
    )
    parser.add_argument("--cases", type=int, help="predict only so many")
    parser.add_argument("--shrink", type=int, default=1, help="divide the volumes' edges, for a trial")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--work", help="where to put the data (default: the system's temporary folder)")
    parser.add_argument("--output", type=Path, help="JSON with every figure")
    return parser.parse_args()


def hippocampus(options, folder):
    """The validation cases of fold 0, with and without the start of the programs."""
    images = folder / "images"
    images.mkdir()
    splits = options.splits or folder / "splits_final.json"
    if options.splits is None:
        segflow("folds", options.hippocampus, "--output", splits)  # the same as nnU-Net's
    cases = json.loads(splits.read_text())[0]["val"][: options.cases]
    for case in cases:
        name = f"{case}_0000.nii.gz"
        (images / name).symlink_to((options.hippocampus / "imagesTr" / name).resolve())
    results = folder / "results" / DATA_SET
    segflow("export", "nnunet", options.model, "--output", results)
    raw = folder / "raw" / DATA_SET
    raw.mkdir(parents=True)
    shutil.copy(options.model / "dataset.json", raw / "dataset.json")
    (trained,) = results.glob(TRAINER)
    whole, loaded = runs(), runs()
    job = {"task": "folder", "threads": options.threads, "input": str(images)}
    job |= {"model": str(options.model), "results": str(trained)}
    for run in range(options.runs):
        for program in in_turn(run):
            output = folder / f"labels_{program}"
            shutil.rmtree(output, ignore_errors=True)
            command = our_command if program == "segflow" else nnunet_command
            whole[program].append(
                timed(
                    lambda command=command, output=output: command(options, folder, trained, images, output)
                )
            )
            inside = output.with_name(f"{output.name}_inside")
            shutil.rmtree(inside, ignore_errors=True)
            found = one_call(options, folder, program, {**job, "output": str(inside)})
            loaded[program].append(found["seconds"])
    print(f"voxels that agree: {agreement(folder / 'labels_segflow', folder / 'labels_nnunet'):.5f}")
    return {
        f"{len(cases)} cases, the command": (whole["segflow"], whole["nnunet"], "s"),
        f"{len(cases)} cases, model loaded (of nnU-Net, the faster of workers and none)": (
            loaded["segflow"],
            loaded["nnunet"],
            "s",
        ),
    }


def our_command(options, _folder, _trained, images, output):
    words = ["--model", options.model, "--input", images, "--output", output]
    segflow("predict", *words, "--device", "cpu", "--threads", options.threads)


def nnunet_command(options, folder, trained, images, output):
    command = Path(options.nnunet).with_name("nnUNetv2_predict")
    plans = trained.name.split("__")[1]
    words = ["-d", 4, "-c", "3d_fullres", "-p", plans, "-f", 0, "-i", images, "-o", output]
    workers = ["-npp", options.threads, "-nps", options.threads, "-device", "cpu"]
    call([command, *words, *workers], nnunet_environment(folder))


def agreement(ours: Path, theirs: Path) -> float:
    def voxels(folder, name):
        return sitk.GetArrayFromImage(sitk.ReadImage(str(folder / name)))

    files = [file.name for file in ours.glob("*.nii.gz")]
    return float(np.mean([(voxels(ours, name) == voxels(theirs, name)).mean() for name in files]))


def export(options, folder):
    """Scores of 25 classes to the label map of a CT volume."""
    found = runs()
    for run in range(options.runs):
        for program in in_turn(run):
            found[program].append(exported(options, folder, program, CT))
    return figures(f"{CT['classes']} classes", found)


def whole_body(options, folder):
    """117 classes by segflow; nnU-Net's memory is extrapolated from fewer classes."""
    found = {"segflow": [exported(options, folder, "segflow", WHOLE_BODY)], "nnunet": []}
    rows = figures(f"{WHOLE_BODY['classes']} classes", found)
    few = [
        exported(options, folder, "nnunet", {**WHOLE_BODY, "classes": n})["peak"] / 1e9 for n in FEW_CLASSES
    ]
    for n, peak in zip(FEW_CLASSES, few, strict=True):
        rows[f"peak memory of nnU-Net, {n} classes"] = ([], [peak], "GB")
    slope = (few[1] - few[0]) / (FEW_CLASSES[1] - FEW_CLASSES[0])
    whole = few[1] + slope * (WHOLE_BODY["classes"] - FEW_CLASSES[1])
    rows[f"the same for {WHOLE_BODY['classes']} classes, extrapolated linearly"] = ([], [whole], "GB")
    return rows


def figures(what, found):
    for ours, theirs in zip(found["segflow"], found["nnunet"], strict=False):
        print(f"{what}: voxels of the first labels, segflow {ours['digest']}, nnU-Net {theirs['digest']}")
    return {
        f"export, {what}": pair(found, lambda one: one["seconds"], "s"),
        "its peak memory, scores and imports included": pair(found, lambda one: one["peak"] / 1e9, "GB"),
        "its peak memory above scores and imports": pair(
            found, lambda one: (one["peak"] - one["given"]) / 1e9, "GB"
        ),
    }


def exported(options, folder, program, volume):
    small = {key: [size // options.shrink for size in volume[key]] for key in ("shape", "raw_shape")}
    job = {"task": "export", "threads": options.threads, "classes": volume["classes"], **small}
    return one_call(options, folder, program, {**job, "plan": str(options.model / "plans.json")})


def one_call(options, folder, program, job):
    return call_one(HERE / "one_inference.py", program, job, options, folder, OUR_THREADS)


BENCHMARKS = {"hippocampus": hippocampus, "export": export, "whole_body": whole_body}

if __name__ == "__main__":
    main()
