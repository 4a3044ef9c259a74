"""Strict parsing with helpful messages."""

from __future__ import annotations

import json
import math

import pytest
from case_samples import geometry_of
from pydantic import ValidationError

from segflow.contracts.case import CaseRecord
from segflow.contracts.codec import Contract
from segflow.contracts.errors import ConfigurationError, PlanError
from segflow.contracts.scores import Metrics


class Inner(Contract):
    first_value: int
    second_value: float = 0.5


class Outer(Contract):
    name: str
    inner: Inner = Inner(first_value=1)
    several: tuple[Inner, ...] = ()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"name": "x", "iner": {}}, r"unknown key 'iner': did you mean 'inner'\?"),
        ({"name": "x", "zzz": 1}, "unknown key 'zzz': valid keys are name, inner, several"),
        (
            {"name": "x", "inner": {"first_value": 1, "zzz": 2}},
            r"unknown key 'inner\.zzz': valid keys are first_value, second_value",
        ),
        (
            {"name": "x", "several": [{"first_value": 1, "frist_value": 2}]},
            r"unknown key 'several\.0\.frist_value': did you mean 'first_value'\?",
        ),
        ({}, "'name': Field required .*"),
        ([1], r".*valid dictionary.*found \[1\].*"),
        (None, ".*found None.*"),
        ({"extra": 1, "inner": {}}, r"'name'.*; .*'inner\.first_value'.*; unknown key 'extra'.*"),
    ],
)
@pytest.mark.parametrize("error", [ConfigurationError, PlanError])
def test_every_fault_is_named(data, message, error):
    with pytest.raises(error, match=rf"^a\.yaml: {message}$"):
        Outer.parse(data, where="a.yaml", error=error)


def test_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        Inner(first_value=1).first_value = 2


def test_json_round_trip_with_defaults():
    outer = Outer(name="ü", inner=Inner(first_value=3, second_value=0.1))
    text = outer.to_json()
    assert text.endswith("}\n")
    assert Outer.parse(json.loads(text), where="a.yaml", error=PlanError) == outer
    assert Outer.parse({"name": "x"}, where="a.yaml", error=PlanError).inner == Inner(first_value=1)


def test_nan_survives_and_aliases_are_written():
    metrics = Metrics(dice=math.nan, fn=0, fp=0, iou=math.nan, tn=10, tp=0, n_pred=0, n_ref=0)
    data = json.loads(metrics.to_json())
    assert math.isnan(data["Dice"])
    assert {"Dice", "FN", "FP", "IoU", "TN", "TP", "n_pred", "n_ref"} == set(data)
    assert math.isnan(Metrics.parse(data, where="m", error=PlanError).dice)


def test_a_record_survives_json():
    record = CaseRecord(
        identifier="a",
        geometry=geometry_of((9, 9, 9)).model_copy(update={"nifti_placement": "00ff"}),
        shape_before_crop=(9, 9, 9),
        crop_box=((0, 9), (2, 5), (8, 9)),
        spacing_mm=(1, 1, 1),
        shape=(3, 3, 3),
    )
    assert record.shape_after_crop == (9, 3, 1)
    assert CaseRecord.model_validate_json(record.to_json()) == record
