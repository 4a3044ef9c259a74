"""The site of these pages, built by Sphinx (`make docs`, decision 0022)."""

import re
import sys
from pathlib import Path
from typing import Annotated, get_origin

from pydantic import BaseModel
from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent))

import reference_pages

from segflow import __version__

project = "segflow"
author = copyright = "segflow developers"  # noqa: A001  Sphinx's name
version = release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["decisions/template.md"]
html_theme = "furo"
html_title = f"segflow {__version__}"
highlight_language = "text"
default_role = "code"
myst_heading_anchors = 4
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_use_ivar = True


def _plain(_app, _what, _name, _object, _options, lines: list[str]) -> None:
    """Docstrings are plain text, in which * and _ mark nothing; what is between backticks is code."""
    for place, line in enumerate(lines):
        parts = re.split(r"(`[^`]*`)", line)
        parts[::2] = [re.sub(r"(?<!^)(?<!^ )[*|]|_(?=\W|$)", r"\\\g<0>", part) for part in parts[::2]]
        lines[place] = "".join(parts)


def _skip(_app, _what, name: str, value: object, _skips, _options) -> bool | None:
    """Settings of pydantic, and types with conditions, which autodoc would take for markup."""
    return True if name == "model_config" or get_origin(value) is Annotated else None


def _short(_app, _what, _name, value: object, _options, _signature, _result) -> tuple[str, None] | None:
    """Without a model's signature, which repeats its attributes with all their conditions."""
    return ("", None) if isinstance(value, type) and issubclass(value, BaseModel) else None


def setup(app: Sphinx) -> None:
    """Write the pages that are made from the code before they are read."""
    app.connect(
        "builder-inited", lambda app: reference_pages.write(Path(app.srcdir, "reference", "generated"))
    )
    app.connect("autodoc-process-docstring", _plain, priority=100)
    app.connect("autodoc-skip-member", _skip)
    app.connect("autodoc-process-signature", _short)
