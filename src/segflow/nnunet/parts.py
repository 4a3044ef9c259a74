"""What the stages read of a plan: a file per configuration for its network, and one for the preparation of its cases.

A stage that depends on its own file alone need not run again when something else in the plan changes.
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

    There are files for every configuration that the planner may make, so that the workflow knows their names
    beforehand; they hold null where the plan has none of that name.
    """
    for name in in_order([*CONFIGURATION_NAMES, *plan.configurations]):
        found = name in plan.configurations
        network = plan.configuration(name).to_json() if found else "null\n"
        preparation = plan.preparation(name).to_json() if found else "null\n"
        write_text(folder / "network" / f"{name}.json", network)
        write_text(folder / "preparation" / f"{name}.json", preparation)


def read_configuration(path: Path) -> Configuration:
    """Read network/CONFIGURATION.json.

    Raises:
        PlanError: The file is missing, cannot be understood, or the plan has no such configuration.
    """
    return _read(Configuration, path)


def read_preparation(path: Path) -> Preparation:
    """Read preparation/CONFIGURATION.json.

    Raises:
        PlanError: The file is missing, cannot be understood, or the plan has no such configuration.
    """
    return _read(Preparation, path)


def _read(kind: type[C], path: Path) -> C:
    data = read_json(path, error=PlanError)
    if data is None:
        raise PlanError(f"{path}: the plan has no configuration {path.stem} for this data set")
    return kind.parse(data, where=str(path), error=PlanError)
