"""Strict parsing with helpful messages."""

from __future__ import annotations

import json
import math

import pytest
from case_samples import geometry_of
from pydantic import ValidationError

from segflow.contracts.case import CaseRecord, Geometry
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


def parse(data):
    return Outer.parse(data, where="a.yaml", error=ConfigurationError)


def test_defaults_are_filled_in():
    assert parse({"name": "x"}) == Outer(name="x", inner=Inner(first_value=1, second_value=0.5))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"name": "x", "iner": {}}, "unknown key 'iner': did you mean 'inner'?"),
        ({"name": "x", "zzz": 1}, "unknown key 'zzz': valid keys are name, inner, several"),
        (
            {"name": "x", "inner": {"first_value": 1, "frist_value": 2}},
            "unknown key 'inner.frist_value': did you mean 'first_value'?",
        ),
        (
            {"name": "x", "inner": {"first_value": 1, "zzz": 2}},
            "unknown key 'inner.zzz': valid keys are first_value, second_value",
        ),
        (
            {"name": "x", "several": [{"first_value": 1, "frist_value": 2}]},
            "unknown key 'several.0.frist_value': did you mean 'first_value'?",
        ),
    ],
)
def test_unknown_key(data, message):
    with pytest.raises(ConfigurationError) as fault:
        parse(data)
    assert str(fault.value) == f"a.yaml: {message}"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, r"'name': Field required"),
        ({"name": "x", "inner": {"first_value": "many"}}, r"'inner\.first_value': .* \(found 'many'\)"),
        ([1], r"valid dictionary.*found \[1\]"),
        (None, r"found None"),
        ({"extra": 1, "inner": {}}, r"'name'.*; .*'inner\.first_value'.*; unknown key 'extra'"),
    ],
)
def test_every_fault_is_named(data, message):
    with pytest.raises(ConfigurationError, match=rf"^a\.yaml: .*{message}"):
        parse(data)


def test_the_caller_chooses_the_error():
    with pytest.raises(PlanError):
        Inner.parse({}, where="x", error=PlanError)


def test_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        Inner(first_value=1).first_value = 2


def test_json_round_trip():
    outer = Outer(name="ü", inner=Inner(first_value=3, second_value=0.1))
    text = outer.to_json()
    assert text.endswith("}\n")
    assert parse(json.loads(text)) == outer


def test_nan_survives_and_aliases_are_written():
    metrics = Metrics(dice=math.nan, fn=0, fp=0, iou=math.nan, tn=10, tp=0, n_pred=0, n_ref=0)
    data = json.loads(metrics.to_json())
    assert math.isnan(data["Dice"])
    assert {"Dice", "FN", "FP", "IoU", "TN", "TP", "n_pred", "n_ref"} == set(data)
    assert math.isnan(Metrics.parse(data, where="m", error=PlanError).dice)


def test_geometry_survives_json():
    geometry = geometry_of((9, 9, 9))
    placed = geometry.model_copy(update={"nifti_placement": "00ff"})
    assert Geometry.model_validate_json(placed.to_json()) == placed != geometry


def test_shape_after_crop():
    record = CaseRecord(
        identifier="a",
        geometry=geometry_of((9, 9, 9)),
        shape_before_crop=(9, 9, 9),
        crop_box=((0, 9), (2, 5), (8, 9)),
        spacing_mm=(1, 1, 1),
        shape=(3, 3, 3),
    )
    assert record.shape_after_crop == (9, 3, 1)
