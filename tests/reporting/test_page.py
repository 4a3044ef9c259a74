"""The page is well-formed and self-contained, and shows all that it was given."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from report_samples import NAN, report_data, summary

from segflow.contracts.labels import Labels
from segflow.reporting.page import render_report
from segflow.reporting.text import ABSENT, shape_text

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Balance(HTMLParser):
    """Checks that every element is closed, and collects ids and links."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values[name] for name in ("href", "src", "xlink:href") if name in values]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def page():
    html = render_report(report_data())
    parser = Balance()
    parser.feed(html)
    return html, parser


def rows_of(html, section):
    """Cells of each table row of a section, as text."""
    part = html.split(f'<section id="{section}"')[1].split("</section>")[0]
    cells = (re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row, re.DOTALL) for row in part.split("<tr")[1:])
    return [[" ".join(re.sub(r"<.*?>", " ", cell).split()) for cell in row] for row in cells]


def test_elements_are_closed(page):
    assert page[1].open == []


def test_nothing_is_fetched(page):
    html, parser = page
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in parser.links)
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)
    local = [link[1:] for link in parser.links if re.fullmatch(r"#[a-z]+", link)]
    assert set(local) <= set(parser.ids)


def test_text_is_escaped(page):
    assert "lesion &lt;b&gt;" in page[0]
    assert "lesion <b>" not in page[0]


@pytest.mark.parametrize(
    "words",
    [
        "Dataset001_Sample",
        "0.850",
        "0.775",
        "case_1",
        "+0.1000",
        "\N{MINUS SIGN}0.0100",
        "keep the largest component",
        "remove components below 12.5 mm\N{SUPERSCRIPT THREE}",
        "whole foreground",
        "not used",
        "0.710 to 0.880",
        "91 %",
        "< 1 %",
        "Ranks in 1000 resamples of the 3 cases",
        "of 3",
        shape_text((16, 64, 48)),
        "2 h 00 min",
        "Trained for a moment.",
    ],
)
def test_content(page, words):
    assert words in " ".join(page[1].text)


def test_candidates_best_first_undefined_last(page):
    rows = [row for row in rows_of(page[0], "candidates") if len(row) == 7][1:]
    assert [row[0] for row in rows] == ["3d_fullres chosen", "2d + 3d_fullres", "2d"]
    assert [row[5:] for row in rows] == [["0.850", "0.700"], [ABSENT, ABSENT], [ABSENT, ABSENT]]
    assert [row[3] for row in rows] == ["91 %", "9 %", "0 %"]


def test_cases_worst_first(page):
    assert [row[0] for row in rows_of(page[0], "cases")[1:]] == ["case_1", "case_2", "case_0"]
    assert rows_of(page[0], "cases")[1] == ["case_1", "0.700", ABSENT, "0.700"]
    assert "case_0.nii.gz" in render_report(report_data(file_ending=".png"))


def test_feature_maps_shrink_by_the_strides(page):
    shapes = [shape_text(shape) for shape in ((16, 64, 48), (16, 32, 24), (8, 16, 12))]
    rows = rows_of(page[0], "plan")[1:]
    assert [(row[0], row[4]) for row in rows] == list(
        zip(shapes, ["2 | 2", "2 | 2", f"2 | {ABSENT}"], strict=True)
    )


def test_ranges_of_spacing_and_shape(page):
    spacing, shape = rows_of(page[0], "data")[1:3]
    assert spacing[1:] == [shape_text(v) for v in ((2, 1, 0.5), (2.5, 1, 0.75), (3, 1, 1))]
    assert shape[1:] == [shape_text(v) for v in ((10, 20, 30), (11, 22, 30), (12, 24, 30))]


def test_same_data_same_page(page):
    assert render_report(report_data()) == page[0]


def test_a_run_without_optional_parts():
    html = render_report(
        report_data(histories=(), overlays=(), stages=(), provenance=(), warnings=(), candidate_summaries={})
    )
    for text in ('id="training"', 'id="pictures"', "Read this first"):
        assert text not in html


def test_networks_from_elsewhere_have_no_bootstrap():
    selection = report_data().selection.model_copy(update={"bootstrap": None})
    html = render_report(report_data(selection=selection))
    assert "95 % interval" not in html
    assert "resamples" not in html


def test_a_preference_for_single_configurations_is_stated(page):
    text = "preferred if it is within 0.01 of the highest"
    selection = report_data().selection.model_copy(update={"prefer_single_within": 0.01})
    assert text in render_report(report_data(selection=selection))
    assert text not in page[0]


def test_all_scores_undefined():
    assert f"<strong>{ABSENT}</strong>" in render_report(report_data(summary=summary((NAN, NAN))))


def test_regions():
    labels = Labels((("background", 0), ("whole", (1, 2)), ("core", 2)), regions_class_order=(1, 2))
    html = render_report(
        report_data(labels=labels, summary=summary((0.9, 0.8), labels=labels), candidate_summaries={})
    )
    assert "mean Dice over regions" in html
