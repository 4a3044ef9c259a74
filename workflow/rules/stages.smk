"""What the rules ask for: input functions that name files, and parameters that decide a result.

A result is made again when a parameter of its rule changes. So each rule is given just the words its stage reads, each
with its name in it, and a word per module of code that can change the result. A function that takes `resources` or
`input` gives what decides no result: Snakemake does not record it. Where a data set lies (`description`, dataset.json,
and `dataset_folder`) is given in that way: what decides are the digests that `check` writes, and the keys of dataset.json
that bear on images and labels (`meaning`).

`settled` are read by no command: all checkpoints that a result rests on, not only those next to it. Only then does
Snakemake decide again whether a job is needed when a checkpoint has run and its result is as before. `check` is one of
them.
"""

from functools import cache

from segflow.nnunet.plans import read_plan
from segflow.recipes.settings import settings_of
from segflow.selection.choose import candidate_members, candidate_name, unscored_choice
from segflow.workflow.code import code_of
from segflow.workflow.recipes import (
    CASCADE,
    LOW_RESOLUTION,
    forms_pairs,
    pretrained_words,
    too_many_gpus,
    training_words,
)


def code(command, without=""):
    """Names and digests of the modules that a command imports; `without` is one that the rule does not use."""
    return code_of(f"segflow.commands.{command}", without=without)


def of_dataset(attribute):
    """What is known of the data set: its cases, folds, ..."""
    return lambda wildcards: getattr(SOURCES[wildcards.dataset], attribute)


def description(wildcards, input):
    return SOURCES[wildcards.dataset].description


def dataset_folder(wildcards, input):
    return SOURCES[wildcards.dataset].folder


def all_chunks(template):
    """The files of all chunks of cases."""
    return lambda wildcards: expand(
        template, chunk=range(SOURCES[wildcards.dataset].n_chunks), **wildcards
    )


def undated(files):
    """Files of the user's; the age of one from the future does not count until it is written again."""
    return [ancient(file) if is_dated_ahead(file) else file for file in files]


def patients_file(wildcards):
    """The file that names the patients, if one does."""
    return undated(SOURCES[wildcards.dataset].patients_file)


meaning = of_dataset("meaning")
check_reports = all_chunks(CHECK)


def of_plan(template):
    """A file of the plan that the recipe uses."""
    return lambda wildcards: expand(template, plan=PLANS.of[wildcards.recipe], **wildcards)


def of_cases(template, name="configuration"):
    """A file of the plan and configuration whose prepared cases a configuration reads.

    `name` is a configuration, or the wildcard that holds it.
    """

    def file(wildcards):
        plan, configuration = PLANS.cases_of(wildcards.recipe, wildcards.get(name, name))
        return expand(template, dataset=wildcards.dataset, plan=plan, configuration=configuration)

    return file


def previous_stage(wildcards):
    """The manifest of a cascade's extra inputs; nothing for other configurations."""
    return expand(PREVIOUS_STAGE, **wildcards) if wildcards.configuration in PLANS.cascades else []


def all_folds(template):
    """The files of all folds that are trained."""
    return lambda wildcards: expand(template, fold=SOURCES[wildcards.dataset].folds, **wildcards)


def low_resolution_predictions(wildcards):
    folds = range(SOURCES[wildcards.dataset].n_folds)
    return expand(PREDICTIONS, candidate=LOW_RESOLUTION, fold=folds, **wildcards)


@cache
def say(sentence):
    """Say something once, whatever the number of times that input functions are called."""
    if workflow.is_main_process:
        logger.info(sentence)


def planned_configurations(wildcards):
    """Configurations to train, which are known after the check and the plan.

    What follows from a checkpoint is decided again when it has run, and does not run if nothing has changed.
    """
    source = SOURCES[wildcards.dataset]
    wanted = RECIPES[wildcards.recipe].selection.configurations
    cascades = set(PLANS.cascades) & set(wanted or ())
    if cascades and not source.holds_out_all:
        which = "not every case" if source.is_scored else "no case"
        raise WorkflowError(
            f"configurations: {min(cascades)} learns from predictions of held-out cases, and {which} of "
            f"{wildcards.dataset} is held out; leave it out"
        )
    for chunk in range(source.n_chunks):
        checkpoints.check.get(dataset=wildcards.dataset, chunk=chunk)
    made = checkpoints.plan.get(dataset=wildcards.dataset, plan=PLANS.of[wildcards.recipe])
    planned = read_plan(Path(made.output.plan)).configurations
    if wanted is None:
        single = [name for name in planned if name not in PLANS.cascades]
        if source.is_scored and not source.holds_out_all and len(single) < len(planned):
            say(
                f"{wildcards.dataset}: {CASCADE} is left out, as it learns from predictions of held-out cases, and"
                " splits_final.json does not hold out every case"
            )
        scored = planned if source.holds_out_all else single
        wanted = scored if source.is_scored else [unscored_choice(single)]
    if absent := [name for name in wanted if name not in planned]:
        raise WorkflowError(
            f"configurations: the plan for {wildcards.dataset} has no {absent[0]}, which recipe"
            f" {wildcards.recipe} would train; it has {', '.join(planned)}: name some of these"
        )
    used = {name: planned[name] for name in PLANS.names if name in wanted}
    left_out = set(range(source.n_folds)) - set(source.folds)
    if left_out and (refining := sorted(set(used) & set(PLANS.cascades))):
        say(
            f"{wildcards.dataset}: {', '.join(refining)} learns from predictions of all held-out cases, so"
            f" {LOW_RESOLUTION} is trained on all {source.n_folds} folds, also on those that `folds` leaves out"
        )
    if shortage := too_many_gpus(CONFIG, RECIPES[wildcards.recipe], used):
        raise WorkflowError(shortage)
    return list(used)


def planned_networks(wildcards):
    """Parts of the plan, of the configurations to train."""
    plan, configurations = PLANS.of[wildcards.recipe], planned_configurations(wildcards)
    return expand(NETWORK, dataset=wildcards.dataset, plan=plan, configuration=configurations)


def all_of(*templates):
    """The files of all configurations, candidates (configurations and pairs of them) and folds of an experiment."""

    def files(wildcards):
        configurations = planned_configurations(wildcards)
        members = candidate_members(configurations)
        source = SOURCES[wildcards.dataset]
        pairs = CONFIG.ensembles and source.is_scored
        candidates = [candidate_name(one) for one in members if len(one) == 1 or pairs]
        every = {
            "configuration": configurations,
            "candidate": candidates,
            "fold": source.folds,
        }
        return expand(templates, **every, **wildcards)

    return files


def settled(wildcards):
    """The checkpoints that a job's result rests on."""
    if "candidate" in wildcards.keys():
        names = wildcards.candidate.split("+")
    elif "first" in wildcards.keys():
        names = [wildcards.first, wildcards.second]
    else:
        names = planned_configurations(wildcards)
    cascades = [PREVIOUS_STAGE] if set(names) & set(PLANS.cascades) else []
    names += [LOW_RESOLUTION] if cascades else []
    return [*cases_of(names, wildcards), *expand([*cascades, FOLDS], **wildcards)]


def cases_of(names, wildcards):
    """The prepared cases of several configurations."""
    return list(dict.fromkeys(file for name in names for file in of_cases(CASES, name)(wildcards)))


def of_experiments(files):
    """What a function of the wildcards names, of all experiments of the call."""
    return lambda _: [file for experiment in EXPERIMENTS for file in files(experiment)]


# By name, so that those of several data sets are made side by side; see `planned_configurations`.
FIRST_OUTPUTS = [
    *of_experiments(check_reports)(None),
    *expand(f"{PLAN}/plans.json", dataset=SOURCES, plan=PLANS.planning),
]

FORECASTS = expand(FORECAST, dataset=SOURCES, recipe=RECIPES) if CONFIG.forecast else []

# What can be asked for by name, for all experiments of the call.
TARGETS = {
    "plans": FORECASTS,
    "prepared": of_experiments(lambda one: cases_of(planned_configurations(one), one)),
    "models": of_experiments(all_of(MODEL, HISTORY)),
    "predictions": of_experiments(all_of(PREDICTIONS, SUMMARY)),
    "package": expand(PACKAGE, dataset=SOURCES, recipe=RECIPES),
    "report": expand([REPORT, REPORT_FILES], dataset=SOURCES, recipe=RECIPES),
}


def durable_outputs(wildcards):
    """Everything worth keeping, so that the next call repeats a stage whose re-run has failed."""
    of_candidates = of_experiments(all_of(MODEL, HISTORY, PREDICTIONS, SUMMARY))
    of_experiment = [
        SELECTION,
        POSTPROCESSING,
        FINAL,
        FINAL_SUMMARY,
        ASSESSMENT,
        PACKAGE,
        FAST,
        REPORT,
        REPORT_FILES,
    ]
    found = [
        *FORECASTS,
        *expand([COMPARISON, COMPARISON_FILES, FINGERPRINT, FOLDS], dataset=SOURCES),
    ]
    found += expand(of_experiment, dataset=SOURCES, recipe=RECIPES)
    return [*found, *of_candidates(wildcards)]


def settings(section, only=None):
    """What a stage reads of the recipe."""

    def words(wildcards):
        return list(settings_of(section, getattr(RECIPES[wildcards.recipe], section), only=only))

    return words


def keeps_probabilities(wildcards):
    return "--save-probabilities" if forms_pairs(RECIPES[wildcards.recipe], CONFIG) else ""


def stored_probabilities(wildcards):
    return "--probabilities" if keeps_probabilities(wildcards) else ""


def evaluation_settings(wildcards):
    return list(settings_of("evaluation", SOURCES[wildcards.dataset].evaluation))


def training_settings(wildcards):
    name = wildcards.configuration
    return training_words(RECIPES[wildcards.recipe], name, is_cascade=name in PLANS.cascades)


def pretrained_weights(wildcards):
    return pretrained_words(RECIPES[wildcards.recipe], wildcards.configuration)


def planning_option(wildcards):
    """The settings of the planner, or the edited plan."""
    if CONFIG.plan is not None:
        return ["--edited", CONFIG.plan]
    return ["--settings", *settings_of("planning", PLANS.planning[wildcards.plan])]
