"""The cost of the orchestration itself: planning many jobs, whole runs, calls with nothing to do.

    python benchmarks/workflow.py dry-run                      # 10,000 cases: a minute or two
    python benchmarks/workflow.py overhead --epochs 10         # two whole runs per repetition
    python benchmarks/workflow.py no-change --configfile my.yaml --folder WHERE_IT_WAS_RUN
    python benchmarks/workflow.py all --output results.json

It prints Markdown. Wall times depend on what else the machine does, hence load and processor time. Linux only.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

import yaml

from segflow.contracts.artefacts import Provenance
from segflow.contracts.fingerprint import Fingerprint, IntensityProperties
from segflow.nnunet.parts import write_parts
from segflow.nnunet.plans import write_plan
from segflow.planning.plan import PlanInput, make_plan
from segflow.recipes.planner import PlannerRecipe
from segflow.storage.files import read_contract, write_json, write_text
from segflow.workflow.chunks import chunk_count
from segflow.workflow.config import ChunksConfig

REPOSITORY = Path(__file__).resolve().parents[1]

GOAL_DRY_RUN_S = 10.0
GOAL_JOBS = 600
GOAL_SHARE = 5.0  # per cent, of runs longer than a minute: shorter ones are mostly program starts
GOAL_NO_CHANGE_S = 6.0
LONG_RUN_S = 60.0

CONFIG = "config.yaml"
IDLE = "Nothing to be done"
JOB_STATS = re.compile(r"^(\w+) +(\d+)$", re.MULTILINE)
OUTPUTS = re.compile(r"^    output: (.+)$", re.MULTILINE)
RUNTIME_THREADS = ("OMP", "GOTO", "OPENBLAS", "MKL", "VECLIB_MAXIMUM", "NUMEXPR")


@dataclass(frozen=True)
class Figure:
    """One measured quantity, a value per repetition.

    Attributes:
        goal: The median must stay below it; None without a goal.
    """

    what: str
    unit: str
    values: list[float]
    goal: float | None = None

    def row(self) -> str:
        goal = "" if self.goal is None else f"< {self.goal:g}"
        met = "" if self.goal is None else ("yes" if median(self.values) < self.goal else "**no**")
        if (
            met and min(self.values) < 0
        ):  # the workflow cannot be faster than its jobs: another program was at work
            met = "unclear, too noisy"
        numbers = [f"{pick(self.values):.4g}" for pick in (median, min, max)]
        return f"| {self.what} | {self.unit} | {' | '.join(numbers)} | {goal} | {met} |"

    def as_json(self) -> dict[str, object]:
        return {**vars(self), "median": median(self.values), "min": min(self.values), "max": max(self.values)}


@dataclass(frozen=True)
class Call:
    """A successful process. Processor time and memory include the processes it started and waited for."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    said: str


def call(command: list[str], folder: Path) -> Call:
    """Run and measure. Output goes to a file, so that no pipe can fill up."""
    with tempfile.TemporaryFile("w+") as said:
        began = time.perf_counter()
        streams = {"stdout": said, "stderr": subprocess.STDOUT}
        process = subprocess.Popen(command, cwd=folder, env=environment(), **streams)
        # Linux lets a process inherit its starter's peak memory, which is less than Snakemake's here.
        _, status, used = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        text = said.read()
    if process.returncode:
        raise SystemExit(f"{shlex.join(command)}\n{text}\nended with {process.returncode}")
    return Call(wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, text)


def environment() -> dict[str, str]:
    """This checkout's code, and one thread for numerical libraries, as Snakemake sets for jobs with one core."""
    scripts = str(Path(sys.executable).parent)
    return {
        **os.environ,
        **{f"{name}_NUM_THREADS": "1" for name in RUNTIME_THREADS},
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY / "src"),
    }


def snakemake(folder: Path, *options: str, configfile: str = CONFIG) -> Call:
    """A call as a user would make it in `folder`. Later options win, also over the profile's."""
    command = [
        sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile"),
        "--workflow-profile", str(REPOSITORY / "profiles" / "default"),
        "--configfile", configfile, "--cores", "1", *options,
    ]  # fmt: skip
    return call(command, folder)


def time_dry_run(folder: Path, n_cases: int, repetitions: int) -> tuple[list[Figure], Counter[str]]:
    """The graph of a large data set, before anything is preprocessed and after everything is done."""
    write_large_dataset(folder, n_cases)
    made = write_early_results(folder, n_cases)
    calls = [snakemake(folder, "--dry-run") for _ in range(repetitions)]
    jobs = made + Counter({rule: int(n) for rule, n in JOB_STATS.findall(calls[0].said)})
    jobs.subtract({"all": 1, "total": jobs["total"]})
    figures = [
        *figures_of(f"dry run, {n_cases} cases", calls, GOAL_DRY_RUN_S),
        Figure("jobs of the whole graph", "", [jobs.total()], GOAL_JOBS),
    ]
    write_late_results(folder)
    return [*figures, *time_no_change(folder, f"nothing to do, {n_cases} cases", repetitions)], +jobs


def write_large_dataset(folder: Path, n_cases: int) -> None:
    """Empty images, since the workflow uses only names and modification times."""
    for name, ending in (("imagesTr", "_0000.nii.gz"), ("labelsTr", ".nii.gz")):
        (folder / "data" / name).mkdir(parents=True)
        for index in range(n_cases):
            (folder / "data" / name / f"case_{index:05d}{ending}").touch()
    meaning = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "organ": 1}}
    sizes = {"numTraining": n_cases, "file_ending": ".nii.gz"}
    write_json(folder / "data" / "dataset.json", meaning | sizes)
    (folder / CONFIG).write_text(yaml.safe_dump({"dataset": "data", "output": "results"}))


def write_early_results(folder: Path, n_cases: int) -> Counter[str]:
    """Results before the last checkpoint, so that the graph is complete. Returns the number of jobs by rule."""
    shared = folder / "results" / "data"
    sizes = ChunksConfig()
    n_chunks = chunk_count(n_cases, cases=sizes.cases, most=sizes.most)
    for chunk in range(n_chunks):
        write_json(shared / "check" / f"chunk_{chunk}.json", {})
    intensities = IntensityProperties.model_validate(dict.fromkeys(IntensityProperties.model_fields, 1.0))
    # Abdominal CT: large enough for the low resolution, and so for the cascade.
    fingerprint = Fingerprint(
        foreground_intensity_properties_per_channel={"0": intensities},
        median_relative_size_after_cropping=1.0,
        shapes_after_crop=((300, 512, 512),) * n_cases,
        spacings=((1.5, 0.8, 0.8),) * n_cases,
    )
    dataset = PlanInput(name="data", channel_names=("CT",), n_cases=n_cases, n_outputs=2)
    recipe = PlannerRecipe()
    plan = make_plan(fingerprint, dataset, recipe)
    if len(plan.configurations) != 4:
        raise SystemExit(f"four configurations were expected, not {', '.join(plan.configurations)}")
    write_text(shared / "dataset_fingerprint.json", fingerprint.to_json())
    write_plan(shared / "plans" / recipe.plans_name / "plans.json", plan)
    write_parts(shared / "plans" / recipe.plans_name, plan)
    give_one_age(folder)
    return Counter(check=n_chunks, fingerprint=1, plan=1)


def write_late_results(folder: Path) -> None:
    """Dummies of all other results, and Snakemake's records, as after a finished run."""
    listed = snakemake(folder, "--dry-run", "--quiet", "host").said
    for name in (name for names in OUTPUTS.findall(listed) for name in names.split(", ")):
        write_text(folder / name, "{}\n")
    give_one_age(folder)
    snakemake(folder, "--touch", "--forceall")


def give_one_age(folder: Path) -> None:
    """Give all results the same modification time, so that none is older than its inputs."""
    now = time.time()
    for file in (folder / "results").rglob("*.*"):
        os.utime(file, (now, now))


def time_overhead(folder: Path, options: argparse.Namespace) -> list[Figure]:
    """Whole runs by the workflow (with its closing table), and by a loop over the same commands.

    Their order alternates, so that a machine that warms up favours neither.
    """
    call(["segflow", "phantom", "phantom", "--cases", str(options.phantom_cases)], folder)
    settings = yaml.safe_load((REPOSITORY / "config" / "demo.yaml").read_text())
    settings |= {"dataset": "data", "output": "results"}
    if options.epochs is not None:
        settings["training"]["epochs"] = options.epochs
    planned, plain, outside = list[Call](), list[Call](), list[float]()
    commands: list[tuple[str, ...]] = []
    for repetition in range(options.repetitions):
        for by_workflow in (True, False) if repetition % 2 == 0 else (False, True):
            place = folder / f"{'workflow' if by_workflow else 'loop'}_{repetition}"
            shutil.copytree(folder / "phantom", place / "data")
            (place / CONFIG).write_text(yaml.safe_dump(settings))
            if by_workflow:
                planned.append(snakemake(place))
                commands = commands or commands_behind(place / "results")
                outside.append(planned[-1].wall_s - time_in_jobs(place / "results"))
            else:
                plain.append(loop(commands, place))
            check_same_scores(folder / "workflow_0", place)
    return overhead_figures(planned, plain, outside, len(commands))


def time_in_jobs(results: Path) -> float:
    """Seconds in Snakemake's benchmark files; with one core, jobs never overlap.

    The rest of a run is overhead, measured within one run and so not affected by other programs during another.
    """
    tables = [file.read_text().splitlines() for file in results.rglob("*.tsv")]
    return sum(float(lines[1].split("\t")[lines[0].split("\t").index("s")]) for lines in tables)


def commands_behind(results: Path) -> list[tuple[str, ...]]:
    """The commands of a run's jobs in the order of their start; within a second, in the order of their end."""
    files = sorted(results.rglob("*.provenance"), key=lambda file: file.stat().st_mtime_ns)
    found = [read_contract(Provenance, file) for file in files]
    return [made.command for made in sorted(found, key=lambda made: made.started)]


def loop(commands: list[tuple[str, ...]], folder: Path) -> Call:
    """Each command as a process of its own, started as Snakemake starts it."""
    lines = [f"set -euo pipefail; exec {shlex.join(words)}" for words in commands]
    began = time.perf_counter()
    done = [call(["bash", "-c", line], folder) for line in lines]
    wall_s = time.perf_counter() - began
    return Call(wall_s, sum(one.cpu_s for one in done), max(one.peak_mb for one in done), "")


def check_same_scores(one: Path, other: Path) -> None:
    """Check that two runs did the same work, so that their times can be compared."""
    summary = Path("results", "data", "nnunet", "final", "summary.json")
    if (one / summary).read_bytes() != (other / summary).read_bytes():
        raise SystemExit(f"{one.name} and {other.name} differ in final/summary.json")


def overhead_figures(planned: list[Call], plain: list[Call], outside: list[float], n: int) -> list[Figure]:
    pairs = list(zip(planned, plain, strict=True))
    beyond = [run.wall_s - bare.wall_s for run, bare in pairs]
    walls = [run.wall_s for run in planned]
    goal = GOAL_SHARE if median(walls) > LONG_RUN_S else None
    return [
        Figure("whole run, by the workflow", "s", walls),
        Figure("whole run, by a plain loop", "s", [bare.wall_s for bare in plain]),
        Figure("overhead", "s", beyond),
        Figure("overhead, share", "%", [100 * a / b for a, b in zip(beyond, walls, strict=True)], goal),
        Figure(f"overhead per job ({n} jobs)", "s", [more / n for more in beyond]),
        Figure("overhead, processor time", "s", [run.cpu_s - bare.cpu_s for run, bare in pairs]),
        Figure("time outside of all jobs", "s", outside),
        Figure("time outside, share", "%", [100 * a / b for a, b in zip(outside, walls, strict=True)], goal),
    ]


def time_no_change(folder: Path, what: str, repetitions: int, configfile: str = CONFIG) -> list[Figure]:
    """Calls on finished results, after a dry run: a call that finds work would begin to do it."""
    found = snakemake(folder, "--dry-run", configfile=configfile).said
    if IDLE not in found:
        raise SystemExit(f"{folder} with {configfile} is not finished:\n{found}")
    calls = [snakemake(folder, configfile=configfile) for _ in range(repetitions)]
    return figures_of(what, calls, GOAL_NO_CHANGE_S)


def figures_of(what: str, calls: list[Call], goal_s: float) -> list[Figure]:
    return [
        Figure(what, "s", [one.wall_s for one in calls], goal_s),
        Figure(f"{what}, processor time", "s", [one.cpu_s for one in calls]),
        Figure(f"{what}, peak memory", "MB", [one.peak_mb for one in calls]),
    ]


def machine() -> dict[str, object]:
    return {
        "cores": len(os.sched_getaffinity(0)),
        "load when started": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "snakemake": version("snakemake"),
        "segflow": version("segflow"),
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the orchestration.")
    parser.add_argument("what", choices=("dry-run", "overhead", "no-change", "all"))
    parser.add_argument("--repetitions", type=int, default=3, help="of every measurement (default 3)")
    parser.add_argument("--cases", type=int, default=10_000, help="of the dry run (default 10000)")
    parser.add_argument("--phantom-cases", type=int, default=12, help="of the whole runs (default 12)")
    parser.add_argument("--epochs", type=int, help="of the whole runs (default: config/demo.yaml's)")
    parser.add_argument("--configfile", type=Path, help="of finished results, for no-change (and all)")
    parser.add_argument("--folder", type=Path, default=Path(), help="where these were made (default: here)")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    options = parser.parse_args()
    if (options.what == "no-change") != (options.configfile is not None) and options.what != "all":
        parser.error("--configfile belongs to no-change, and to all")
    return options


def main() -> None:
    options = parse()
    facts = machine()
    figures: list[Figure] = []
    jobs: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as scratch:
        large, small = Path(scratch, "large"), Path(scratch, "small")
        if options.what in {"dry-run", "all"}:
            figures, jobs = time_dry_run(large, options.cases, options.repetitions)
        if options.what in {"overhead", "all"}:
            small.mkdir()
            figures += time_overhead(small, options)
        if options.configfile is not None:
            file, what = str(options.configfile.resolve()), f"nothing to do, {options.configfile.stem}"
            figures += time_no_change(options.folder, what, options.repetitions, file)
        elif options.what == "all":
            figures += time_no_change(small / "workflow_0", "nothing to do, phantom", options.repetitions)
    print(", ".join(f"{name} {fact}" for name, fact in facts.items()), end="\n\n")
    print("| | unit | median | min | max | goal | met |\n|---|---|---|---|---|---|---|")
    print("\n".join(figure.row() for figure in figures))
    if jobs:
        print("\n| rule | jobs |\n|---|---|")
        print("\n".join(f"| {rule} | {count} |" for rule, count in sorted(jobs.items())))
    if options.output is not None:
        settings = {name: value for name, value in vars(options).items() if not isinstance(value, Path)}
        found = {"figures": [figure.as_json() for figure in figures], "jobs": dict(jobs)}
        write_json(options.output, {"machine": facts, "settings": settings, **found})


if __name__ == "__main__":
    main()
