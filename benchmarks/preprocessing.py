"""Fingerprint, planning and preprocessing beside nnU-Net, on the same files, in turns within one run.

    python benchmarks/preprocessing.py all --nnunet NNUNET/bin/python --hippocampus ../shared/data/hippocampus --runs 3

`--nnunet` is the Python of an nnU-Net v2 environment (docs/how-to/compare-with-nnunet.md). It prints Markdown; speed
varies with what else the machine does, so only the ratio within a run counts. Linux only.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from side_by_side import call, call_one, in_turn, nnunet_environment, pair, runs, segflow, show_tables, timed

from segflow.contracts.fingerprint import Fingerprint
from segflow.images.dataset import read_description
from segflow.planning.plan import PlanInput, make_plan
from segflow.recipes.planner import PlannerRecipe
from segflow.storage.files import read_contract, write_json

HERE = Path(__file__).resolve().parent
CT_SHAPE, CT_SPACING_MM, TARGET_MM = (400, 512, 512), (0.7, 0.78, 0.78), (1.0, 1.0, 1.0)
CT_CASE = "ct_000"
PATCHES = {"128^3 read size": (205, 205, 205), "40x56x40 read size": (73, 80, 64)}
READS = 40
ORGANS = (
    (1, (200, 230, 180), (90, 80, 70)),
    (2, (220, 200, 330), (50, 60, 50)),
    (3, (120, 330, 256), (80, 20, 20)),
)
OUR_THREADS = {"OPENBLAS_NUM_THREADS": "1"}


def main() -> None:
    options = parsed()
    folder = Path(tempfile.mkdtemp(prefix="preprocessing_", dir=options.work))
    try:
        tables = {name: BENCHMARKS[name](options, folder) for name in chosen(options.what)}
    finally:
        shutil.rmtree(folder)
    if options.output:
        write_json(options.output, tables)
    show_tables(tables)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["all", *BENCHMARKS])
    parser.add_argument("--nnunet", required=True, help="Python of nnU-Net's environment")
    parser.add_argument("--hippocampus", type=Path, help="MSD Task04 in raw layout")
    parser.add_argument("--plans", type=Path, help="folder of reference fingerprints, one folder each")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--work", help="where to put the data (default: the system's temporary folder)")
    parser.add_argument("--output", type=Path, help="JSON with every figure")
    return parser.parse_args()


def chosen(what: str) -> list[str]:
    return list(BENCHMARKS) if what == "all" else [what]


def hippocampus(options, folder):
    """Raw files to prepared cases of 2d and 3d_fullres: all commands including their start, two processes."""
    seconds = {"segflow": [], "nnunet": []}
    for run in range(options.runs):
        for program in in_turn(run):
            output = folder / f"hippocampus_{program}"
            work = hippocampus_segflow if program == "segflow" else hippocampus_nnunet
            seconds[program].append(timed(lambda work=work, output=output: work(options, output)))
            shutil.rmtree(output)
    return {"260 cases, fingerprint + plan + preprocess": (seconds["segflow"], seconds["nnunet"], "s")}


def hippocampus_segflow(options, output):
    data, plans = options.hippocampus, output / "plans.json"
    segflow("fingerprint", data, "--output", output / "dataset_fingerprint.json", "--workers", 2)
    files = ["--dataset", data / "dataset.json", "--fingerprint", output / "dataset_fingerprint.json"]
    segflow("plan", *files, "--output", plans, "--no-forecast")
    segflow("preprocess", data, "--plan", plans, "--output", output / "prepared", "--workers", 2)


def hippocampus_nnunet(options, output):
    raw = output / "raw" / "Dataset004_Hippocampus"
    raw.parent.mkdir(parents=True)
    raw.symlink_to(options.hippocampus.resolve())
    command = Path(options.nnunet).with_name("nnUNetv2_plan_and_preprocess")
    words = ["-d", "4", "-c", "2d", "3d_fullres", "-np", "2", "2", "-npfp", "2"]
    call([command, *words], nnunet_environment(output))


def volume(options, folder):
    """One CT-like volume of 400x512x512 voxels: resampling alone, then the whole case from file to store."""
    data, plan = make_ct(folder / "Dataset900_CT"), folder / "plans.json"
    segflow("fingerprint", data, "--output", folder / "fingerprint.json", "--workers", 1)
    words = ["--dataset", data / "dataset.json", "--fingerprint", folder / "fingerprint.json"]
    segflow("plan", *words, "--spacing", *TARGET_MM, "--output", plan, "--no-forecast")
    grid = {"shape": CT_SHAPE, "spacing": CT_SPACING_MM, "target": TARGET_MM}
    resampled, whole, patches = runs(), runs(), {name: runs() for name in PATCHES}
    for run in range(options.runs):
        for program in in_turn(run):
            output = folder / f"case_{program}"
            found = one_case(
                options, folder, program, {"task": "resample", **grid, "output": f"{output}.npz"}
            )
            resampled[program].append(found)
            job = {"dataset": str(data), "plan": str(plan), "case": CT_CASE, "output": str(output)}
            whole[program].append(one_case(options, folder, program, {"task": "case", **job}))
            for name, patch in PATCHES.items():
                read = {"task": "reads", **job, "patch": patch, "reads": READS}
                patches[name][program].append(one_case(options, folder, program, read))
            shutil.rmtree(output)
    same_results(folder)
    return {
        "resampling of the image": pair(resampled, lambda f: f["image_s"], "s"),
        "resampling of the labels": pair(resampled, lambda f: f["labels_s"], "s"),
        "resampling of both": pair(resampled, lambda f: f["image_s"] + f["labels_s"], "s"),
        "whole case, file to store": pair(whole, lambda f: f["seconds"], "s"),
        "its peak memory, imports and all": pair(whole, lambda f: f["peak"] / 1e9, "GB"),
        "its peak memory above that of the imports": pair(
            whole, lambda f: (f["peak"] - f["imports"]) / 1e9, "GB"
        ),
        "bytes stored": pair(whole, lambda f: f["bytes"] / 1e6, "MB"),
        **{
            f"a patch read, {state} file cache, {name}": pair(
                found, lambda f, state=state: 1000 / f[state], "ms"
            )
            for name, found in patches.items()
            for state in ("warm", "cold")
        },
    }


def same_results(folder):
    ours, theirs = np.load(folder / "case_segflow.npz"), np.load(folder / "case_nnunet.npz")
    difference = float(np.abs(ours["image"] - theirs["image"]).max())
    labels = int((ours["labels"] != theirs["labels"]).sum())
    print(
        f"resampled volumes, every 8th voxel: largest difference {difference:.2g}, labels that differ: {labels}"
    )


def planner(options, _folder):
    """segflow's planner alone, in milliseconds, on the fingerprints of published plans."""
    rows = {}
    for source in sorted(options.plans.iterdir()):
        if not (source / "dataset_fingerprint.json").exists():
            continue
        description, labels = read_description(source / "dataset.json")
        names = tuple(description["channel_names"].values())
        sample = PlanInput(
            name=source.name, channel_names=names, n_cases=description["numTraining"], n_outputs=labels.n_entries
        )  # fmt: skip
        fingerprint = read_contract(Fingerprint, source / "dataset_fingerprint.json")

        def plan(fingerprint=fingerprint, sample=sample):
            return make_plan(fingerprint, sample, PlannerRecipe())

        cases = len(fingerprint.spacings)
        rows[f"{source.name}, {cases} cases"] = ([1000 * timed(plan) for _ in range(options.runs)], [], "ms")
    return rows


def make_ct(folder: Path) -> Path:
    """A body with three organs in air, with noise, in integers as in CT."""
    rng = np.random.default_rng(0)
    labels = np.zeros(CT_SHAPE, np.uint8)
    image = np.empty(CT_SHAPE, np.int16)
    body = ellipsoid((200, 256, 256), (260, 180, 230))
    image[...] = np.where(body, 40, -1000)
    for value, centre, radii in ORGANS:
        organ = ellipsoid(centre, radii)
        labels[organ], image[organ] = value, 40 + 60 * value
    for z in range(len(image)):
        image[z] += rng.normal(0, 20, image[z].shape).astype(np.int16)
    for part, array in (("imagesTr", image), ("labelsTr", labels)):
        (folder / part).mkdir(parents=True)
        written = sitk.GetImageFromArray(array)
        written.SetSpacing(CT_SPACING_MM[::-1])
        name = f"{CT_CASE}_0000.nii.gz" if part == "imagesTr" else f"{CT_CASE}.nii.gz"
        sitk.WriteImage(written, str(folder / part / name))
    description = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "a": 1, "b": 2, "c": 3},
        "numTraining": 1,
        "file_ending": ".nii.gz",
    }
    write_json(folder / "dataset.json", description)
    return folder


def ellipsoid(centre, radii):
    axes = [((np.arange(size) - c) / r) ** 2 for size, c, r in zip(CT_SHAPE, centre, radii, strict=True)]
    return axes[0][:, None, None] + axes[1][None, :, None] + axes[2][None, None, :] < 1


def one_case(options, folder, program, job):
    return call_one(HERE / "one_case.py", program, job, options, folder, OUR_THREADS)


BENCHMARKS = {"hippocampus": hippocampus, "volume": volume, "planner": planner}

if __name__ == "__main__":
    main()
