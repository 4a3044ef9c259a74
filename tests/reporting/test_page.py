"""The page is whole, closed to the outside, and says what it was given."""

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


def test_elements_are_closed(page):
    assert page[1].open == []


def test_nothing_is_fetched(page):
    html, parser = page
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in parser.links)
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)


def test_links_lead_somewhere(page):
    for link in page[1].links:
        if re.fullmatch(r"#[a-z]+", link):
            assert link[1:] in page[1].ids


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
        "all foreground together",
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


def test_same_data_same_page():
    assert render_report(report_data()) == render_report(report_data())


def test_bare_run():
    html = render_report(
        report_data(histories=(), overlays=(), stages=(), provenance=(), warnings=(), candidate_summaries={})
    )
    assert 'id="training"' not in html
    assert 'id="pictures"' not in html
    assert "Read this first" not in html


def test_networks_from_elsewhere_were_never_resampled():
    selection = report_data().selection.model_copy(update={"bootstrap": None})
    html = render_report(report_data(selection=selection))
    assert "95 % interval" not in html
    assert "resamples" not in html


def test_a_preference_is_said():
    said = "preferred if it lacks at most 0.01 of the highest"
    selection = report_data().selection.model_copy(update={"prefer_single_within": 0.01})
    assert said in render_report(report_data(selection=selection))
    assert said not in render_report(report_data())


def test_all_scores_undefined():
    assert f"<strong>{ABSENT}</strong>" in render_report(report_data(summary=summary((NAN, NAN))))


def test_regions():
    labels = Labels((("background", 0), ("whole", (1, 2)), ("core", 2)), regions_class_order=(1, 2))
    html = render_report(
        report_data(labels=labels, summary=summary((0.9, 0.8), labels=labels), candidate_summaries={})
    )
    assert "mean Dice over regions" in html
