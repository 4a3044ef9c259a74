"""Training steps and augmented samples beside nnU-Net, in turns within one run.

    python benchmarks/training.py --nnunet NNUNET/bin/python --runs 3

`--nnunet` is the Python of an nnU-Net v2 environment (docs/how-to/compare-with-nnunet.md). Both train the network of
the same plan on the same random batch, and cut and augment samples of the same made-up case. It prints Markdown; speed
varies with what else the machine does, so only the ratio within a run counts. With `--device cuda` steps alone are
timed, on the GPU, at both patch sizes and with the most memory that torch held (nnU-Net compiles its network unless
nnUNet_compile=f is set).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from statistics import median

from side_by_side import call, in_turn, last_json, runs

from segflow.contracts.fingerprint import Fingerprint, IntensityProperties
from segflow.nnunet.plans import write_plan
from segflow.planning.plan import PlanInput, make_plan
from segflow.recipes.planner import PlannerRecipe
from segflow.storage.files import write_json

HERE = Path(__file__).resolve().parent
DESCRIPTION = {
    "channel_names": {"0": "MRI"},
    "labels": {"background": 0, "a": 1, "b": 2},
    "numTraining": 260,
    "file_ending": ".nii.gz",
}
#: Patch of 3d_fullres, to the shape of all cases at 1 mm that gives it.
PLANS = {"40x56x40": (36, 50, 35), "128^3": (138, 169, 138)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nnunet", required=True, help="Python of nnU-Net's environment")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5, help="per run")
    parser.add_argument("--samples", type=int, default=150, help="per run, at 40x56x40; a third at 128^3")
    parser.add_argument("--output", type=Path, help="JSON with every figure")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="training_") as folder:
        rows = measured(options, Path(folder))
    if options.output:
        write_json(options.output, rows)
    print("| What | segflow | nnU-Net | segflow / nnU-Net | per run |\n|---|---|---|---|---|")
    for what, (ours, theirs) in rows.items():
        ratios = [our / their for our, their in zip(ours, theirs, strict=True)]
        each = " ".join(f"{ratio:.3g}" for ratio in ratios)
        times = " | ".join(f"{1000 * median(seconds):.4g} ms" for seconds in (ours, theirs))
        print(f"| {what} | {times} | {median(ratios):.3g} | {each} |")


def measured(options, folder: Path) -> dict[str, tuple[list[float], list[float]]]:
    """Seconds per run, of segflow and of nnU-Net."""
    description = folder / "dataset.json"
    write_json(description, DESCRIPTION)
    plans = {name: write_sample_plan(folder / f"{name}.json", shape) for name, shape in PLANS.items()}
    common = {"dataset": str(description), "batch": 2, "device": options.device}
    small, large = (str(plans[name]) for name in PLANS)
    if options.device == "cuda":
        jobs = {
            f"a training step on the GPU, {name}, batch 2, full width (median)": (
                median,
                {
                    **common,
                    "task": "steps",
                    "plan": str(plan),
                    "threads": os.cpu_count(),
                    "repeat": options.steps,
                },
            )
            for name, plan in plans.items()
        }
        return timed_jobs(jobs, options, folder)
    jobs = {
        "a training step, 40x56x40, batch 2, full width, two threads (median)": (
            median,
            {**common, "task": "steps", "plan": small, "threads": 2, "repeat": options.steps},
        ),
        "an augmented sample, 40x56x40, one thread (mean)": (
            mean,
            {**common, "task": "samples", "plan": small, "threads": 1, "repeat": options.samples},
        ),
        "an augmented sample, 128^3, one thread (mean)": (
            mean,
            {
                **common,
                "task": "samples",
                "plan": large,
                "threads": 1,
                "repeat": max(options.samples // 3, 1),
            },
        ),
    }
    return timed_jobs(jobs, options, folder)


def timed_jobs(jobs, options, folder: Path) -> dict[str, tuple[list[float], list[float]]]:
    """Each job by both programs, in turns."""
    rows: dict[str, tuple[list[float], list[float]]] = {}
    for what, (summary, job) in jobs.items():
        seconds = runs()
        for run in range(options.runs):
            for program in in_turn(run):
                seconds[program].append(summary(called(options, folder, program, job)))
        rows[what] = (seconds["segflow"], seconds["nnunet"])
    return rows


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def write_sample_plan(path: Path, shape: tuple[int, int, int]) -> Path:
    properties = IntensityProperties(
        max=1, mean=0, median=0, min=-1, percentile_00_5=-1, percentile_99_5=1, std=1
    )
    fingerprint = Fingerprint(
        foreground_intensity_properties_per_channel={"0": properties},
        median_relative_size_after_cropping=1.0,
        shapes_after_crop=(shape,) * 260,
        spacings=((1.0, 1.0, 1.0),) * 260,
    )
    sample = PlanInput(name="sample", channel_names=("MRI",), n_cases=260, n_outputs=3)
    write_plan(path, make_plan(fingerprint, sample, PlannerRecipe()))
    return path


def called(options, folder: Path, program: str, job: dict) -> list[float]:
    file = folder / "job.json"
    write_json(file, job)
    python = sys.executable if program == "segflow" else options.nnunet
    # nnU-Net's trainer looks at the files of the prepared cases to see of which kind they are.
    prepared = folder / "preprocessed" / "sample" / "nnUNetPlans_3d_fullres"
    prepared.mkdir(parents=True, exist_ok=True)
    (prepared / "case.b2nd").touch()
    roots = {f"nnUNet_{name}": str(folder / name) for name in ("raw", "preprocessed", "results")}
    compiled = {} if options.device == "cuda" else {"nnUNet_compile": "f"}
    environment = os.environ | roots | compiled | {"OMP_NUM_THREADS": str(job["threads"])}
    found = last_json(call([python, HERE / "one_training.py", program, file], environment))
    if found["gpu_bytes"] is not None:
        print(
            f"{program}: {job['plan']}: at most {found['gpu_bytes'] / 1e9:.2f} GB on the GPU", file=sys.stderr
        )
    return found["seconds"]


if __name__ == "__main__":
    main()
