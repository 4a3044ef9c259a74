"""The locked versions satisfy the project's requirements, and agree everywhere they are repeated."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
LINES = [li for li in (REPOSITORY / "constraints.txt").read_text().splitlines() if not li.startswith("#")]
PINS = {canonicalize_name(name): version for name, version in (line.split("==") for line in LINES)}


def test_every_line_is_a_plain_pin():
    assert all(re.fullmatch(r"[\w.\-]+==[\w.]+", line) for line in LINES)
    assert sorted(LINES, key=str.casefold) == LINES
    assert "+" not in PINS["torch"]  # every build of torch


def test_pins_satisfy_pyproject():
    requirements = sum(PROJECT["dependency-groups"].values(), PROJECT["project"]["dependencies"])
    for requirement in map(Requirement, requirements):
        assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)]), requirement


@pytest.mark.parametrize("file", sorted((REPOSITORY / "envs").glob("*.yaml")), ids=lambda file: file.name)
def test_conda_environments_repeat_the_pins_of_all_dependencies(file):
    environment = yaml.safe_load(file.read_text())
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    entries = []
    for entry in environment["dependencies"]:
        entries += [entry] if isinstance(entry, str) else entry["pip"]
    pins, listed = {"python": "3.11", **PINS}, set()
    for entry in entries:
        name, version = re.fullmatch(r"([\w.\-]+)={1,2}([\w.]+)(?:=\S+)?", entry).groups()
        listed.add("torch" if name == "pytorch" else canonicalize_name(name))
        assert pins["torch" if name == "pytorch" else canonicalize_name(name)] == version, entry
    assert {canonicalize_name(Requirement(r).name) for r in PROJECT["project"]["dependencies"]} <= listed
