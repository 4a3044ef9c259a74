"""The map of packages is the same on disk and in the documentation."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from segflow.commands.main import COMMANDS


def test_the_documentation_matches_the_folders(repository):
    folders = sorted(file.parent.name for file in (repository / "src" / "segflow").glob("*/__init__.py"))
    text = (repository / "docs" / "architecture.md").read_text()
    section = text.split("## Packages", 1)[1].split("\n## ", 1)[0]
    assert sorted(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == folders
    for name in folders:
        first = (repository / "src" / "segflow" / name / "__init__.py").read_text().lstrip()
        assert first.startswith('"""'), f"segflow.{name} has no docstring"


def test_the_documentation_lists_every_command(repository):
    text = (repository / "docs" / "architecture.md").read_text()
    section = text.split("## Stages", 1)[1].split("\n## ", 1)[0]
    assert sorted(re.findall(r"^\| `([\w-]+)` \|", section, re.MULTILINE)) == sorted(COMMANDS)


def test_import_contracts_are_kept(repository):
    lint_imports = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run(
        [lint_imports, "--no-cache"], cwd=repository, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
