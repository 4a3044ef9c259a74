"""Fill the templates of the report."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from segflow.reporting.cases import outliers
from segflow.reporting.data import ReportData
from segflow.reporting.figures import class_colours, on_page
from segflow.reporting.reasons import choice_sentences, plan_sentences, postprocessing_sentences
from segflow.reporting.score_tables import METRICS
from segflow.reporting.tables import tables
from segflow.reporting.text import SHOWN_RANKS, dice_text, duration_text, number_text, shape_text

__all__ = ["render_report"]

_FILTERS = {
    "dice": dice_text,
    "duration": duration_text,
    "number": number_text,
    "shape": shape_text,
    "on_page": on_page,
    "outliers": outliers,
}


def render_report(data: ReportData) -> str:
    """Render the report as HTML that needs no other file and no network; its figures are those of `data.files`."""
    environment = Environment(
        loader=PackageLoader("segflow.reporting", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= _FILTERS
    return environment.get_template("report.html.jinja").render(
        data=data,
        tables=tables(data),
        metrics=METRICS,
        colours=class_colours(data.labels.target_names),
        shown_ranks=SHOWN_RANKS,
        places={overlay.case: place for place, overlay in enumerate(data.gallery.overlays)},
        measures=[measure for measure in data.gallery.measures if measure.values],
        reasons=[
            *plan_sentences(data),
            ("Choice", choice_sentences(data)),
            ("Post-processing", postprocessing_sentences(data)),
        ],
    )
