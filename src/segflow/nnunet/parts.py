"""What the stages read of a plan, a file per stage and configuration.

A stage that depends on its part alone need not run again when another part of the plan changes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from segflow.contracts.codec import Contract
from segflow.contracts.errors import PlanError
from segflow.contracts.plan import CONFIGURATION_NAMES, Configuration, Plan, Preparation, in_order
from segflow.storage.files import read_contract, write_text

__all__ = ["read_configuration", "read_preparation", "write_parts"]

T = TypeVar("T")


class _Network(Contract):
    configuration: Configuration | None


class _Preparation(Contract):
    preparation: Preparation | None


def write_parts(folder: Path, plan: Plan) -> None:
    """Write the parts of a plan.

    There is always a file for every configuration that the planner may make, so that the workflow knows their names
    beforehand.

    Args:
        folder: Gets network/CONFIGURATION.json and preparation/CONFIGURATION.json.
        plan: The plan.
    """
    for name in in_order([*CONFIGURATION_NAMES, *plan.configurations]):
        configuration = plan.configurations.get(name)
        text = _Network(configuration=configuration).to_json()
        write_text(folder / "network" / f"{name}.json", text)
        found = None if configuration is None else plan.preparation(name)
        write_text(folder / "preparation" / f"{name}.json", _Preparation(preparation=found).to_json())


def read_configuration(path: Path) -> Configuration:
    """Read network/CONFIGURATION.json.

    Raises:
        PlanError: The file is missing, cannot be understood, or the plan has no such configuration.
    """
    return _present(read_contract(_Network, path).configuration, path)


def read_preparation(path: Path) -> Preparation:
    """Read preparation/CONFIGURATION.json.

    Raises:
        PlanError: The file is missing, cannot be understood, or the plan has no such configuration.
    """
    return _present(read_contract(_Preparation, path).preparation, path)


def _present(found: T | None, path: Path) -> T:
    if found is None:
        raise PlanError(f"{path}: the plan has no configuration {path.stem} for this data set")
    return found
