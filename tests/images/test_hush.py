"""What libraries print does not reach the screen."""

from __future__ import annotations

import os

import pytest

from segflow.images.itk import captured_stderr as hushed


def test_lines_become_values(capfd):
    with hushed() as said:
        os.write(2, b"  one\n\n\x1b[2Ka progress bar\ntwo\n")
        assert said == []
    os.write(2, b"after")
    assert said == ["one", "two"]
    assert capfd.readouterr().err == "after"


def test_the_screen_comes_back_after_an_error(capfd):
    def fail():
        with hushed():
            os.write(2, b"hidden")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"
