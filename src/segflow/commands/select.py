"""`segflow select`: choose the best model or pair."""

from __future__ import annotations

import os
from pathlib import Path

from rich.table import Table

from segflow.commands.arguments import Call, InputFile, ResultFile, Settings
from segflow.commands.console import console
from segflow.contracts.errors import ConfigurationError
from segflow.contracts.scores import Candidate, Selection, Summary
from segflow.recipes.selection import SelectionRecipe
from segflow.recipes.settings import parse_settings
from segflow.selection.choose import bootstrap, unscored_choice
from segflow.selection.choose import select as choose
from segflow.storage.files import read_contract, write_text


def select(
    *, candidates: list[InputFile], output: ResultFile, values: Settings = Settings(), call: Call = Call()
) -> None:
    """Choose the best model or pair by its scores; where no case was scored, 3d_fullres or else the simplest.

    Args:
        candidates: NAME/summary.json of every candidate, simpler first; NAME is 3d_fullres or 2d+3d_fullres.
        output: selection.json.
        values: Section "selection".
        call: The call.

    Raises:
        ConfigurationError: Two candidates have the same name.
        PlanError: No candidate has a score, or they were scored on different cases.

    Source: method.md section 22.
    """
    recipe = parse_settings(SelectionRecipe, "selection", values.settings)
    summaries = {file.parent.name: read_contract(Summary, file) for file in candidates}
    if len(summaries) < len(candidates):
        raise ConfigurationError(
            f"--candidates: two of {', '.join(map(str, candidates))} are in folders of the same name; "
            "the folder names the candidate"
        )
    found = [_candidate(file, summaries[file.parent.name], output.parent) for file in candidates]
    if not any(summary.metric_per_case for summary in summaries.values()):
        name = unscored_choice(summaries)
        best = next(candidate for candidate in found if candidate.name == name)
        write_text(output, Selection(best=best, candidates=tuple(found)).to_json())
        console.print(f"{name} is taken: no case is held out, so there are no scores")
        return
    selection = choose(
        found, prefer_single_within=recipe.prefer_single_within, bootstrap=bootstrap(summaries)
    )
    write_text(output, selection.to_json())
    if not call.job:
        console.print(_table(selection))
    best = selection.best
    console.print(f"best: {best.name} (mean foreground Dice {best.foreground_mean_dice:.4f})")


def _candidate(file: Path, summary: Summary, relative_to: Path) -> Candidate:
    name = file.parent.name
    return Candidate(
        name=name,
        configurations=tuple(name.split("+")),
        foreground_mean_dice=summary.foreground_mean.dice,
        summary=os.path.relpath(file, relative_to),
    )


def _table(selection: Selection) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    for name in ("candidate", "mean Dice", "95 % interval", "best in"):
        table.add_column(name, justify="left" if name == "candidate" else "right")
    resampled = () if selection.bootstrap is None else selection.bootstrap.candidates
    for candidate, found in zip(selection.candidates, resampled, strict=True):
        low, high = found.interval
        table.add_row(
            candidate.name,
            f"{candidate.foreground_mean_dice:.4f}",
            f"{low:.4f} to {high:.4f}",
            f"{100 * found.probability_best:.0f} %",
        )
    return table
