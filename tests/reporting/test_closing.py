"""The end of a run on a terminal."""

from __future__ import annotations

import io
from pathlib import Path

from report_samples import LABELS, NAN, summary
from rich.console import Console

from segflow.reporting.closing import Closing, closing_summary
from segflow.reporting.data import StageTime


def shown(**changes):
    values = {
        "dataset": "Dataset001_[bold]",
        "best": "2d+3d_fullres",
        "labels": LABELS,
        "summary": summary((0.9, 0.8), (0.7, NAN)),
        "package": Path("results/model"),
        "report": Path("results/report.html"),
        "stages": (StageTime("plan", 1.5), StageTime("train", 3600, 5)),
    }
    console = Console(file=io.StringIO(), width=80)
    console.print(closing_summary(Closing(**{**values, **changes})))
    return console.file.getvalue()


def test_says_all():
    text = shown(postprocessed=True)
    for words in ("Dataset001_[bold]", "2d+3d_fullres, post-processed", "0.800", "± 0.141", "lesion <b>"):
        assert words in text
    for words in ("results/model", "results/report.html", "1 h 00 min", "total"):
        assert words in text


def test_without_times():
    assert "stage" not in shown(stages=())


def test_one_case_has_no_spread():
    assert "±" not in shown(summary=summary((0.9, 0.8)))
