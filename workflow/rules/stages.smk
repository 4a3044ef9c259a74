"""What the rules ask: which files a stage reads, and which words decide its result.

A result is made again when one of its rule's params changes. So each rule is given just the words its stage reads,
each with its name in it, and one word per module of code that can change the result.
"""

from types import SimpleNamespace

from segflow.selection.choose import candidate_members, candidate_name
from segflow.nnunet.plans import read_plan
from segflow.recipes.settings import settings_of
from segflow.workflow.code import code_of
from segflow.workflow.recipes import digest_words

CASCADE = "3d_cascade_fullres"
EXPERIMENT_WILDCARDS = [
    SimpleNamespace(dataset=dataset, recipe=recipe) for dataset, recipe in EXPERIMENTS
]


def code(verb):
    """Names and digests of the modules that a verb imports."""
    return code_of(f"segflow.commands.{verb}")


def source(wildcards):
    return SOURCES[wildcards.dataset]


def folder_of_dataset(wildcards):
    return source(wildcards).folder


def description(wildcards):
    return source(wildcards).description


def meaning(wildcards):
    return list(source(wildcards).meaning)


def chunk_total(wildcards):
    return len(source(wildcards).chunks)


def raw_files_of_chunk(wildcards):
    return list(source(wildcards).chunks[int(wildcards.chunk)])


def check_reports(wildcards):
    folder = f"{RESULTS}/{wildcards.dataset}/check"
    return [f"{folder}/chunk_{chunk}.json" for chunk in range(chunk_total(wildcards))]


def all_check_reports():
    """Of all data sets: asked for by name, so that they are made side by side; see `planned_configurations`."""
    return [file for name in SOURCES for file in check_reports(SimpleNamespace(dataset=name))]


def all_plans():
    """Of all data sets and recipes, for the same reason."""
    return [
        f"{RESULTS}/{name}/plans/{plan}/plans.json" for name in SOURCES for plan in PLANS.planning
    ]


def own_folds(wildcards):
    return source(wildcards).own_folds or []


def experiment(wildcards):
    """The folder of a recipe's results on a data set."""
    return f"{RESULTS}/{wildcards.dataset}/{wildcards.recipe}"


def plan_folder(wildcards):
    return f"{RESULTS}/{wildcards.dataset}/plans/{PLANS.of[wildcards.recipe]}"


def plan_file(wildcards):
    return f"{plan_folder(wildcards)}/plans.json"


def network_part(wildcards):
    return f"{plan_folder(wildcards)}/network/{wildcards.configuration}.json"


def cases_of(wildcards, configuration):
    """Plan and configuration whose preparation and prepared cases a configuration reads."""
    return PLANS.cases_of(wildcards.recipe, configuration or wildcards.configuration)


def preparation_part(wildcards, configuration=None):
    plan, name = cases_of(wildcards, configuration)
    return f"{RESULTS}/{wildcards.dataset}/plans/{plan}/preparation/{name}.json"


def prepared_cases(wildcards, configuration=None):
    """The summed manifest of the cases that a configuration reads."""
    plan, name = cases_of(wildcards, configuration)
    return f"{RESULTS}/{wildcards.dataset}/preprocessed/{plan}/{name}/prepared.json"


def previous_stage(wildcards, configuration=None):
    """The manifest of a cascade's extra inputs; nothing for other configurations."""
    name = configuration or wildcards.configuration
    is_cascade = name in PLANS.cascades
    return [f"{experiment(wildcards)}/previous_stage/manifest.json"] if is_cascade else []


def previous_stage_option(wildcards, input):
    return ["--previous-stage", *input.previous] if input.previous else []


def planned_configurations(wildcards):
    """Configurations to train. Waits for the check and for the plan.

    What follows from a checkpoint is looked at afresh when it has run, and left alone if nothing has changed.
    """
    for chunk in range(chunk_total(wildcards)):
        checkpoints.check.get(dataset=wildcards.dataset, chunk=chunk)
    made = checkpoints.plan.get(dataset=wildcards.dataset, plan=PLANS.of[wildcards.recipe])
    planned = read_plan(Path(made.output.plan)).configurations
    if CONFIG.configurations == "auto":
        return [name for name in PLANS.names if name in planned]
    absent = [name for name in CONFIG.configurations if name not in planned]
    if absent:
        raise WorkflowError(
            f"configurations: the plan for {wildcards.dataset} has no {absent[0]}; it has {', '.join(planned)}"
        )
    return [name for name in PLANS.names if name in CONFIG.configurations]


def candidates(wildcards):
    """Single configurations and, if wanted, pairs; simpler first."""
    members = candidate_members(planned_configurations(wildcards))
    return [candidate_name(names) for names in members if len(names) == 1 or CONFIG.ensembles]


def configurations_behind(wildcards):
    """The configurations whose networks a job's result rests on."""
    if hasattr(wildcards, "candidate"):
        names = wildcards.candidate.split("+")
    elif hasattr(wildcards, "first"):
        names = [wildcards.first, wildcards.second]
    else:
        names = planned_configurations(wildcards)
    before = ["3d_lowres"] if any(name in PLANS.cascades for name in names) else []
    return list(dict.fromkeys([*names, *before]))


def settled(wildcards):
    """The checkpoints a job's result rests on.

    All rules behind a checkpoint name it, not only those next to it. Only then is a job looked at afresh, and left
    alone, when preparation has run again and has given the same cases.
    """
    names = configurations_behind(wildcards)
    manifests = [prepared_cases(wildcards, name) for name in names]
    before = [file for name in names for file in previous_stage(wildcards, name)]
    folds = f"{RESULTS}/{wildcards.dataset}/splits_final.json"
    return list(dict.fromkeys([*manifests, *before, folds]))


def candidate_summaries(wildcards):
    folder = f"{experiment(wildcards)}/evaluation"
    return [f"{folder}/{candidate}/summary.json" for candidate in candidates(wildcards)]


def fold_summaries(wildcards):
    folder = f"{experiment(wildcards)}/evaluation/{wildcards.candidate}"
    return [f"{folder}/fold_{fold}.json" for fold in CONFIG.folds]


def predictions_of(wildcards, candidate):
    folder = f"{experiment(wildcards)}/predictions/{candidate}"
    return [f"{folder}/fold_{fold}/manifest.json" for fold in CONFIG.folds]


def candidate_predictions(wildcards):
    return [file for name in candidates(wildcards) for file in predictions_of(wildcards, name)]


def low_resolution_predictions(wildcards):
    folder = f"{experiment(wildcards)}/predictions/3d_lowres"
    return [f"{folder}/fold_{fold}/manifest.json" for fold in range(source(wildcards).n_folds)]


def trained_models(wildcards):
    return [
        f"{experiment(wildcards)}/models/{configuration}/fold_{fold}/model.pt"
        for configuration in planned_configurations(wildcards)
        for fold in CONFIG.folds
    ]


def training_histories(wildcards):
    return [model.replace("model.pt", "training.csv") for model in trained_models(wildcards)]


def experiment_outputs(wildcards):
    """Everything worth keeping of one experiment."""
    folder = experiment(wildcards)
    return [
        *trained_models(wildcards),
        *training_histories(wildcards),
        *candidate_predictions(wildcards),
        *candidate_summaries(wildcards),
        f"{folder}/selection.json",
        f"{folder}/postprocessing.json",
        f"{folder}/final/manifest.json",
        f"{folder}/final/summary.json",
        f"{folder}/model/model.json",
        f"{folder}/report.html",
    ]


def durable_outputs(wildcards):
    """Everything worth keeping, so that a failed re-run of any stage is noticed and mended."""
    found = [f"{RESULTS}/comparison.csv"]
    for wildcards_of_one in EXPERIMENT_WILDCARDS:
        found += experiment_outputs(wildcards_of_one)
    shared = [f"{RESULTS}/{dataset}" for dataset in SOURCES]
    found += [f"{folder}/dataset_fingerprint.json" for folder in shared]
    found += [f"{folder}/splits_final.json" for folder in shared]
    return found


def recipe_of(wildcards):
    return RECIPES[wildcards.recipe]


def planning_option(wildcards):
    """How a plan is made, or the plan that somebody has edited.

    It does not ask for the rule's input: Snakemake does not notice when such a parameter changes.
    """
    if CONFIG.plan is not None:
        return ["--edited", CONFIG.plan]
    return ["--settings", *settings_of("planning", PLANS.planning[wildcards.plan])]


def training_settings(wildcards):
    """What a configuration's training reads of the recipe: nothing of other configurations."""
    recipe, name = recipe_of(wildcards), wildcards.configuration
    own = {key: size for key, size in recipe.training.batch_size.items() if key == name}
    training = recipe.training.model_copy(update={"batch_size": own, "pretrained": None})
    words = [*settings_of("training", training), *settings_of("augmentation", recipe.augmentation)]
    if name not in PLANS.cascades:
        words = [word for word in words if "cascade" not in word]
    if recipe.training.base_width is not None:
        words += settings_of(
            "planning", recipe.planning, only=("max_features_2d", "max_features_3d")
        )
    return words


def pretrained_file(wildcards):
    return recipe_of(wildcards).training.pretrained_file(wildcards.configuration)


def pretrained_digest(wildcards):
    """The content of the weights that a training begins with.

    Were the file an input, the same one under another name would train anew.
    """
    return list(digest_words(pretrained_file(wildcards)))


def pretrained_option(wildcards, resources):
    file = pretrained_file(wildcards)
    return [] if file is None else ["--pretrained", file]


def inference_settings(wildcards):
    return list(settings_of("inference", recipe_of(wildcards).inference))


def selection_settings(wildcards):
    return list(settings_of("selection", recipe_of(wildcards).selection))


def postprocessing_settings(wildcards):
    return list(settings_of("postprocessing", recipe_of(wildcards).postprocessing))


def probability_option(wildcards):
    """Probabilities are kept only where pairs are formed."""
    several = CONFIG.configurations == "auto" or len(CONFIG.configurations) > 1
    return "--save-probabilities" if CONFIG.ensembles and several else ""


def worker_option(wildcards, resources):
    workers = CONFIG.resources.workers
    return "" if workers is None else f"--workers {workers}"


def side_options(wildcards, resources):
    """How often a training is saved, and what is written beside its result."""
    logs = ["--tensorboard"] if CONFIG.resources.tensorboard else []
    return ["--checkpoint-minutes", f"{CONFIG.resources.checkpoint_minutes:g}", *logs]


def device_of(wildcards, resources):
    """The configured device, or the CPU where the call grants no GPU."""
    return CONFIG.device if resources.get("gpu", 0) else "cpu"


def leased_gpus(wildcards, resources):
    """GPUs a job takes for itself: none where it computes on the CPU."""
    return resources.get("gpu", 0) if CONFIG.device != "cpu" else 0


def network_threads(wildcards):
    """CPU threads of a job that uses a network: an equal share of the cores for each GPU of the call."""
    if CONFIG.resources.threads is not None:
        return CONFIG.resources.threads
    granted = {name: workflow.global_resources.get(name) for name in ("gpu", "_cores")}
    gpus, cores = (getattr(value, "value", value) for value in granted.values())
    return max(1, int(cores or 8) // int(gpus or 1))


def training_threads(wildcards):
    """CPU threads of a training: such a share for each of its GPUs."""
    if CONFIG.resources.threads is not None:
        return CONFIG.resources.threads
    return min(network_threads(wildcards) * CONFIG.resources.gpus, workflow.cores or 8)


def log_of(stage, folder=EXPERIMENT):
    """The log file of a rule; `stage` may hold wildcards."""
    return f"{folder}/logs/{stage}.log"


def benchmark_of(stage, folder=EXPERIMENT):
    """Where a rule's run time goes."""
    return f"{folder}/benchmarks/{stage}.tsv"
