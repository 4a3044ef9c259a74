"""docs/reference/errors.md and the errors of the source say the same."""

from __future__ import annotations

import ast

import pytest
from error_page import PAGE, _messages, page


def test_the_page_has_every_error_and_no_other():
    assert PAGE.read_text(encoding="utf-8") == page(), "call `make format`"


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ('raise DatasetError(f"{file} holds {n} voxels; crop it")', ["… holds … voxels; crop it"]),
        ('raise error("no " "such file") from None', ["no such file"]),
        ('raise PlanError("too small" if a else f"{b} large")', ["too small", "… large"]),
        ("raise DatasetError(str(problem))", []),
        ('raise KeyError("a bug")', []),
        ('def _faults(self):\n    yield f"{x} is twice there"', ["… is twice there"]),
    ],
)
def test_the_message_of_an_error(code, found):
    assert list(_messages(ast.parse(code), "training.job")) == found
    assert not list(_messages(ast.parse('raise ValueError("of an array")'), "volumes.crop"))
    assert list(_messages(ast.parse('raise ValueError("of a key")'), "recipes.planner")) == ["of a key"]
