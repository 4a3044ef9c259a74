"""Everything that was decided and measured, as one page for a browser and as a few lines for a terminal."""

from segflow.reporting.cautions import cautions
from segflow.reporting.closing import Closing, closing_summary
from segflow.reporting.data import History, Overlay, ReportData, StageTime
from segflow.reporting.overlay import SlicePair, cut_slice, draw_overlay
from segflow.reporting.page import render_report
from segflow.reporting.spread import Spread, representative_cases, spreads

__all__ = [
    "Closing",
    "History",
    "Overlay",
    "ReportData",
    "SlicePair",
    "Spread",
    "StageTime",
    "cautions",
    "closing_summary",
    "cut_slice",
    "draw_overlay",
    "render_report",
    "representative_cases",
    "spreads",
]
