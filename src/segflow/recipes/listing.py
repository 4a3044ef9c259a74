"""Generates presets/nnunet.yaml, which lists every value of a recipe with its meaning; run by `make format`."""

from __future__ import annotations

import inspect
import re
import textwrap

import yaml

from segflow.recipes.recipe import SECTIONS, Recipe

__all__ = ["default_listing"]

_HEADER = """All values of a recipe, at their defaults: those of nnU-Net's default preset. Generated from the models in
segflow/recipes; nothing reads this file. A recipe of your own needs only the values that differ. Sources are sections
of docs/reference/method.md. null: the method's rule decides."""
_FIELD = re.compile(r"^ {4}(\w+)[\w, ]*: (.+(?:\n {8}.+)*)", re.MULTILINE)


def default_listing() -> str:
    """The text of presets/nnunet.yaml; descriptions are those of the docstrings."""
    text = _comment(_HEADER)
    for section, values in Recipe(name="nnunet").model_dump(mode="json", include=set(SECTIONS)).items():
        documentation = inspect.getdoc(Recipe.model_fields[section].annotation) or ""
        introduction, _, attributes = documentation.partition("Attributes:")
        described = dict(_FIELD.findall(attributes))
        text += f"\n{_comment(introduction)}{section}:\n"
        for name, value in values.items():
            plain = yaml.safe_dump(value, default_flow_style=True).splitlines()[0]
            text += f"{_comment(described.get(name, ''), '  ')}  {name}: {plain}\n"
    return text


def _comment(text: str, indent: str = "") -> str:
    return "".join(f"{indent}# {line}\n" for line in textwrap.wrap(" ".join(text.split()), 112))
