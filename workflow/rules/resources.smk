"""What decides no result: GPUs, threads, and options of functions that take `resources` or `input`.

Snakemake does not record the parameters that such functions give.
"""


def previous_stage_option(wildcards, input):
    return ["--previous-stage", *input.previous] if input.previous else []


def pretrained_option(wildcards, resources):
    file = RECIPES[wildcards.recipe].training.pretrained_file(wildcards.configuration)
    return [] if file is None else ["--pretrained", file]


def hardware(wildcards, resources):
    """The configured device, with GPUs of its own, or the CPU where the call grants no GPU."""
    gpus = resources.get("gpu", 0)
    device = CONFIG.device if gpus else "cpu"
    return ["--device", device, "--hold-gpus", str(gpus if CONFIG.device != "cpu" else 0)]


def side_options(wildcards, resources):
    """How a training makes its batches and computes, how often it is saved, and what is written beside its result."""
    wanted = CONFIG.resources
    minutes = f"{wanted.checkpoint_minutes:g}"
    options = ["--augment", wanted.augment, "--checkpoint-minutes", minutes]
    if wanted.workers is not None:
        options += ["--workers", str(wanted.workers)]
    if wanted.compile != "auto":
        options.append("--compile-network" if wanted.compile else "--no-compile-network")
    options += ["--deterministic"] if wanted.deterministic else []
    return options + (["--trackers", *wanted.trackers] if wanted.trackers else [])


def forecast_options(wildcards, resources):
    """How the networks would be trained, as far as it decides how long that takes."""
    wanted, recipe = CONFIG.resources, RECIPES[wildcards.recipe]
    options = ["--augment", wanted.augment]
    options += [] if wanted.workers is None else ["--workers", str(wanted.workers)]
    jobs = max(1, (granted(workflow, "gpu") or 1) // wanted.gpus)
    options += ["--side-by-side", str(jobs), *keeps_probabilities(wildcards).split(), "--settings"]
    for section in ("training", "augmentation", "inference", "planning"):
        options += settings_of(section, getattr(recipe, section))
    return [word for word in options if not word.startswith("training.pretrained=")]


def network_threads(wildcards):
    """CPU threads of a job that uses a network: an equal share of the cores for each GPU of the call."""
    share = (granted(workflow, "_cores") or 8) // (granted(workflow, "gpu") or 1)
    return CONFIG.resources.threads or max(1, share)


def training_threads(wildcards):
    """CPU threads of a training: such a share for each of its GPUs."""
    shares = network_threads(wildcards) * CONFIG.resources.gpus
    return CONFIG.resources.threads or min(shares, workflow.cores or 8)
