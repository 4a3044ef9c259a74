"""The workflow's configuration file, key by key. What is left out comes from the plan or the recipe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from segflow.contracts.assessment import EvaluationConfig
from segflow.contracts.codec import Amount, Contract, Count, PathText
from segflow.contracts.plan import ConfigurationName
from segflow.recipes.recipe import SECTIONS, Recipe

__all__ = ["WorkflowConfig", "without_braces"]


def without_braces(path: str) -> str:
    """A path or name that Snakemake, for which braces hold wildcards, takes as it is.

    Raises:
        ValueError: It holds a brace.
    """
    if set("{}") & set(path):
        raise ValueError(f"{path} has a brace in it, which Snakemake takes for a wildcard; rename it")
    return path


PlainPath = Annotated[PathText, AfterValidator(without_braces)]

#: Names in the folder of the results that no data set's results can have.
_OURS = {"comparison", "comparison.csv", "logs", "benchmarks", "records", "records.new"}
#: Null, as of a section whose lines are all commented out, changes nothing.
Changes = dict[str, Any] | None


class ChunksConfig(Contract):
    """How per-case work is cut into jobs."""

    cases: Count | None = None
    most: Count = 32


class ResourcesConfig(Contract):
    """What a training or prediction job asks for; nothing here changes a result, except for rounding."""

    gpus: Count = 1
    threads: Count | None = None
    workers: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    augment: Literal["workers", "device"] = "workers"
    checkpoint_minutes: Amount = 10
    deterministic: bool = False
    compile: Literal["auto"] | bool = "auto"
    trackers: tuple[Literal["tensorboard", "mlflow", "wandb"], ...] = ()
    mem_mb: Count = 8000
    runtime_min: Count = 2880


class ReportConfig(Contract):
    """What the report shows."""

    overlays: Annotated[int, Field(ge=0, lt=2**31)] = 5


#: Of all sections.
_SECTION_KEYS = {
    "resources": set(ResourcesConfig.model_fields),
    "chunks": set(ChunksConfig.model_fields),
    "report": set(ReportConfig.model_fields),
    "evaluation": set(EvaluationConfig.model_fields),
    **{name: set(values) for name, values in Recipe(name="").model_dump(include=set(SECTIONS)).items()},
}


class WorkflowConfig(Contract):
    """The whole file; config/config.yaml comments every key.

    `planning` to `postprocessing` change values of the recipe; they are checked with it, by `segflow.workflow.recipes`.
    """

    dataset: PlainPath | None = None
    datasets: tuple[PlainPath, ...] | None = None
    output: PlainPath
    recipe: PlainPath | None = None
    recipes: tuple[PlainPath, ...] | None = None
    plan: PlainPath | None = None
    configurations: Literal["auto"] | Annotated[tuple[ConfigurationName, ...], Field(min_length=1)] = "auto"
    folds: Literal["all"] | Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] | None = (
        None
    )
    patients: PathText | None = None
    ensembles: bool = True
    device: Literal["auto", "cpu", "cuda"] = "auto"
    forecast: bool = True
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    planning: Changes = None
    training: Changes = None
    augmentation: Changes = None
    inference: Changes = None
    selection: Changes = None
    postprocessing: Changes = None
    chunks: ChunksConfig = ChunksConfig()
    resources: ResourcesConfig = ResourcesConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    report: ReportConfig = ReportConfig()

    @field_validator("chunks", "resources", "evaluation", "report", mode="before")
    @classmethod
    def _null_changes_nothing(cls, given: Any) -> Any:
        return {} if given is None else given

    @model_validator(mode="before")
    @classmethod
    def _keys_are_in_their_sections(cls, given: Any) -> Any:
        """Name the section of a key that stands outside it, as `epochs` instead of `training.epochs`."""
        for key in set(given if isinstance(given, Mapping) else ()) - set(cls.model_fields):
            if sections := [name for name, keys in _SECTION_KEYS.items() if key in keys]:
                raise ValueError(f"unknown key '{key}': did you mean '{sections[0]}.{key}'?")
        folds = given.get("folds") if isinstance(given, Mapping) else None
        if (
            isinstance(folds, str | list | tuple)
            and folds != "all"
            and any(type(k) is not int for k in folds)
        ):
            raise ValueError(
                "folds: name some, counted from 0, as in [0, 1, 2, 3, 4], or all, which trains one network on every "
                f"case and scores none (found {folds!r})"
            )
        return given

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if not self.dataset_folders:
            raise ValueError(
                "name a data set: dataset: FOLDER, or datasets: [FOLDER, ...], in a file for --configfile, or "
                "--config dataset=FOLDER"
            )
        names = [Path(folder).name for folder in self.dataset_folders]
        if not all(names) or ".." in names:
            raise ValueError("a data set needs a folder with a name, as it is the name of its results")
        if taken := _OURS & set(names):
            raise ValueError(
                f"a data set's folder cannot be called '{min(taken)}', as its results would be; rename it"
            )
        if len(set(names)) != len(names):
            raise ValueError(
                "two data sets have the same folder name, which names their results; rename one of the folders"
            )
        for key in ("folds", "configurations"):
            given = getattr(self, key)
            if not isinstance(given, str | None) and len(set(given)) != len(given):
                raise ValueError(f"{key} names one of its entries twice")
        return self

    @model_validator(mode="after")
    def _results_lie_elsewhere(self) -> Self:
        for folder in self.dataset_folders:
            if Path(self.output, Path(folder).name).resolve() == Path(folder).resolve():
                raise ValueError(
                    f"the results of {Path(folder).name} would be written into the data set itself, {folder}; name "
                    "another output"
                )
        return self

    @model_validator(mode="after")
    def _plan_is_the_only_one(self) -> Self:
        """An edited plan is that of one data set, and leaves nothing to be planned."""
        if self.plan is not None and len(self.dataset_folders) > 1:
            raise ValueError("'plan': an edited plan is that of one data set; name one 'dataset'")
        if self.plan is not None and any(value is not None for value in (self.planning or {}).values()):
            raise ValueError(
                "'plan': an edited plan is taken as it is; leave out 'planning', or edit the plan"
            )
        return self

    @property
    def dataset_folders(self) -> tuple[str, ...]:
        """Folders of all data sets; `datasets` replaces `dataset`."""
        return self.datasets or (() if self.dataset is None else (self.dataset,))

    @property
    def recipe_names(self) -> tuple[str, ...]:
        """Names or files of all recipes; `recipes` replaces `recipe`."""
        return self.recipes or (self.recipe or "nnunet",)
