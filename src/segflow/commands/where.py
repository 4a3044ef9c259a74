"""`segflow where`: where the workflow's own files are."""

from __future__ import annotations

from typing import Literal

from segflow.commands.console import answers
from segflow.workflow.location import location


def where(part: Literal["workflow", "config", "recipes", "profile", "slurm"] = "workflow") -> None:
    """Say where a part of the workflow is, as for `snakemake -s "$(segflow where workflow)"`.

    Args:
        part: The Snakefile (workflow), the configuration with all keys (config), the recipes, the profile for a
            workstation, or the one for SLURM, to be copied.
    """
    answers.print(str(location(part)), soft_wrap=True)
