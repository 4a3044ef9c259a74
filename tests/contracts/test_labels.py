"""Classes, regions and the ignore label."""

from __future__ import annotations

import pytest

from segflow.contracts.errors import DatasetError
from segflow.contracts.labels import Labels


def labels(entries, order=None):
    return Labels.from_json({"background": 0, **entries}, order, where="dataset.json")


@pytest.mark.parametrize(
    ("found", "values", "targets", "names", "n_outputs"),
    [
        (labels({"lesion": 2, "organ": 1}), (0, 1, 2), (1, 2), ("organ", "lesion"), 3),
        (
            labels({"w": [1, 2], "c": [3, 2], "t": 3}, [1, 2, 3]),
            (0, 1, 2, 3),
            ((1, 2), (3, 2), 3),
            ("w", "c", "t"),
            3,
        ),
        (labels({"a": 1, "ignore": 2}), (0, 1), (1,), ("a",), 2),
        (labels({"w": [1, 2], "c": [2], "ignore": 3}, (1, 2)), (0, 1, 2), ((1, 2), (2,)), ("w", "c"), 2),
        (labels({"a": [1], "b": 2}, [1]), (0, 1, 2), (1, 2), ("a", "b"), 3),  # a list of one is a class
        (labels({"all": [0, 1], "a": 1}, [1, 1]), (0, 1), ((0, 1), 1), ("all", "a"), 2),
    ],
    ids=["classes", "regions", "ignore", "regions and ignore", "list of one", "region with background"],
)
def test_values_and_targets(found, values, targets, names, n_outputs):
    assert found.values == values
    assert found.foreground_values == values[1:]
    assert (found.targets, found.target_names, found.n_outputs) == (targets, names, n_outputs)
    assert found.has_regions == any(isinstance(target, tuple) for target in targets)
    assert found.ignore == dict(found.entries).get("ignore")
    assert found.n_entries == len(found.entries)  # with background and ignore (method.md section 2)


REGIONS = {"background": 0, "w": [1, 2], "c": 2}


@pytest.mark.parametrize(
    ("entries", "order", "message"),
    [
        ({"background": 0, "a": 2}, None, r"consecutive from 0, found \[0, 2\]; renumber"),
        ({"a": 0}, None, '"background": 0'),
        ({"background": [0], "a": 1}, None, '"background": 0'),
        ({"background": 0, "a": -1}, None, r"consecutive from 0, found \[-1, 0\]"),
        ({"background": 0, "a": 1, "ignore": 1}, None, r"must be the highest label plus one \(2\), found 1"),
        ({"background": 0, "a": 1, "ignore": [2]}, None, '"ignore" must be a single whole number'),
        (REGIONS, [1], "one label value for each of the 2 regions, found 1"),
        (REGIONS, None, "'regions_class_order' .* found 0"),
        ({"background": 0, "a": None}, None, "'a' must be a whole number or a list of them, found None"),
        ({"background": 0, "a": [1, "2b"]}, None, "label 'a' must be"),
        ({"background": 0, "a": 1.5}, None, "label 'a' must be"),
        ({"0": "background", "1": "a"}, None, r'the wrong way round: write {"background": 0, "a": 1}, names'),
        ({"background": 0, "a": 1, "b": 1}, None, r"'a' and 'b' stand for the same values \[1\]; remove one"),
        ({"background": 0, "none": [0], "a": 1}, None, "labels 'background' and 'none' stand for the same"),
        (
            {"background": 0, "v": [1, 2], "w": [2, 1]},
            [1, 2],
            r"'v' and 'w' stand for the same values \[1, 2\]",
        ),
        (REGIONS, [1, 3], r"'regions_class_order' holds 3, .* these are \[1, 2\]"),
        ({"background": 0, "w": [1, 2], "ignore": 3}, [3], "holds 3, which is not a foreground label"),
        (REGIONS, [True, 2], "'regions_class_order' must be a list of whole numbers"),
        (REGIONS, 1, "'regions_class_order' must be a list of whole numbers"),
    ],
)
def test_wrong(entries, order, message):
    with pytest.raises(DatasetError, match=rf"^dataset\.json: .*{message}"):
        Labels.from_json(entries, order, where="dataset.json")


@pytest.mark.parametrize(
    ("entries", "order", "plain", "odd"),
    [
        ({"background": "0", "a": "1"}, None, {"background": 0, "a": 1}, "'0' is read as 0"),
        (
            {"background": 0, "a": 1.0, "ignore": 2},
            None,
            {"background": 0, "a": 1, "ignore": 2},
            "1.0 is read as 1",
        ),
        ({"background": 0, "w": [1, " 2"], "c": 2}, [1, 2], REGIONS, "' 2' is read as 2"),
        (REGIONS, [1, "2"], REGIONS, "'2' is read as 2"),
    ],
)
def test_whole_numbers_that_are_written_otherwise_are_read_with_a_warning(entries, order, plain, odd):
    found = Labels.from_json(entries, order, where="d.json")
    usual = Labels.from_json(plain, order and [1, 2], where="d.json")
    assert (found, repr(found), found.as_json) == (usual, repr(usual), usual.as_json)
    assert found.warnings == (f"d.json: the label value {odd}; write it so",)
    assert usual.warnings == ()


def test_a_region_written_as_a_value_outside_it():
    entries = {"whole": [1, 2], "core": 2}
    assert labels({"a": [1], "b": 2}, [1]).warnings == labels(entries, [1, 2]).warnings == ()
    assert labels(entries, [2, 1]).warnings == (
        "region 'core' unites [2], but 'regions_class_order' writes it as 1",
    )
