"""The files beside the page: they hold its numbers, and names as text."""

from __future__ import annotations

import csv
import io
import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from report_pages import Page, check_page
from report_samples import NAN, assessment, history, report_data, summary

from segflow.contracts.labels import Labels
from segflow.contracts.scores import Selection
from segflow.metrics.overlap import nan_mean
from segflow.reporting.data import Gallery, ReportData
from segflow.reporting.files import report_files
from segflow.reporting.page.render import render_report
from segflow.reporting.tables import class_rows
from segflow.reporting.text import dice_text, mean_dice
from segflow.storage.files import cell_text

HOSTILE = (
    "<script>alert(1)</script>",
    "=cmd()",
    "a \"quoted\" 'one' & more",
    "$x^{$ лёгкое 肝臓",
    "-1+2@a",
    "\u0007bell",
)


def with_names(name) -> ReportData:
    """A report in which all that a user names has one name."""
    data = report_data()
    labels = Labels((("background", 0), (name, 1), (f"{name} 2", 2)))
    cases = [
        case.model_copy(update={"prediction_file": f"predicted/{i}{name.replace('/', '|')}.nii.gz"})
        for i, case in enumerate(data.summary.metric_per_case)
    ]
    scores = data.summary.model_copy(update={"metric_per_case": tuple(cases)})
    found = replace(
        data,
        labels=labels,
        summary=scores,
        channel_names=(name,),
        card=data.card.model_copy(update={"dataset": name}),
        warnings=(name,),
        assessment=assessment(labels, [f"{i}{name}" for i in range(3)]),
    )
    return replace(found, files=report_files(found))


def test_every_number_of_the_page_is_in_a_file():
    data = report_data()
    data = replace(data, files=report_files(data))
    page = check_page(render_report(data), data.files)
    classes = list(csv.DictReader(io.StringIO(data.files["tables/classes.csv"])))
    mean = nan_mean(float(row["mean dice"]) for row in classes)
    assert re.search(rf"Best model\s+3d_fullres\s+{re.escape(dice_text(mean))}\s+mean Dice", page.text)
    assert mean == data.summary.foreground_mean.dice


def test_scores_per_patient():
    """Two of three cases are of one patient: its row is their mean, on the page as in the file."""
    data = report_data()
    owners = ["P <1>", "P 2", "P <1>"]
    cases = [
        case.model_copy(update={"patient": owner})
        for case, owner in zip(data.summary.metric_per_case, owners, strict=True)
    ]
    data = replace(data, summary=data.summary.model_copy(update={"metric_per_case": tuple(cases)}))
    data = replace(data, files=report_files(data))
    page = check_page(render_report(data), data.files)
    assert "3 cases of 2 patients, each predicted" in " ".join(page.text.split())
    assert "resamples of the patients" in page.text
    rows = {row["patient"]: row for row in csv.DictReader(io.StringIO(data.files["tables/patients.csv"]))}
    assert list(rows) == ["P 2", "P <1>"]
    means = [mean_dice(case) for case in cases]
    assert float(rows["P <1>"]["mean dice"]) == pytest.approx((means[0] + means[2]) / 2)
    assert "nor on another image of the same patient (2 patients)" in data.files["methods.txt"]


def test_the_comparison_of_page_and_files_sees_a_changed_number():
    data = report_data()
    files = report_files(data)
    page = render_report(data)
    wrong = {**files, "tables/cases.csv": files["tables/cases.csv"].replace("0.95", "0.949")}
    with pytest.raises(AssertionError, match="cases"):
        check_page(page, wrong)
    with pytest.raises(AssertionError, match="cases"):
        check_page(page.replace("0.950", "0.949"), files)


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_text_everywhere(name):
    data = with_names(name)
    page = Page(render_report(data))
    assert page.tags.count("script") == 1  # the page's own
    assert name in page.text
    texts = {path: content for path, content in data.files.items() if isinstance(content, str)}
    for path, content in texts.items():
        if path.endswith(".svg"):
            root = ET.fromstring(content)  # noqa: S314 - our own text
            assert not [element for element in root.iter() if element.tag.endswith("script")]
            if path == "figures/dice.svg":
                written = {
                    "".join(element.itertext()) for element in root.iter() if element.tag.endswith("text")
                }
                assert name.replace("\u0007", "\N{REPLACEMENT CHARACTER}") in written
        if path.endswith(".csv"):
            rows = list(csv.reader(io.StringIO(content)))
            assert not [cell for row in rows for cell in row if cell.startswith(("=", "@", "+"))], path
    cells = {path: [cell for row in csv.reader(io.StringIO(texts[path])) for cell in row] for path in texts}
    assert cell_text(name) in cells["tables/classes.csv"]
    assert cell_text(name) in cells["tables/intensities.csv"]
    assert any(name.replace("/", "|") in cell for cell in cells["tables/cases.csv"])
    assert name in texts["methods.txt"]
    check_page(render_report(data), data.files)


def test_figures_need_nothing_else():
    files = report_files(report_data())
    assert {path for path in files if path.endswith(".svg")} == {
        "figures/dice.svg", "figures/candidates.svg", "figures/histogram_1.svg",
        "figures/training_3d_fullres_loss.svg", "figures/training_3d_fullres_dice.svg",
        "figures/nsd.svg", "figures/hd95.svg", "figures/assd.svg", "figures/volume.svg", "figures/lesions.svg",
        "figures/bland_altman.svg", "figures/calibration.svg",
    }  # fmt: skip
    for path, content in files.items():
        if path.endswith(".svg"):
            assert "var(--" not in content
            assert not re.search(r'href="(?!#)', content)
    assert report_files(report_data()) == files


def test_training_curves_have_all_epochs():
    files = report_files(report_data(histories=(history(0, 2), history(1, 1))))
    rows = list(csv.DictReader(io.StringIO(files["tables/training.csv"])))
    assert [(row["fold"], row["epoch"]) for row in rows] == [("0", "0.0"), ("0", "1.0"), ("1", "0.0")]
    assert rows[0]["train_loss"] == "-0.1"


def test_nothing_is_written_about_what_is_not_there():
    data = report_data(
        summary=summary(), assessment=None, gallery=Gallery(), histories=(), stages=(), provenance=(),
        candidate_summaries={},
        selection=Selection(best=report_data().card.selection.best, candidates=(report_data().card.selection.best,)),
    )  # fmt: skip
    files = report_files(data)
    assert not [path for path in files if path.startswith("figures/")]
    assert {"tables/cases.csv", "tables/training.csv", "tables/time.csv"}.isdisjoint(files)
    assert "none could be scored" in files["methods.txt"]
    assert "dice1945" not in files["references.bib"]


def test_classes_over_the_cases_in_which_they_are_defined():
    organ, lesion = class_rows(report_data(summary=summary((0.9, 0.8), (0.7, NAN))))
    assert (organ["class"], organ["cases"]) == ("organ", 2)
    assert (organ["mean dice"], organ["std dice"]) == pytest.approx((0.8, 0.1 * 2**0.5))
    assert (lesion["mean dice"], lesion["cases"]) == (0.8, 1)
    assert math.isnan(lesion["std dice"])
    absent = class_rows(report_data(summary=summary((0.9, NAN))))[1]
    assert absent["cases"] == 0
    assert math.isnan(absent["mean dice"])
