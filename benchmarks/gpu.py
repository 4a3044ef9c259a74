"""Ten minutes with a GPU: do the tests pass, do plans fit, how fast are training and prediction, does a network learn.

    python benchmarks/gpu.py                      # every section, in the order of its worth, until the time is over
    python benchmarks/gpu.py --device cpu --tiny  # the same in small, to see that nothing trivial stops it

It prints Markdown and writes gpu.json and gpu.md to `--output`. Each section runs in a process of its own, within its
share of the time. Needed are this repository, torch, numpy, scipy, pydantic, pyyaml and batchgenerators; the tests
also need pytest, hypothesis and what they import. Cases are made on the spot. The last section takes real ones with
`--prepared FOLDER`: `network.json` (plans/*/network/3d_fullres.json of a data set's results), `dataset.json`,
`splits_final.json`, and `cases`, some or all prepared cases of 3d_fullres.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from statistics import median

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from segflow.augmentation.spatial import initial_patch_shape  # noqa: E402
from segflow.contracts.case import TrainingCase  # noqa: E402
from segflow.contracts.fingerprint import Fingerprint, IntensityProperties  # noqa: E402
from segflow.contracts.labels import Labels  # noqa: E402
from segflow.contracts.plan import Fold  # noqa: E402
from segflow.network.device import algorithms, has_compiler  # noqa: E402
from segflow.network.unet import arranged, build_network  # noqa: E402
from segflow.planning.plan import PlanInput, make_plan  # noqa: E402
from segflow.prediction.sliding_window import sliding_window  # noqa: E402
from segflow.recipes.inference import InferenceRecipe  # noqa: E402
from segflow.recipes.recipe import recipe_named  # noqa: E402
from segflow.recipes.training import AugmentationRecipe, TrainingRecipe  # noqa: E402
from segflow.training.batches import BatchMaker  # noqa: E402
from segflow.training.job import TrainingJob  # noqa: E402
from segflow.training.loop import train  # noqa: E402
from segflow.training.step import Learner  # noqa: E402
from segflow.training.transfer import loaded_ahead  # noqa: E402
from segflow.training.workers import open_batches  # noqa: E402

GB = 1e9
LABELS = Labels((("background", 0), ("organ", 1), ("tumour", 2)))
SMALL, LARGE = (36, 50, 35), (432, 512, 512)
TARGETS_GB = {"nnunet": 8, "resenc-m": 11, "resenc-l": 24, "resenc-xl": 40}
WARM_UP = 5  # steps in which algorithms are chosen and kernels compiled


def main() -> None:
    options = read_options()
    if options.section:
        torch.set_num_threads(1 if options.tiny else torch.get_num_threads())
        print(json.dumps(list(SECTIONS[options.section][0](options))))
        return
    began, report = time.monotonic(), {"machine": machine(options.device), "sections": {}}
    for name, (_, share) in SECTIONS.items():
        left = 60 * options.minutes - (time.monotonic() - began)
        report["sections"][name] = in_process(name, min(left, 60 * options.minutes * share))
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "gpu.json").write_text(json.dumps(report, indent=1))
        (options.output / "gpu.md").write_text(markdown(report))
    print(markdown(report))
    sys.exit(any(rows == [] or "failed" in str(rows) for rows in report["sections"].values()))


def read_options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--tiny", action="store_true", help="small networks, few steps")
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/work/gpu"))
    parser.add_argument("--prepared", type=Path, help="folder of prepared cases for the last section")
    parser.add_argument(
        "--section", choices=SECTIONS, help="run one section here, and print its rows as JSON"
    )
    return parser.parse_args()


def machine(device: str) -> dict:
    cuda = device == "cuda"
    return {
        "device": torch.cuda.get_device_name() if cuda else platform.processor() or platform.machine(),
        "memory_gb": round(torch.cuda.mem_get_info()[1] / GB, 1) if cuda else None,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "compiler": has_compiler(),
    }


def in_process(name: str, seconds: float) -> list[dict]:
    """The rows of a section; those printed so far if it is cut off."""
    if seconds < 5:
        return [{"what": "not run: the time is over"}]
    words = [sys.executable, __file__, "--section", name, *sys.argv[1:]]
    path = f"{ROOT / 'src'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    environment = os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=seconds, env=environment, check=False
        )
    except subprocess.TimeoutExpired as cut:
        lines = (cut.stderr or b"").decode().splitlines()
        return [*rows_of(lines), {"what": f"cut off after {seconds:.0f} s"}]
    if done.returncode:
        return [*rows_of(done.stderr.splitlines()), {"what": "failed", "error": done.stderr[-2000:]}]
    return json.loads(done.stdout.splitlines()[-1])


def rows_of(lines: list[str]) -> list[dict]:
    return [json.loads(line.removeprefix("row ")) for line in lines if line.startswith("row ")]


def told(**row) -> dict:
    """A row, printed at once, so that it is not lost if the section is cut off."""
    print("row", json.dumps(row), file=sys.stderr, flush=True)
    return row


# Sections: each yields rows.


def run_tests(options):
    """The tests that need a GPU."""
    files = [file for file in (ROOT / "tests").rglob("test_*.py") if "mark.gpu" in file.read_text()]
    words = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", *map(str, files)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)
    lines, tail, verdict = done.stdout.strip().splitlines(), {}, "tests"
    if done.returncode:
        tail, verdict = {"error": "\n".join(lines[-40:]) + done.stderr[-1000:]}, "tests failed"
    elif options.device == "cpu":
        verdict = "tests (skipped without a GPU)"
    yield told(what=verdict, result=lines[-1] if lines else "", **tail)


def fit(options):
    """One step of each recipe's largest plans, and the memory of the GPU that the recipe plans for."""
    for recipe, target in TARGETS_GB.items():
        for name in ("3d_fullres", "2d"):
            steps = measured_steps(job_of(recipe, name, LARGE, options), n=2)
            peak = steps["peak_gb"]
            fits = None if peak is None else peak < target
            yield told(what=f"{recipe} {name}", target_gb=target, fits=fits, **steps)


def speed(options):
    """Steps of training as it runs, data workers included."""
    variants = {"as planned": {}, "augmented on the device": {"augment": "device"}, "channels last": {}}
    swift = recipe_named("swift").training.model_copy(update={"iterations": 10**6})
    variants |= {"swift": {"training": swift}, "deterministic": {"deterministic": True}}
    variants |= {"compiled": {"compile": True}}
    plans = [(recipe, shape) for shape in (LARGE, SMALL) for recipe in ("nnunet", "resenc-l")]
    for variant, changes in variants.items():
        for recipe, shape in plans:
            job = job_of(recipe, "3d_fullres", shape, options)
            patch = "x".join(map(str, job.configuration.patch_shape))
            what = f"{recipe} {patch}, batch {job.configuration.batch_size}, {variant}"
            layout = channels_last if variant == "channels last" else None
            if variant == "compiled" and (options.device == "cpu" or not has_compiler()):
                yield told(what=what, note="no compiler, or not for CPUs")
            else:
                steps = measured_steps(replace(job, **changes), n=2 if options.tiny else 24, layout=layout)
                yield told(what=what, **steps)


def predict(options):
    """A CT of 512 x 512 x 300 voxels, mirrored along all axes."""
    shape = (24, 40, 40) if options.tiny else (300, 512, 512)
    for recipe in ("nnunet", "resenc-l"):
        job = job_of(recipe, "3d_fullres", LARGE, options)
        network = build_network(job.configuration.architecture, input_channels=1, output_channels=3)
        network = arranged(network, options.device).eval()
        image = np.random.default_rng(0).standard_normal((1, *shape), np.float32)
        arguments = ([network], image, job.configuration.patch_shape, InferenceRecipe())
        began = time.perf_counter()
        reset_peak(options.device)
        for planes in sliding_window(*arguments, labels=LABELS, device=options.device):
            if not np.isfinite(planes).all():
                raise SystemExit("scores are not finite")
        yield told(
            what=f"{recipe}, {'x'.join(map(str, shape))}",
            seconds=round(time.perf_counter() - began, 2),
            peak_gb=peak_gb(options.device),
        )


def learn(options):
    """25 epochs of real prepared cases, or of ones made on the spot."""
    job, reader = real_job(options) if options.prepared else made_job(options)
    began = time.perf_counter()
    result = train(job, reader, Quiet(), Quiet())
    last = result.history[-1]
    yield told(
        what=f"{job.training.epochs} epochs of {job.training.iterations} steps, "
        f"{'real' if options.prepared else 'made-up'} cases",
        seconds=round(time.perf_counter() - began, 1),
        pseudo_dice=[round(dice, 4) for dice in last.pseudo_dice],
        mean=round(last.mean, 4),
        skipped=sum(record.skipped for record in result.history),
    )


#: By worth, with the largest share of the whole time.
SECTIONS = {
    "tests": (run_tests, 0.35),
    "fit": (fit, 0.2),
    "speed": (speed, 0.4),
    "prediction": (predict, 0.15),
    "learning": (learn, 0.4),
}


# What the sections are made of.


def job_of(recipe: str, name: str, shape, options) -> TrainingJob:
    chosen = recipe_named(recipe)
    planner = chosen.planning
    if options.tiny:
        planner, shape = planner.model_copy(update={"base_features": 4}), (20, 20, 20)
    intensities = IntensityProperties(
        max=9.0, mean=1.0, median=1.0, min=-9.0, percentile_00_5=-5.0, percentile_99_5=5.0, std=1.0
    )
    fingerprint = Fingerprint(
        foreground_intensity_properties_per_channel={"0": intensities},
        median_relative_size_after_cropping=1.0,
        shapes_after_crop=(shape,) * 260,
        spacings=((1.0, 1.0, 1.0),) * 260,
    )
    data_set = PlanInput(name="made", channel_names=("MRI",), n_cases=260, n_outputs=3)
    configuration = make_plan(fingerprint, data_set, planner).configurations[name]
    if options.tiny:
        configuration = configuration.model_copy(update={"batch_size": 2})
    return TrainingJob(
        configuration=configuration,
        labels=LABELS,
        channels=1,
        fold=Fold(train=("0", "1"), val=("2",)),
        training=TrainingRecipe(iterations=10**6),
        augmentation=AugmentationRecipe(),
        device=options.device,
        seed=0,
        workers=0 if options.tiny else max(1, (os.cpu_count() or 2) - 1),
        compile=False,
    )


class Cases:
    """Noise around two nested ellipsoids, each case elsewhere, large enough for patches of a job."""

    def __init__(self, job: TrainingJob, *, margin: float = 1.0) -> None:
        read = initial_patch_shape(job.configuration.patch_shape, job.augmentation)
        self._shape = (1,) * (3 - len(read)) + tuple(int(edge * margin) for edge in read)

    @lru_cache(maxsize=64)  # noqa: B019  lives as long as the program
    def read(self, identifier: str) -> TrainingCase:
        rng = np.random.default_rng(int(identifier))
        axes = np.ogrid[tuple(slice(-1, 1, size * 1j) for size in self._shape)]
        centre = rng.uniform(-0.4, 0.4, 3)
        distance = sum(
            ((axis - c) / rng.uniform(0.3, 0.5)) ** 2 for axis, c in zip(axes, centre, strict=True)
        )
        labels = np.where(distance < 0.3, 2, np.where(distance < 1, 1, 0)).astype(np.int16)
        image = (rng.standard_normal(self._shape, np.float32) + labels)[None].astype(np.float32)
        voxels = {value: np.argwhere(labels == value)[:10_000] for value in (1, 2)}
        return TrainingCase(image, labels, voxels)


def measured_steps(job: TrainingJob, *, n: int, layout=None) -> dict:
    """Steps of a training: the median's milliseconds, samples per second, waiting share, peak memory."""
    device, maker = torch.device(job.device), BatchMaker(job, Cases(job))
    warm_up = WARM_UP if n > WARM_UP else 1
    reset_peak(job.device)
    with (
        open_batches(maker, first=0, stop=n + warm_up, workers=job.workers) as batches,
        algorithms(deterministic=job.deterministic),
    ):
        began = time.perf_counter()
        learner = Learner(job)
        if layout is not None:
            layout(learner)
        outcomes = []
        for batch in loaded_ahead(batches, device):
            outcomes.append(learner.learn(batch))
            if len(outcomes) == 1:
                outcomes[0].read()
                first_s = time.perf_counter() - began
            else:
                outcomes[-2].read()
        outcomes[-1].read()
    times = [
        one.seconds(before) for before, one in zip(outcomes[warm_up - 1 :], outcomes[warm_up:], strict=False)
    ]
    waited, computed = (sum(column) for column in zip(*times, strict=True))
    return {
        "step_ms": round(1000 * median(seconds for _, seconds in times), 1),
        "samples_per_s": round(job.configuration.batch_size * len(times) / (waited + computed), 2),
        "waiting": round(waited / (waited + computed), 3),
        "first_step_s": round(first_s, 1),
        "peak_gb": peak_gb(job.device),
    }


def channels_last(learner: Learner) -> None:
    layout = torch.channels_last_3d if learner.network.dimensions == 3 else torch.channels_last
    learner.network.to(memory_format=layout)
    learner._layout = layout


def reset_peak(device: str) -> None:
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_gb(device: str) -> float | None:
    return round(torch.cuda.max_memory_allocated() / GB, 2) if device == "cuda" else None


def made_job(options):
    job = job_of("nnunet", "3d_fullres", SMALL, options)
    fold = Fold(train=tuple(map(str, range(16))), val=tuple(map(str, range(16, 20))))
    job = replace(job, fold=fold, training=length_of(options), compile=None)
    return job, Cases(job, margin=1.2)


def real_job(options):
    from segflow.contracts.plan import Configuration
    from segflow.storage.cases import CaseStore
    from segflow.storage.files import read_contract

    folder = options.prepared
    description = json.loads((folder / "dataset.json").read_text())
    there = {file.name.removesuffix("_image.npy") for file in (folder / "cases").glob("*_image.npy")}
    split = json.loads((folder / "splits_final.json").read_text())[0]
    fold = Fold(**{part: tuple(case for case in split[part] if case in there) for part in ("train", "val")})
    job = replace(
        job_of("nnunet", "3d_fullres", SMALL, options),
        configuration=read_contract(Configuration, folder / "network.json"),
        labels=Labels.from_json(description["labels"], None, where="dataset.json"),
        fold=fold,
        training=length_of(options),
        compile=None,
    )
    return job, CaseStore(folder / "cases")


def length_of(options) -> TrainingRecipe:
    if options.tiny:
        return TrainingRecipe(epochs=2, iterations=4, validation_iterations=2)
    return TrainingRecipe(epochs=25, iterations=250, validation_iterations=50)


class Quiet:
    """Keeps the last state in memory, and shows no progress."""

    state = None

    def load(self):
        return self.state

    def save(self, state) -> None:
        self.state = state

    def advance(self, steps: int = 1, *, note: str = "") -> None:
        pass


def markdown(report: dict) -> str:
    lines = [
        "## " + ", ".join(f"{key} {value}" for key, value in report["machine"].items() if value is not None)
    ]
    for name, rows in report["sections"].items():
        keys = list(dict.fromkeys(key for row in rows for key in row if key != "error"))
        lines += ["", f"### {name}", "", row_of(keys), row_of(["---"] * len(keys))]
        lines += [row_of("" if row.get(key) is None else row[key] for key in keys) for row in rows]
        lines += [f"\n```\n{row['error']}\n```" for row in rows if "error" in row]
    return "\n".join(lines) + "\n"


def row_of(cells) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


if __name__ == "__main__":
    main()
