"""`segflow find-best`: from out-of-fold predictions to the best model and its post-processing, in one go.

It calls the workflow's commands and leaves the same files in the same places, for those who predicted by hand.
"""

from __future__ import annotations

from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from segflow.commands.arguments import CORES, Call, DatasetFile, InputFile, InputFolder, Settings, Workers
from segflow.commands.console import console, progress_bar
from segflow.commands.ensemble import ensemble
from segflow.commands.evaluate import Scoring, score_candidates
from segflow.commands.postprocess import postprocess
from segflow.commands.postprocess_search import postprocess_search
from segflow.commands.select import select
from segflow.contracts.errors import ConfigurationError
from segflow.processes.pool import map_cases
from segflow.selection.choose import candidate_members, candidate_name

#: Two configurations and a fold.
_Pair = tuple[tuple[str, ...], int]


def find_best(
    experiment: InputFolder,
    *,
    dataset: DatasetFile,
    configurations: list[str] | None = None,
    folds: InputFile | None = None,
    preparation: InputFile | None = None,
    prepared: InputFile | None = None,
    patients: str | None = None,
    workers: Workers = CORES,
    values: Settings = Settings(),
    call: Call = Call(),
) -> None:
    """Choose and post-process by out-of-fold predictions, in one go.

    Pairs are made, all candidates evaluated and the best chosen; post-processing is searched for and applied, and the
    outcome is evaluated again.

    Args:
        experiment: Folder with predictions/CONFIGURATION/fold_K; results go here, too.
        dataset: The data set's folder or dataset.json.
        configurations: To choose among (default: all that have predictions).
        folds: splits_final.json; without it no pairs are formed.
        preparation: For pairs: the plan's preparation/CONFIGURATION.json of any of them.
        prepared: For pairs: prepared.json of its cases.
        patients: As of `evaluate`.
        workers: Processes.
        values: Sections "selection" and "postprocessing".
        call: The call.

    Raises:
        ConfigurationError: There are no predictions, folds differ between configurations, or a file that pairs need is
            not named.

    Source: method.md sections 21-23.
    """
    members = candidate_members(configurations or _predicted(experiment))
    numbers = _folds_of(experiment, [names[0] for names in members if len(names) == 1])
    if folds is None:
        members = tuple(names for names in members if len(names) == 1)
    pairs = [(names, fold) for names, fold in product(members, numbers) if len(names) == 2]
    if pairs:
        make = partial(
            _make_pair,
            experiment=experiment,
            dataset=dataset,
            folds=folds,
            preparation=_needed(preparation, "preparation"),
            prepared=_needed(prepared, "prepared"),
            call=Call(code=call.code),
        )
        with progress_bar("pairs", len(pairs)) as bar:
            for _ in map_cases(make, pairs, workers=workers):
                bar.advance()
    how = Scoring(dataset=dataset, patients=patients, workers=workers, code=call.code)
    summaries = [experiment / "evaluation" / candidate_name(names) / "summary.json" for names in members]
    wanted = {
        file: [_predictions(experiment, file.parent.name, fold) for fold in numbers] for file in summaries
    }
    score_candidates(wanted, summaries[0].parent / "unfinished", how)
    chosen, found = experiment / "selection.json", experiment / "postprocessing.json"
    select(candidates=summaries, output=chosen, values=values)
    postprocess_search(selection=chosen, dataset=dataset, output=found, workers=workers, values=values)
    final = experiment / "final"
    postprocess(
        postprocessing=found,
        dataset=dataset,
        selection=chosen,
        predictions=experiment / "predictions",
        folds=[*numbers],
        output=final,
        manifest=final / "manifest.json",
        workers=workers,
    )
    score_candidates({final / "summary.json": [final]}, final / "unfinished", how, show=True)


def _predicted(folder: Path) -> list[str]:
    names = [place.name for place in (folder / "predictions").glob("*") if place.is_dir()]
    singles = [name for name in names if "+" not in name]
    if not singles:
        raise ConfigurationError(f"{folder / 'predictions'} holds no predictions: CONFIGURATION/fold_K/...")
    return singles


def _folds_of(folder: Path, configurations: list[str]) -> list[int]:
    """Folds that have predictions, the same for all."""
    found = {
        name: sorted(
            int(place.name.removeprefix("fold_"))
            for place in (folder / "predictions" / name).glob("fold_*")
            if place.name.removeprefix("fold_").isdecimal()
        )
        for name in configurations
    }
    first = found[configurations[0]]
    for name, folds in found.items():
        if folds != first or not folds:
            raise ConfigurationError(
                f"{folder / 'predictions'}: {name} has predictions of folds {folds}, {configurations[0]} of {first}; "
                "predict the same ones with all"
            )
    return first


def _needed(file: Path | None, option: str) -> Path:
    if file is None:
        raise ConfigurationError(f"pairs need --{option}; or leave out --folds, to choose among single ones")
    return file


def _make_pair(pair: _Pair, *, experiment: Path, **arguments: Any) -> None:
    """Average the probabilities of a pair, in a process of its own, which shows nothing."""
    console.quiet = True
    names, fold = pair
    output = _predictions(experiment, candidate_name(names), fold)
    first, second = (_predictions(experiment, name, fold) for name in names)
    ensemble(
        fold=fold, members=(first, second), output=output, manifest=output / "manifest.json", **arguments
    )


def _predictions(folder: Path, name: str, fold: int) -> Path:
    return folder / "predictions" / name / f"fold_{fold}"
