"""The summary of an experiment on a terminal."""

from __future__ import annotations

import io
from pathlib import Path

from report_samples import LABELS, NAN, model_card, plan, summary
from rich.console import Console

from segflow.commands.outcome import Outcome
from segflow.commands.summary import terminal_summary
from segflow.contracts.scores import Operation
from segflow.reporting.data import StageTime


def shown(scores, *operations, stages=()):
    card = model_card("2d+3d_fullres", *operations, dataset="Dataset001_[bold]")
    console = Console(file=io.StringIO(), width=80)
    outcome = Outcome(Path("results"), card, LABELS, {}, scores, plan())
    console.print(terminal_summary(outcome, stages))
    return console.file.getvalue()


def test_everything_is_shown():
    stages = (StageTime("plan", 1.5), StageTime("train", 3600, 5))
    keep = Operation(name="keep_largest", labels=(1,))
    text = shown(summary((0.9, 0.8), (0.7, NAN)), keep, stages=stages)
    for words in ("Dataset001_[bold]", "2d+3d_fullres, post-processed", "0.800", "± 0.141", "lesion <b>"):
        assert words in text
    for words in ("results/model", "results/report.html", "1 h 00 min", "total"):
        assert words in text


def test_without_scores():
    text = shown(summary())
    assert "model: 2d+3d_fullres" in text
    assert "not scored: trained on all cases" in text
    assert "Dice" not in text


def test_what_is_unknown_is_left_out():
    text = shown(summary((0.9, 0.8)))
    assert "stage" not in text
    assert "± 0" not in text
