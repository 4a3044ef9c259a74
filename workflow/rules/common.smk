"""What the rules share: the checked configuration, paths, and functions that say which files a rule needs."""

import math
import os
import subprocess
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

from segflow.commands.options import chunk_of
from segflow.contracts.config import CONFIGURATION_NAMES, WorkflowConfig
from segflow.contracts.errors import ConfigurationError, SegflowError
from segflow.ensembling import candidate_members, candidate_name
from segflow.io.dataset import list_files
from segflow.io.plans import read_folds, read_plan
from segflow.planning import N_FOLDS

# Jobs call `segflow`: where no environment provides it, the one beside this Python does.
os.environ["PATH"] += os.pathsep + str(Path(sys.executable).parent)

try:
    CONFIG = WorkflowConfig.parse(config, where="configuration", error=ConfigurationError)
    CASE_FILES = list_files(Path(CONFIG.dataset))
    OWN_FOLDS = Path(CONFIG.dataset) / "splits_final.json"
    FOLD_COUNT = len(read_folds(OWN_FOLDS)) if OWN_FOLDS.exists() else N_FOLDS
except SegflowError as problem:
    raise WorkflowError(str(problem)) from None

if max(CONFIG.folds) >= FOLD_COUNT:
    raise WorkflowError(
        f"folds: there is no fold {max(CONFIG.folds)}; the folds are 0 to {FOLD_COUNT - 1}"
    )

DATASET = CONFIG.dataset
DESCRIPTION = f"{DATASET}/dataset.json"
RESULTS = CONFIG.output
CHUNKS = math.ceil(len(CASE_FILES) / CONFIG.chunks.preprocess)

NAME = "|".join(CONFIGURATION_NAMES)


wildcard_constraints:
    configuration=NAME,
    first=NAME,
    second=NAME,
    candidate=rf"(?:{NAME})(?:\+(?:{NAME}))?",
    fold=r"\d+",
    chunk=r"\d+",


def log_of(stage):
    """The log file of a rule; `stage` may hold wildcards."""
    return f"{RESULTS}/logs/{stage}.log"


def benchmark_of(stage):
    """Where a rule's run time goes."""
    return f"{RESULTS}/benchmarks/{stage}.tsv"


def raw_files(wildcards):
    """Every file of the data set."""
    return [file for files in CASE_FILES.values() for file in map(str, files)]


def raw_files_of_chunk(wildcards):
    """The raw files of a preprocessing job's cases."""
    cases = chunk_of(list(CASE_FILES.values()), (int(wildcards.chunk), CHUNKS))
    return [str(file) for files in cases for file in files]


def data_of(configuration):
    """The configuration whose prepared cases this one uses."""
    return "3d_fullres" if configuration == "3d_cascade_fullres" else configuration


def data_folder(wildcards):
    """Where a configuration's prepared cases lie."""
    return f"{RESULTS}/preprocessed/{data_of(wildcards.configuration)}"


def previous_folder(wildcards):
    """Where a cascade's extra inputs lie."""
    return f"{RESULTS}/previous_stage/{wildcards.configuration}"


def has_previous_stage(wildcards):
    return wildcards.configuration == "3d_cascade_fullres"


def training_manifests(wildcards):
    """The manifests of all that a configuration is trained on."""
    folder = f"{data_folder(wildcards)}/manifest"
    manifests = [f"{folder}/chunk_{chunk}.json" for chunk in range(CHUNKS)]
    if has_previous_stage(wildcards):
        manifests.append(f"{previous_folder(wildcards)}/manifest.json")
    return manifests


def previous_stage_option(wildcards):
    return f"--previous-stage {previous_folder(wildcards)}" if has_previous_stage(wildcards) else ""


def trained_configurations():
    """Configurations to train: those of the plan, or those the user asked for. Needs the plan."""
    plan = read_plan(Path(checkpoints.plan.get().output.plan))
    if CONFIG.configurations == "auto":
        return [name for name in CONFIGURATION_NAMES if name in plan.configurations]
    absent = [name for name in CONFIG.configurations if name not in plan.configurations]
    if absent:
        raise WorkflowError(
            f"configurations: the plan has no {absent[0]}; it has {', '.join(plan.configurations)}"
        )
    return [name for name in CONFIGURATION_NAMES if name in CONFIG.configurations]


def candidates():
    """Single configurations and, if wanted, pairs; simpler first. Needs the plan."""
    members = candidate_members(trained_configurations())
    return [candidate_name(names) for names in members if len(names) == 1 or CONFIG.ensembles]


def candidate_summaries(wildcards):
    return [f"{RESULTS}/evaluation/{candidate}/summary.json" for candidate in candidates()]


def fold_summaries(wildcards):
    return [f"{RESULTS}/evaluation/{wildcards.candidate}/fold_{fold}.json" for fold in CONFIG.folds]


def candidate_predictions(wildcards):
    return [
        f"{RESULTS}/predictions/{candidate}/fold_{fold}/manifest.json"
        for candidate in candidates()
        for fold in CONFIG.folds
    ]


def trained_models(wildcards):
    return [
        f"{RESULTS}/models/{configuration}/fold_{fold}/model.pt"
        for configuration in trained_configurations()
        for fold in CONFIG.folds
    ]


def training_histories(wildcards):
    return [model.replace("model.pt", "training.csv") for model in trained_models(wildcards)]


def durable_outputs(wildcards):
    """Everything worth keeping, so that a failed re-run of any stage is noticed and mended."""
    return [
        f"{RESULTS}/check.json",
        f"{RESULTS}/dataset_fingerprint.json",
        f"{RESULTS}/plans.json",
        f"{RESULTS}/splits_final.json",
        *trained_models(wildcards),
        *training_histories(wildcards),
        *candidate_predictions(wildcards),
        *candidate_summaries(wildcards),
        f"{RESULTS}/selection.json",
        f"{RESULTS}/postprocessing.json",
        f"{RESULTS}/final/manifest.json",
        f"{RESULTS}/final/summary.json",
        f"{RESULTS}/model/model.json",
        f"{RESULTS}/report.html",
    ]


def option(name, value):
    """A command-line option, or nothing where the configuration leaves it to the recipe."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no-{name}"
    values = value if isinstance(value, (tuple, list)) else [value]
    return f"--{name} {' '.join(map(str, values))}"


def planning_options():
    planning = CONFIG.planning
    return " ".join(
        [option("gpu-memory", planning.gpu_memory_gb), option("spacing", planning.spacing_mm)]
    ).strip()


def budget_options(wildcards):
    """The training budget of a configuration, in a fixed order: it is a parameter of the rule."""
    training = CONFIG.training
    options = [
        option("epochs", training.epochs),
        option("iterations", training.iterations),
        option("validation-iterations", training.validation_iterations),
        option("base-width", training.base_width),
        option("batch-size", training.batch_size.get(wildcards.configuration)),
    ]
    return " ".join(filter(None, options))


def worker_option(wildcards, resources):
    return option("workers", CONFIG.training.workers)


def inference_options():
    inference = CONFIG.inference
    options = [option("step", inference.step), option("mirroring", inference.mirroring)]
    return " ".join(filter(None, options))


def probability_option():
    wanted = CONFIG.ensembles and (
        CONFIG.configurations == "auto" or len(CONFIG.configurations) > 1
    )
    return "--save-probabilities" if wanted else ""


def device_of(wildcards, resources):
    """The configured device, or the CPU where the call grants no GPU."""
    return CONFIG.device if resources.get("gpu", 0) else "cpu"


def network_threads(wildcards):
    """CPU threads of a job that uses a network: an equal share of the cores for each GPU of the call."""
    if CONFIG.resources.threads is not None:
        return CONFIG.resources.threads
    granted = workflow.global_resources.get("gpu")
    gpus = getattr(granted, "value", granted) or 1
    return max(1, (workflow.cores or 8) // int(gpus))


def show_summary(log):
    """Close with the outcome, where there is one."""
    if Path(RESULTS, "report.html").exists():
        subprocess.run(["segflow", "summary", RESULTS], check=False)
