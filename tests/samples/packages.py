"""A small model package, made as the workflow makes it but for the choice of the model."""

from __future__ import annotations

from pathlib import Path

from report_samples import candidate, postprocessing_of
from stage_calls import call, prepare, train_words

from segflow.contracts.plan import FoldName
from segflow.contracts.scores import Selection

__all__ = ["package_of"]

SHORT = ("training.iterations=10", "training.epochs=1", 'training.batch_size={"2d":2,"3d_fullres":2}')


def package_of(folder: Path, *configurations: str, folds: tuple[FoldName, ...] = (0,)) -> Path:
    """Five phantom cases, unless `folder/data` holds others, and a package of networks trained for a moment.

    It is `folder/model`.
    """
    data = folder / "data"
    if not data.exists():
        call("phantom", data, "--cases", 5)
    call("fingerprint", data, "--output", folder / "dataset_fingerprint.json", "--workers", 1)
    call("folds", data, "--output", folder / "folds.json")
    description = data / "dataset.json"
    call(
        "plan", "--dataset", description, "--fingerprint", folder / "dataset_fingerprint.json",
        "--output", folder / "plans.json", "--parts", folder,
    )  # fmt: skip
    for name in configurations:
        prepare(folder, name, check=False)
        for fold in folds:
            call(*train_words(folder, f"models/{name}/fold_{fold}", *SHORT, of=name, fold=fold))
    _choose(folder, configurations)
    call(
        "package", "--dataset", description, "--fingerprint", folder / "dataset_fingerprint.json",
        "--plan", folder / "plans.json", "--selection", folder / "selection.json",
        "--postprocessing", folder / "postprocessing.json", "--models", folder / "models", "--folds", *folds,
        "--output", folder / "model" / "model.json", "--recipe", "nnunet",
        "--settings", "inference.mirroring=false",
    )  # fmt: skip
    return folder / "model"


def _choose(folder: Path, configurations: tuple[str, ...]) -> None:
    best = candidate("+".join(configurations), 0.5)
    (folder / "selection.json").write_text(Selection(best=best, candidates=(best,)).to_json())
    (folder / "postprocessing.json").write_text(postprocessing_of().to_json())
