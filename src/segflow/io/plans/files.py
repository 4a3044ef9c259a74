"""plans.json as a file. Source: method.md section 6.9."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segflow.contracts.errors import PlanError
from segflow.contracts.names import CONFIGURATION_NAMES
from segflow.contracts.plan import Plan
from segflow.io.files import read_json, write_json
from segflow.io.plans.peer import plan_from_json
from segflow.io.plans.written import plan_to_json

__all__ = ["custom_configurations", "read_plan", "write_plan"]


def write_plan(path: Path, plan: Plan, *, custom: dict[str, Any] | None = None) -> Plan:
    """Write plans.json in the peer's format.

    Args:
        path: The file.
        plan: The plan.
        custom: Further configurations as the file holds them; see `custom_configurations`.

    Returns:
        The plan as it stands in the file.

    Raises:
        PlanError: A custom configuration cannot be understood; nothing is written.

    Source: method.md section 6.9.
    """
    data = plan_to_json(plan)
    data["configurations"] |= custom or {}
    written = plan_from_json(data, where=str(path))
    write_json(path, data)
    return written


def read_plan(path: Path) -> Plan:
    """Read plans.json, ours or the peer's.

    Raises:
        PlanError: The file is missing or cannot be understood.

    Source: method.md section 6.9.
    """
    return plan_from_json(read_json(path, error=PlanError), where=str(path))


def custom_configurations(path: Path) -> dict[str, Any]:
    """Configurations that somebody has added to a plans.json, as they stand there: what they inherit may change.

    Args:
        path: The file, which need not exist.

    Returns:
        Those of names that the planner never gives, in the order of the file.

    Raises:
        PlanError: There is a file, but it is no plan.

    Source: method.md section 6.9.
    """
    if not path.exists():
        return {}
    data = read_json(path, error=PlanError)
    found = data.get("configurations") if isinstance(data, dict) else None
    if not isinstance(found, dict):
        raise PlanError(f"{path} exists and is not a plan; remove it, or name another output")
    return {name: entry for name, entry in found.items() if name not in CONFIGURATION_NAMES}
