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
ENVIRONMENTS = sorted((REPOSITORY / "envs").glob("*.yaml"))


def test_every_line_is_a_plain_pin():
    lines = [line for line in _constraints().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.\-]+==[\w.]+", line) for line in lines)
    assert lines == sorted(lines, key=str.casefold)
    assert "+" not in _pins()["torch"]  # every build of torch


def test_pins_satisfy_pyproject():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    requirements = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    pins = _pins()
    for requirement in map(Requirement, requirements):
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement


@pytest.mark.parametrize("file", ENVIRONMENTS, ids=lambda file: file.name)
def test_conda_environments_repeat_the_pins_of_all_dependencies(file):
    environment = yaml.safe_load(file.read_text())
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    flat = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    pip = [entry for part in environment["dependencies"] if isinstance(part, dict) for entry in part["pip"]]
    pins = {"python": "3.11", **_pins()}
    for entry in (*flat, *pip):
        name, version = re.fullmatch(r"([\w.\-]+)={1,2}([\w.]+)(?:=\S+)?", entry).groups()
        known_as = {"pytorch": "torch"}.get(name, canonicalize_name(name))
        assert pins[known_as] == version, entry
    text = file.read_text().replace("pytorch", "torch").casefold()
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    for requirement in map(Requirement, project["project"]["dependencies"]):
        assert re.search(rf"- {re.escape(requirement.name.casefold())}=", text), requirement.name


def _constraints() -> str:
    return (REPOSITORY / "constraints.txt").read_text()


def _pins() -> dict[str, str]:
    lines = [line for line in _constraints().splitlines() if not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}
