"""Rows of the tables."""

from __future__ import annotations

import math

from report_samples import plan, report_data

from segflow.reporting.rows import candidate_rows, case_name, case_rows, class_rows, network_rows, ranges


def test_candidates_best_first_undefined_last():
    rows = candidate_rows(report_data())
    assert [row.name for row in rows] == ["3d_fullres", "2d+3d_fullres", "2d"]
    assert [row.is_best for row in rows] == [True, False, False]
    assert rows[0].per_target[1] == 0.7
    assert math.isnan(rows[1].per_target[0])
    assert [row.resampled.rank_shares[0] for row in rows] == [0.912, 0.088, 0]


def test_cases_worst_first():
    rows = case_rows(report_data())
    assert [row.name for row in rows] == ["case_1", "case_2", "case_0"]
    assert rows[0].mean == 0.7


def test_case_name():
    case = report_data().summary.metric_per_case[0]
    assert case_name(case, ".nii.gz") == "case_0"
    assert case_name(case, ".png") == "case_0.nii.gz"


def test_classes():
    rows, scale = class_rows(report_data())
    assert [row.spread.name for row in rows] == ["organ", "lesion <b>"]
    assert rows[0].colour != rows[1].colour
    assert scale.low == 0.6


def test_feature_maps_shrink_by_the_strides():
    rows = network_rows(plan().configurations["3d_fullres"])
    assert [row.shape for row in rows] == [(16, 64, 48), (16, 32, 24), (8, 16, 12)]
    assert [row.decoder_blocks for row in rows] == [2, 2, None]


def test_ranges():
    spacing, shape = ranges(report_data().fingerprint)
    assert (spacing[0].low, spacing[0].median, spacing[0].high) == (2, 2.5, 3)
    assert (shape[1].low, shape[1].high) == (20, 24)
