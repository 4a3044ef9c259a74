"""What forks of a process share: segflow as it is in this checkout, with the digests of its code.

A test may use another copy, which it has edited: `use` then lets go of this one.
"""

from __future__ import annotations

import sys
from pathlib import Path

import segflow
from segflow.workflow.code import digest_of_code

_SOURCE = Path(segflow.__file__).parents[1]

for _file in _SOURCE.rglob("*.py"):
    digest_of_code(_file)  # which remembers it


def use(source: str) -> None:
    """Let segflow be imported from a folder of source files."""
    sys.path.insert(0, source)
    if Path(source) != _SOURCE:
        for name in [name for name in sys.modules if name.partition(".")[0] == "segflow"]:
            del sys.modules[name]
