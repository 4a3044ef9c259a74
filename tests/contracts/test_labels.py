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
        (
            {"0": "background", "1": "a"},
            None,
            r'the wrong way round: write {"background": 0, "a": 1}, names first',
        ),
        (
            {"background": 0, "a": 1, "b": 1},
            None,
            r"labels 'a' and 'b' stand for the same values \[1\]; remove one",
        ),
        ({"background": 0, "a": 1, "b": [1]}, None, "labels 'a' and 'b' stand for the same"),
        ({"background": 0, "none": [0], "a": 1}, None, "labels 'background' and 'none' stand for the same"),
        (
            {"background": 0, "v": [1, 2], "w": [2, 1]},
            [1, 2],
            r"labels 'v' and 'w' stand for the same values \[1, 2\]",
        ),
        (
            {"background": 0, "w": [1, 2], "c": 2},
            [1, 3],
            r"'regions_class_order' holds 3, .* these are \[1, 2\]",
        ),
        (
            {"background": 0, "w": [1, 2], "c": 2},
            [0, 2],
            "'regions_class_order' holds 0, which is not a foreground label",
        ),
        (
            {"background": 0, "w": [1, 2], "ignore": 3},
            [3],
            "'regions_class_order' holds 3, which is not a foreground",
        ),
        (
            {"background": 0, "w": [1, 2], "c": 2},
            [True, 2],
            "'regions_class_order' must be a list of whole numbers",
        ),
        ({"background": 0, "w": [1, 2], "c": 2}, 1, "'regions_class_order' must be a list of whole numbers"),
    ],
)
def test_wrong(entries, order, message):
    with pytest.raises(DatasetError, match=rf"^dataset\.json: .*{message}"):
        labels(entries, order)


def test_ignore_must_be_one_value():
    with pytest.raises(DatasetError, match="ignore"):
        labels({"background": 0, "a": 1, "ignore": [2]})


def test_a_region_may_hold_background():
    found = labels({"background": 0, "all": [0, 1], "a": 1}, [1, 1])
    assert found.targets == ((0, 1), 1)
    assert found.foreground_values == (1,)


def test_order_without_regions_is_left_alone():
    found = labels({"background": 0, "a": [1], "b": 2}, [1])
    assert not found.has_regions
    assert found.warnings == ()


def test_a_list_of_one_keeps_its_name_beside_regions():
    found = labels({"background": 0, "whole": [1, 2], "core": [2]}, [1, 2])
    assert found.targets == ((1, 2), (2,))
    assert found.target_names == ("whole", "core")


def test_a_region_written_as_a_value_outside_it():
    entries = {"background": 0, "whole": [1, 2], "core": 2}
    assert labels(entries, [1, 2]).warnings == ()
    assert labels(entries, [2, 1]).warnings == (
        "region 'core' unites [2], but 'regions_class_order' writes it as 1",
    )
