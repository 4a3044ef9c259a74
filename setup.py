"""Puts the workflow's files into a built package, beside the code; all else is in pyproject.toml (decision 0021)."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

FOLDERS = ("workflow", "config", "profiles")
#: The recipes are in the package already; `bin` runs a checkout's code.
LEFT_OUT = shutil.ignore_patterns("recipes", "bin", "__pycache__")


class BuildWithWorkflow(build_py):
    """Builds a package that can do all that a checkout can."""

    def run(self) -> None:
        """Copy the workflow as well, unless the package only refers to the checkout."""
        super().run()
        if self.editable_mode:
            return
        pipeline = Path(self.build_lib, "segflow", "pipeline")
        shutil.rmtree(pipeline, ignore_errors=True)
        for folder in FOLDERS:
            shutil.copytree(folder, pipeline / folder, ignore=LEFT_OUT)
        shutil.copytree("envs", pipeline / "envs")
        shutil.copy("Snakefile", pipeline)


setup(cmdclass={"build_py": BuildWithWorkflow})
