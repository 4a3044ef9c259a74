"""What was measured beyond Dice: on the page, in tables and in figures."""

from __future__ import annotations

import csv
import io
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from report_samples import assessment, report_data

from segflow.reporting.files import report_files
from segflow.reporting.page.render import render_report
from segflow.reporting.score_tables import METRICS
from segflow.reporting.text import dice_text, number_text

SECTIONS = ("scores", "lesions", "confusion", "volumes", "calibration")


@pytest.fixture(scope="module")
def data():
    plain = report_data()
    return replace(plain, files=report_files(plain))


@pytest.fixture(scope="module")
def sections(data):
    page = render_report(data)
    return {name: page.split(f'<section id="{name}"')[1].split("</section>")[0] for name in SECTIONS}


def rows(data, table):
    return list(csv.DictReader(io.StringIO(data.files[f"tables/{table}.csv"])))


def test_means_and_a_dot_per_case(data, sections):
    for metric, (title, unit, _) in METRICS.items():
        if metric == "dice":
            continue
        text = number_text if unit else dice_text
        shown = sections["scores"].split(f"<summary>{title}")[1].split("</details>")[0]
        found = [one.metrics[metric] for one in data.assessment.classes if metric in one.metrics]
        assert shown.count("<title>") == sum(one.n for one in found)
        for one in found:
            low, high = map(text, one.interval)
            assert f'class="n strong">{text(one.value)} <span' in shown
            assert f"{low} to {high}" in shown


def test_only_what_comes_in_components_has_lesions(sections):
    assert "lesion &lt;b&gt;" in sections["lesions"]
    assert "organ" not in sections["lesions"]


def test_each_figure_has_a_panel_per_class(data, sections):
    for name, section in (("bland_altman", "volumes"), ("calibration", "calibration")):
        assert sections[section].count("<svg") == 1
        drawn = ET.fromstring(data.files[f"figures/{name}.svg"])  # noqa: S314  our own
        assert {"organ", "lesion <b>"} <= {text.strip() for text in drawn.itertext()}


def test_tables_hold_what_the_stage_wrote(data):
    found = data.assessment
    by_case = rows(data, "scores_by_case")
    assert len(by_case) == 6
    for row in by_case:
        case = next(one for one in found.cases if one.case == row["case"])
        own = next(one for one in found.classes if one.name == row["class"])
        for name, value in case.values[own.target].items():
            assert float(row[name] or "nan") == pytest.approx(value, nan_ok=True)
    means = {(row["class"], row["metric"], row["of"]): row for row in rows(data, "scores")}
    organ = found.classes[0]
    assert float(means["organ", "hd95", "2d"]["mean"]) == 0 == organ.configurations["2d"]["hd95"].value
    assert float(means["organ", "nsd", "fold 1"]["mean"]) == pytest.approx(organ.folds["1"]["nsd"])
    assert float(means["organ", "nsd", "chosen model"]["interval from"]) == pytest.approx(
        organ.metrics["nsd"].interval[0]
    )
    table = [[int(row[f"predicted {name}"]) for name in found.values] for row in rows(data, "confusion")]
    assert table == [list(row) for row in found.confusion]
    lesion = found.classes[1].lesions
    assert [int(row["found"]) for row in rows(data, "lesion_sizes")] == [size.found for size in lesion.sizes]
    rates = {row["what"]: float(row["value"]) for row in rows(data, "lesions")}
    assert rates["Detection rate"] == pytest.approx(lesion.detection_rate.value)
    (limits, _) = rows(data, "volumes")
    assert float(limits["limit to ml"]) == pytest.approx(organ.agreement.limits[1])
    errors = [float(row["mean"]) for row in rows(data, "calibration_errors")]
    assert errors == pytest.approx([one.calibration.error.value for one in found.classes])
    assert len(rows(data, "calibration")) == sum(len(one.calibration.bins) for one in found.classes)


@pytest.mark.parametrize("is_empty", [False, True])
def test_without_scores_the_page_has_no_such_section(is_empty):
    """Of a model found by hand, or trained on all cases."""
    nothing = (
        assessment().model_copy(update={"cases": (), "classes": (), "confusion": ()}) if is_empty else None
    )
    plain = report_data(assessment=nothing)
    page = render_report(replace(plain, files=report_files(plain)))
    assert not any(f'id="{name}"' in page for name in SECTIONS)
