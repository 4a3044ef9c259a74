"""The workflow's configuration file, key by key. What is left out comes from the plan or the recipe."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from segflow.contracts.codec import Contract

__all__ = ["CONFIGURATION_NAMES", "ConfigurationName", "WorkflowConfig"]

ConfigurationName = Literal["2d", "3d_lowres", "3d_fullres", "3d_cascade_fullres"]

#: Simpler first: ties in model selection go to the first.
CONFIGURATION_NAMES: tuple[ConfigurationName, ...] = ("2d", "3d_fullres", "3d_lowres", "3d_cascade_fullres")

Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, le=1)]


class PlanningConfig(Contract):
    """What to change in the rule-based parameters."""

    gpu_memory_gb: Annotated[float, Field(gt=0)] | None = None
    spacing_mm: tuple[float, float, float] | None = None


class TrainingConfig(Contract):
    """The training budget."""

    epochs: Positive | None = None
    iterations: Positive | None = None
    validation_iterations: Positive | None = None
    base_width: Positive | None = None
    batch_size: dict[ConfigurationName, Positive] = Field(default_factory=dict)
    workers: Annotated[int, Field(ge=0)] | None = None


class InferenceConfig(Contract):
    """How trained networks are applied."""

    step: Share | None = None
    mirroring: bool | None = None


class ChunksConfig(Contract):
    """Cases per job."""

    preprocess: Positive = 32


class ResourcesConfig(Contract):
    """What a training or prediction job asks of a cluster."""

    threads: Positive | None = None
    mem_mb: Positive = 8000
    runtime_min: Positive = 2880


class ReportConfig(Contract):
    """What the report shows."""

    overlays: Annotated[int, Field(ge=0)] = 3


class WorkflowConfig(Contract):
    """The whole file; config/config.yaml comments every key."""

    dataset: str
    output: str
    recipe: str = "nnunet"
    configurations: Literal["auto"] | tuple[ConfigurationName, ...] = "auto"
    folds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (0, 1, 2, 3, 4)
    ensembles: bool = True
    device: Literal["auto", "cpu", "cuda"] = "auto"
    seed: Annotated[int, Field(ge=0)] = 0
    planning: PlanningConfig = PlanningConfig()
    training: TrainingConfig = TrainingConfig()
    inference: InferenceConfig = InferenceConfig()
    chunks: ChunksConfig = ChunksConfig()
    resources: ResourcesConfig = ResourcesConfig()
    report: ReportConfig = ReportConfig()
