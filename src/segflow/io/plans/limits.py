"""Values of plans.json that segflow has one choice for."""

from __future__ import annotations

import json
from typing import Any

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

__all__ = ["only"]


def only(*allowed: Any) -> AfterValidator:
    """Let a field have nothing but certain values; the message lists them. Source: ours."""
    listed = " or ".join(json.dumps(value) for value in allowed)

    def check(value: Any) -> Any:
        if value not in allowed:
            raise PydanticCustomError("unsupported", "segflow has {listed} only", {"listed": listed})
        return value

    return AfterValidator(check)
