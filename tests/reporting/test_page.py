"""The page is well-formed and self-contained, and shows all that it was given."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape

import pytest
from case_samples import REGIONS
from report_pages import Page, check_page
from report_samples import LABELS, NAN, candidate, gallery, history, postprocessing_of, report_data, summary

from segflow.contracts.scores import Selection
from segflow.reporting.cases import CaseFacts, Measure, measures
from segflow.reporting.data import FastScores, Gallery
from segflow.reporting.files import report_files
from segflow.reporting.page.render import render_report
from segflow.reporting.text import ABSENT, shape_text


@pytest.fixture(scope="module")
def page():
    return render_report(with_files(report_data()))


def with_files(data):
    return replace(data, files=report_files(data))


def rows_of(html, section):
    """Cells of each table row of a section, as text."""
    part = html.split(f'<section id="{section}"')[1].split("</section>")[0]
    cells = (re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row, re.DOTALL) for row in part.split("<tr")[1:])
    return [[" ".join(re.sub(r"<.*?>", " ", cell).split()) for cell in row] for row in cells]


def test_the_page_is_well_formed_and_needs_nothing_else(page):
    Page(page)
    links = re.findall(r' (?:xlink:)?(?:href|src)="([^"]*)"', page)
    beside = [link for link in links if not link.startswith(("#", "data:image/"))]
    assert set(beside) == {f"report/{name}" for name in report_files(report_data())}
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    targets = {link[1:] for link in links if re.fullmatch(r"#[a-z]+", link)}
    assert targets <= set(re.findall(r' id="([^"]*)"', page))
    assert {"result", "pictures", "training"} <= targets
    assert "lesion &lt;b&gt;" in page
    assert "lesion <b>" not in page
    assert render_report(with_files(report_data())) == page


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
    assert words in unescape(re.sub(r"<[^>]*>", " ", page))


def test_candidates_best_first_undefined_last(page):
    rows = rows_of(page, "candidates")[1:4]
    assert [row[0] for row in rows] == ["3d_fullres chosen", "2d + 3d_fullres", "2d"]
    assert re.findall(r'class="bar" style="([^"]*)"', page)[:2] == ["--share: 0.8000", "--share: 0.7500"]
    assert [row[5:] for row in rows] == [["0.850", "0.700"], [ABSENT, ABSENT], [ABSENT, ABSENT]]
    assert [row[4] for row in rows] == ["91 %", "9 %", "0 %"]


def test_cases_worst_first(page):
    rows = rows_of(page, "cases")[1:]
    assert [row[0] for row in rows] == ["case_1", "case_2", "case_0"]
    assert rows[0] == ["case_1", "0.700", ABSENT, "0.700"]


def test_plan_and_data(page):
    shapes = [shape_text(shape) for shape in ((16, 64, 48), (16, 32, 24), (8, 16, 12))]
    blocks = ["2 | 2", "2 | 2", f"2 | {ABSENT}"]
    found = [(row[0], row[4]) for row in rows_of(page, "plan")[1:]]
    assert found == list(zip(shapes, blocks, strict=True))
    rows = {row[0]: row[1:] for row in rows_of(page, "data")[1:7]}
    assert rows["spacing, mm, along z"] == ["2", "2.5", "3"]
    assert rows["shape after cropping, voxels, along y"] == ["20", "22", "24"]


def test_what_was_not_trained_as_planned():
    planned = report_data().plan.configurations["3d_fullres"]
    narrow = planned.architecture.model_copy(
        update={"features": tuple(n // 4 for n in planned.architecture.features)}
    )
    trained = planned.model_copy(update={"batch_size": 7, "architecture": narrow})
    html = render_report(report_data(trained={"3d_fullres": trained}))
    first, last = (f"{f[0]} to {max(f)}" for f in (narrow.features, planned.architecture.features))
    assert f'7 <span class="quiet">planned {planned.batch_size}</span>' in html
    assert f"{first} features, planned {last}" in html
    assert rows_of(html, "plan")[1][1] == str(narrow.features[0])


def test_flat_images_have_two_axes():
    data = report_data()
    flat = {"spacings": ((999, 1, 2), (999, 3, 4)), "shapes_after_crop": ((1, 20, 30), (1, 40, 50))}
    html = render_report(report_data(fingerprint=data.fingerprint.model_copy(update=flat)))
    rows = [row[:2] for row in rows_of(html, "data")[1:5]]
    sizes = {
        "spacing, mm, along y": "1",
        "spacing, mm, along x": "2",
        "shape after cropping, voxels, along y": "20",
    }
    assert rows == [*map(list, sizes.items()), ["shape after cropping, voxels, along x", "30"]]


def test_without_a_spacing_nothing_is_in_millimetres():
    facts = tuple(replace(fact, spacing_mm=()) for fact in gallery().facts)
    data = report_data(
        gallery=replace(gallery(), facts=facts, measures=measures(facts, LABELS, ["T1"])), assessment=None
    )
    files = report_files(data)
    text = " ".join(check_page(render_report(data), files).text.split())
    assert "Spacing mm" not in text
    assert not re.search(r"\d mm\b", text)
    assert not re.search(r"\d mm\b", files["methods.txt"])
    assert "spacing" not in files["tables/sizes.csv"] + files["tables/plan.csv"]


def test_every_case_is_shown(page):
    """In its row, with a link where there is a large picture; those not predicted come last, without scores."""
    cases = page.split('<section id="cases"')[1].split("</section>")[0]
    assert cases.count('<img class="thumbnail"') == 3
    assert cases.count('<a href="#large-0">') == page.count('id="large-0"') == 1
    extra = CaseFacts("case_9", (), (10, 20, 30), (5.0,), (2.0, 0.0))
    shown = replace(gallery(), facts=(*gallery().facts, extra))
    html = render_report(report_data(gallery=shown))
    assert rows_of(html, "cases")[-1] == ["case_9", ABSENT, ABSENT, ABSENT]
    assert "4 cases, lowest Dice first; 1 of them were not predicted" in html
    assert "3 cases, each predicted by" in html


def test_histograms_name_outliers():
    spacings = {f"case <{i}>": 1.0 for i in range(9)} | {"case <9>": 4.0}
    measure = Measure("spacing along z", "mm", spacings)
    html = render_report(report_data(gallery=replace(gallery(), measures=(measure,))))
    assert "Far from the others: case &lt;9&gt; (4)." in html
    same = replace(measure, values={"a": 1.5, "b": 1.5})
    assert "The same in all cases: spacing along z (1.5 mm)." in render_report(
        report_data(gallery=replace(gallery(), measures=(same,)))
    )


def test_what_looks_mislabelled(page):
    part = page.split('<section id="doubts"')[1].split("</section>")[0]
    assert "<strong>case_2</strong><br>&#39;lesion &lt;b&gt;&#39; is not annotated" in part
    assert "case_1" not in part


SELECTION = report_data().card.selection
ONLY = candidate("3d_fullres", NAN)


@pytest.mark.parametrize(
    ("changes", "present", "absent"),
    [
        ({"file_ending": ".png"}, ["case_0.nii.gz"], []),
        (
            dict.fromkeys(("histories", "stages", "provenance", "warnings"), ())
            | {"gallery": Gallery(), "assessment": None},
            [],
            ['id="training"', 'id="pictures"', 'id="doubts"', "<figure", "Read this first"],
        ),
        (
            {"selection": SELECTION.model_copy(update={"bootstrap": None}), "assessment": None},
            [],
            ["95 % interval", "resamples", "preferred"],
        ),
        (
            {"selection": SELECTION.model_copy(update={"prefer_single_within": 0.01})},
            ["preferred if it is within 0.01 of the highest"],
            [],
        ),
        ({"summary": summary((NAN, NAN))}, [f'<td class="n strong">{ABSENT}</td>'], []),
        (
            {"fast": FastScores(fold=0, n_folds=1, n=52, fast=0.8614, usual=0.8691)},
            [
                "has a mean Dice of\n  0.861 on the 52 cases",
                "the same networks had\n  0.869 in the cross-validation.",
            ],
            ["What the average"],
        ),
        (
            {"fast": FastScores(fold=2, n_folds=5, n=1, fast=0.5, usual=NAN)},
            [
                "the networks of fold 2 alone",
                "What the average over 5 folds adds is not known",
                "on the 1 case that",
            ],
            [],
        ),
        (
            {
                "summary": summary(),
                "candidate_summaries": {"3d_fullres": summary()},
                "selection": Selection(best=ONLY, candidates=(ONLY,)),
                "postprocessing": postprocessing_of(),
                "histories": (history("all"),),
                "gallery": Gallery(),
                "assessment": None,
            },
            [
                "Not scored: trained on all cases.",
                "Taken without scores: 3d_fullres",
                "0 steps tried, none",
            ],
            ["Best model", "nan<", "not trained on it", "highest mean Dice wins"],
        ),
        (
            {
                "labels": REGIONS,
                "summary": summary((0.9, 0.8), labels=REGIONS),
                "candidate_summaries": {},
            },
            ["mean Dice over regions"],
            [],
        ),
    ],
    ids=[
        "another ending",
        "no optional parts",
        "no bootstrap",
        "a preference",
        "no scores",
        "fast, of one fold",
        "fast, of five",
        "no cases",
        "regions",
    ],
)
def test_other_experiments(changes, present, absent):
    html = render_report(report_data(**changes))
    assert all(words in html for words in present)
    assert not any(words in html for words in absent)
