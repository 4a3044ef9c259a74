"""Targets that are text: descriptions of data sets, folds, configurations, recipes, plans, command lines."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch  # noqa: F401  before the time of an input begins
import yaml
from cyclopts import CycloptsError

from segflow.commands.main import application
from segflow.contracts.errors import ConfigurationError
from segflow.contracts.folds import check_folds, held_out_twice
from segflow.images.dataset import list_files, read_dataset
from segflow.nnunet.folds import read_folds
from segflow.nnunet.plans import plan_to_json, read_plan
from segflow.recipes.recipe import SECTIONS, Recipe, find_recipe
from segflow.recipes.settings import parse_settings, settings_of
from segflow.workflow.config import WorkflowConfig
from segflow.workflow.recipes import read_plans, read_recipes


def description(file: Path) -> object:
    """Of five cases, with the folders that it is about."""
    for name in "abcde":
        for image in (f"imagesTr/{name}_0000.nii.gz", f"labelsTr/{name}.nii.gz"):
            path = file.parent / image
            path.parent.mkdir(exist_ok=True)
            path.touch()
    list_files(file.parent)
    found = read_dataset(file.parent)
    return found.labels.warnings, found.labels.target_names, found.labels.as_json


def folds(file: Path) -> object:
    """Of the same cases."""
    found = read_folds(file)
    check_folds(found, "abcde", where=str(file))
    return held_out_twice(dict(enumerate(found)))


def configuration(file: Path) -> object:
    """As the workflow reads it, when Snakemake has."""
    try:
        data: Any = yaml.safe_load(file.read_bytes())
        json.dumps(data)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError, OverflowError):
        raise ConfigurationError("no configuration for Snakemake") from None
    os.chdir(file.parent)
    config = WorkflowConfig.parse(data, where="configuration", error=ConfigurationError)
    return read_plans(config, read_recipes(config))


def recipe(file: Path) -> object:
    """With what the rules make of it."""
    found = find_recipe(str(file))
    return [settings_of(section, getattr(found, section)) for section in SECTIONS]


def plan(file: Path) -> object:
    """As read, and as it is written again."""
    found = read_plan(file)
    return json.dumps(plan_to_json(found)), [found.preparation(name) for name in found.configurations]


def command(file: Path) -> object:
    """One word a line, with files to name; no verb is run. Words that are settings are read."""
    os.chdir(file.parent)
    for name in ("f", "m/model.json", "d/dataset.json"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    words = file.read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    for section in SECTIONS:
        kind: Any = Recipe.model_fields[section].annotation
        parse_settings(kind, section, [word for word in words if "=" in word and word[:1] != "-"])
    try:
        return application(words).parse_args(words, exit_on_error=False, print_error=False)
    except CycloptsError as problem:
        raise ConfigurationError(" ".join(str(problem).split())) from None
