"""What README and documentation say about nnU-Net's programs and versions."""

from __future__ import annotations

import re

import pytest
from snippets import PAGES

pytestmark = pytest.mark.peer

CALL = re.compile(r"(nnUNetv2_\w+)([^`\n#|&]*)")
OPTION = re.compile(r"(?:^|(?<=\s))--?[a-zA-Z]\w*")


def test_its_programs_have_the_options_that_pages_name(nnunet, tmp_path):
    calls = [call for page in PAGES.values() for call in CALL.findall(page)]
    known = nnunet.call("nnunet_programs.options", tmp_path, programs=sorted({name for name, _ in calls}))
    assert all(known.values())
    assert not [
        (name, word) for name, words in calls for word in OPTION.findall(words) if word not in known[name]
    ]
    table = re.findall(r"`(--?[a-zA-Z]\w*)", PAGES["docs/how-to/from-nnunet.md"])
    assert table
    assert set(table) <= {option for found in known.values() for option in found}


def test_it_is_installed_as_the_page_says(nnunet, tmp_path):
    pinned = dict(re.findall(r"([\w-]+)==([\d.]+)", PAGES["docs/how-to/compare-with-nnunet.md"]))
    assert "nnunetv2" in pinned
    assert nnunet.call("nnunet_programs.versions", tmp_path, packages=sorted(pinned)) == pinned
