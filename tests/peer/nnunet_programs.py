"""Run by nnU-Net's Python: its programs, the options that they have, and the versions that are installed."""

from __future__ import annotations

import io
import re
import sys
from contextlib import redirect_stdout, suppress
from importlib.metadata import entry_points, version


def options(programs):
    """Of each program."""
    found = {}
    for name in programs:
        (program,) = entry_points(group="console_scripts", name=name)
        sys.argv = [name, "--help"]
        with suppress(SystemExit), redirect_stdout(io.StringIO()) as text:
            program.load()()
        found[name] = re.findall(r"(?<![\w-])--?[a-zA-Z]\w*", text.getvalue())
    return found


def versions(packages):
    """Those installed."""
    return {name: version(name) for name in packages}
