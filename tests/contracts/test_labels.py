"""Classes, regions and the ignore label."""

from __future__ import annotations

import pytest

from segflow.contracts.errors import DatasetError
from segflow.contracts.labels import Labels


def labels(entries, order=None):
    return Labels.from_json(entries, order, where="dataset.json")


def test_classes():
    found = labels({"background": 0, "lesion": 2, "organ": 1})
    assert not found.has_regions
    assert found.values == (0, 1, 2)
    assert found.foreground_values == found.targets == (1, 2)
    assert found.target_names == ("organ", "lesion")
    assert (found.n_outputs, found.n_entries) == (3, 3)
    assert found.ignore is None


def test_regions():
    found = labels({"background": 0, "whole": [1, 2, 3], "core": [3, 2], "tip": 3}, [1, 2, 3])
    assert found.has_regions
    assert found.values == (0, 1, 2, 3)
    assert found.targets == ((1, 2, 3), (3, 2), 3)
    assert found.target_names == ("whole", "core", "tip")
    assert (found.n_outputs, found.n_entries) == (3, 4)
    assert found.regions_class_order == (1, 2, 3)


def test_ignore():
    found = labels({"background": 0, "a": 1, "ignore": 2})
    assert found.ignore == 2
    assert found.values == (0, 1)
    assert found.targets == (1,)
    assert (found.n_outputs, found.n_entries) == (2, 3)  # the planner counts it (method.md section 2)


def test_regions_with_ignore():
    found = labels({"background": 0, "whole": [1, 2], "core": [2], "ignore": 3}, (1, 2))
    assert found.ignore == 3
    assert found.targets == ((1, 2), (2,))
    assert found.n_outputs == 2
    assert found.values == (0, 1, 2)


def test_a_list_of_one_is_no_region():
    found = labels({"background": 0, "a": [1], "b": 2})
    assert not found.has_regions
    assert found.targets == (1, 2)
    assert found.target_names == ("a", "b")


@pytest.mark.parametrize(
    ("entries", "order", "message"),
    [
        ({"background": 0, "a": 2}, None, r"consecutive from 0, found \[0, 2\]; renumber"),
        ({"a": 0}, None, '"background": 0'),
        ({"background": [0], "a": 1}, None, '"background": 0'),
        ({"background": 0, "a": -1}, None, r"consecutive from 0, found \[-1, 0\]"),
        (
            {"background": 0, "a": 1, "ignore": 1},
            None,
            r'"ignore" must be the highest label plus one \(2\), found 1',
        ),
        ({"background": 0, "w": [1, 2], "c": 2}, [1], "one label value for each of the 2 regions, found 1"),
        ({"background": 0, "w": [1, 2], "c": 2}, None, "'regions_class_order' .* found 0"),
        (
            {"background": 0, "a": None},
            None,
            "label 'a' must be a whole number or a list of them, found None",
        ),
        ({"background": 0, "a": [1, "2"]}, None, "label 'a' must be"),
    ],
)
def test_wrong(entries, order, message):
    with pytest.raises(DatasetError, match=rf"^dataset\.json: .*{message}"):
        labels(entries, order)


def test_ignore_must_be_one_value():
    with pytest.raises(DatasetError, match="ignore"):
        labels({"background": 0, "a": 1, "ignore": [2]})
