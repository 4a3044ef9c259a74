"""A plan in parts: two files per configuration, one for its network and one for the preparation of its cases.

A stage reads only the part it needs, so it need not run again when something else in the plan changes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from segflow.contracts.codec import Contract
from segflow.contracts.errors import PlanError
from segflow.contracts.plan import CONFIGURATION_NAMES, Configuration, Plan, Preparation, in_order
from segflow.storage.files import read_json, write_text

__all__ = ["read_configuration", "read_preparation", "write_parts"]

C = TypeVar("C", bound=Contract)


def write_parts(folder: Path, plan: Plan) -> None:
    """Write network/CONFIGURATION.json and preparation/CONFIGURATION.json.

    There are files for every configuration that the planner may make, so that the workflow knows their names in
    advance; they hold null if the plan does not have the configuration.
    """
    for name in in_order([*CONFIGURATION_NAMES, *plan.configurations]):
        found = name in plan.configurations
        network = plan.configuration(name).to_json() if found else "null\n"
        preparation = plan.preparation(name).to_json() if found else "null\n"
        write_text(folder / "network" / f"{name}.json", network)
        write_text(folder / "preparation" / f"{name}.json", preparation)


def read_configuration(path: Path) -> Configuration:
    """Read network/CONFIGURATION.json; PlanError if it is missing, broken or null."""
    return _read(Configuration, path)


def read_preparation(path: Path) -> Preparation:
    """Read preparation/CONFIGURATION.json; PlanError if it is missing, broken or null."""
    return _read(Preparation, path)


def _read(kind: type[C], path: Path) -> C:
    data = read_json(path, error=PlanError)
    if data is None:
        raise PlanError(f"{path}: the plan has no configuration {path.stem} for this data set")
    return kind.parse(data, where=str(path), error=PlanError)
