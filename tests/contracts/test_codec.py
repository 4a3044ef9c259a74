"""Strict parsing with helpful messages."""

from __future__ import annotations

import json
import math

import pytest
from pydantic import ValidationError

from segflow.contracts.codec import Contract
from segflow.contracts.errors import ConfigurationError, PlanError
from segflow.contracts.plan import Fold
from segflow.contracts.scores import Metrics


class Inner(Contract):
    first_value: int
    second_value: float = 0.5


class Outer(Contract):
    name: str
    inner: Inner = Inner(first_value=1)


def parse(data, kind=Outer):
    return kind.parse(data, where="a.yaml", error=ConfigurationError)


def test_defaults_are_filled_in():
    assert parse({"name": "x"}) == Outer(name="x", inner=Inner(first_value=1, second_value=0.5))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"name": "x", "iner": {}}, "a.yaml: unknown key 'iner': did you mean 'inner'?"),
        ({"name": "x", "zzz": 1}, "a.yaml: unknown key 'zzz': valid keys are name, inner"),
        (
            {"name": "x", "inner": {"first_value": 1, "frist_value": 2}},
            "a.yaml: unknown key 'inner.frist_value': did you mean 'first_value'?",
        ),
        (
            {"name": "x", "inner": {"first_value": 1, "zzz": 2}},
            "a.yaml: unknown key 'inner.zzz': valid keys are first_value, second_value",
        ),
    ],
)
def test_unknown_key(data, message):
    with pytest.raises(ConfigurationError) as fault:
        parse(data)
    assert str(fault.value) == message


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, r"'name': Field required"),
        ({"name": "x", "inner": {"first_value": "many"}}, r"'inner\.first_value': .* \(found 'many'\)"),
        ([1], r"valid dictionary.*found \[1\]"),
        (None, r"found None"),
    ],
)
def test_wrong_value(data, message):
    with pytest.raises(ConfigurationError, match=rf"^a\.yaml: .*{message}"):
        parse(data)


def test_every_fault_is_told():
    with pytest.raises(ConfigurationError, match=r"'name'.*; .*'inner\.first_value'.*; unknown key 'extra'"):
        parse({"extra": 1, "inner": {}})


def test_the_error_is_the_callers():
    with pytest.raises(PlanError):
        Fold.parse({}, where="folds", error=PlanError)


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


def test_unknown_key_inside_a_list():
    class Several(Contract):
        parts: tuple[Inner, ...]

    with pytest.raises(ConfigurationError, match="did you mean 'first_value'"):
        parse({"parts": [{"first_value": 1, "frist_value": 2}]}, Several)
