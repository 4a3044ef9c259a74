"""`segflow find-best`: from out-of-fold predictions to the best model and its post-processing, in one go.

It calls the workflow's verbs and leaves the same files in the same places, for those who predicted by hand.
"""

from __future__ import annotations

import argparse
import os
from functools import partial
from itertools import product
from pathlib import Path
from types import ModuleType

from segflow.commands import ensemble, evaluate, postprocess, postprocess_search, select
from segflow.commands.console import console, progress_bar
from segflow.commands.options import add_settings_argument
from segflow.contracts.errors import ConfigurationError
from segflow.processes.pool import map_cases
from segflow.selection.choose import candidate_members, candidate_name

#: Two configurations and a fold.
_Pair = tuple[tuple[str, ...], int]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "experiment", type=Path, help="folder with predictions/CONFIGURATION/fold_K; results go here, too"
    )
    parser.add_argument("--dataset", type=Path, required=True, help="dataset.json")
    parser.add_argument(
        "--configurations", nargs="+", help="to choose among (default: all that have predictions)"
    )
    parser.add_argument("--folds", type=Path, help="splits_final.json; without it no pairs are formed")
    parser.add_argument(
        "--preparation", type=Path, help="for pairs: plan's preparation/CONFIGURATION.json of any of them"
    )
    parser.add_argument("--prepared", type=Path, help="for pairs: prepared.json of its cases")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: all cores)")
    add_settings_argument(parser, "selection", "postprocessing")


def run(options: argparse.Namespace) -> None:
    """Make pairs, evaluate all candidates, choose, search post-processing, apply it, evaluate again.

    Raises:
        ConfigurationError: There are no predictions, folds differ between configurations, or a file that pairs need is
            not named.

    Source: method.md sections 21-23.
    """
    folder: Path = options.experiment
    members = candidate_members(options.configurations or _predicted(folder))
    folds = _folds_of(folder, [names[0] for names in members if len(names) == 1])
    if options.folds is None:
        members = tuple(names for names in members if len(names) == 1)
    _make_pairs(options, [(names, fold) for names, fold in product(members, folds) if len(names) == 2])
    summaries = [folder / "evaluation" / candidate_name(names) / "summary.json" for names in members]
    wanted = {file: [_predictions(folder, file.parent.name, fold) for fold in folds] for file in summaries}
    _evaluate(options, wanted)
    chosen, found, final = folder / "selection.json", folder / "postprocessing.json", folder / "final"
    settings = ["--settings", *options.settings] if options.settings else []
    _call(options, select, "--candidates", *summaries, "--output", chosen, *settings, quiet=False)
    data, workers = ["--dataset", options.dataset], ["--workers", options.workers]
    _call(options, postprocess_search, "--selection", chosen, "--output", found, *data, *workers, *settings)
    _call(
        options, postprocess, "--postprocessing", found, "--selection", chosen, *data, *workers,
        "--predictions", folder / "predictions", "--folds", *folds, "--output", final,
        "--manifest", final / "manifest.json",
    )  # fmt: skip
    _evaluate(options, {final / "summary.json": [final]}, quiet=False)


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
            int(place.name.removeprefix("fold_")) for place in (folder / "predictions" / name).glob("fold_*")
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


def _make_pairs(options: argparse.Namespace, pairs: list[_Pair]) -> None:
    """Average the probabilities of pairs, folds side by side."""
    if not pairs:
        return
    for name in ("preparation", "prepared"):
        if getattr(options, name) is None:
            raise ConfigurationError(
                f"pairs need --{name}; or leave out --folds, to choose among single ones"
            )
    with progress_bar("pairs", len(pairs)) as bar:
        for _ in map_cases(partial(_make_pair, options=_plain(options)), pairs, workers=options.workers):
            bar.advance()


def _make_pair(pair: _Pair, *, options: argparse.Namespace) -> None:
    """In a process of its own, which shows nothing."""
    console.quiet = True
    names, fold = pair
    output = _predictions(options.experiment, candidate_name(names), fold)
    _call(
        options, ensemble, "--dataset", options.dataset, "--preparation", options.preparation,
        "--prepared", options.prepared, "--folds", options.folds, "--fold", fold,
        "--members", *(_predictions(options.experiment, name, fold) for name in names),
        "--output", output, "--manifest", output / "manifest.json",
    )  # fmt: skip


def _plain(options: argparse.Namespace) -> argparse.Namespace:
    """What another process needs to know."""
    names = ("experiment", "dataset", "folds", "preparation", "prepared", "code")
    return argparse.Namespace(**{name: getattr(options, name) for name in names})


def _evaluate(options: argparse.Namespace, wanted: dict[Path, list[Path]], *, quiet: bool = True) -> None:
    """As `evaluate` would candidate by candidate, but a reference is read once."""
    first = next(iter(wanted))
    words = ["--predictions", *wanted[first], "--dataset", options.dataset, "--output", first]
    given = _parsed(options, evaluate, *words, "--workers", options.workers, quiet=quiet)
    evaluate.score_folders(wanted, first.parent / "unfinished", given)


def _predictions(folder: Path, name: str, fold: int) -> Path:
    return folder / "predictions" / name / f"fold_{fold}"


def _call(options: argparse.Namespace, verb: ModuleType, *words: object, quiet: bool = True) -> None:
    """Call another verb with words as on its own command line."""
    verb.run(_parsed(options, verb, *words, quiet=quiet))


def _parsed(options: argparse.Namespace, verb: ModuleType, *words: object, quiet: bool) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    verb.add_arguments(parser)
    given = parser.parse_args([str(word) for word in words])
    given.code, given.job = options.code, quiet
    return given
