"""A model package as ONNX files, each with what a program needs to know besides to predict with it (decision 0024)."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from segflow.contracts.errors import ConfigurationError, PredictionError
from segflow.contracts.plan import FoldName
from segflow.images.dataset import read_description
from segflow.prediction.mirroring import mirrorings
from segflow.prediction.predictor import Predictor
from segflow.prediction.sliding_window import FoldEnsemble
from segflow.storage.files import open_atomically

__all__ = ["TOLERANCE", "export_onnx"]

#: Largest difference from torch in float64 that is accepted, for scores up to 10; above, it grows with them.
TOLERANCE: Final = 1e-4
_OPSET = 20
_INPUT = "image"


class _Mean(nn.Module):
    """The mean output of the networks of some folds, as the recipe wants it."""

    def __init__(self, ensemble: FoldEnsemble, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.averages_logits = ensemble.recipe.average == "logits"
        self.has_regions = ensemble.labels.has_regions

    def forward(self, image: Tensor) -> Tensor:
        """Scores (b, k, *patch) of patches (b, c, *patch)."""
        outputs = [network(image) for network in self.networks]
        if not self.averages_logits:
            outputs = [torch.sigmoid(one) if self.has_regions else one.softmax(dim=1) for one in outputs]
        return outputs[0] if len(outputs) == 1 else torch.stack(outputs).mean(dim=0)


def export_onnx(
    package: Path, output: Path, *, folds: Sequence[FoldName] | None = None, per_fold: bool = False
) -> tuple[Path, ...]:
    """Write every configuration of a package as ONNX, and compare it with torch in onnxruntime.

    Args:
        package: Folder of the package.
        output: Folder for CONFIGURATION.onnx, the mean of the folds, or for CONFIGURATION_fold_K.onnx.
        folds: Of the package (default: all).
        per_fold: A file for every fold.

    Returns:
        The files. Their input `image` is (b, c, *patch), float32, of a prepared image, b as you like; their output
        `scores` is (b, k, *patch). The entry `segflow` of their metadata is JSON: patch, tiles and mirroring, how an
        image is prepared and scores are brought back, channels, labels, post-processing, and stages of a cascade.

    Raises:
        ConfigurationError: The extra onnx is not installed.
        PredictionError: The package cannot be used, or a file's scores differ from torch's.
    """
    try:
        import onnxruntime  # noqa: F401, PLC0415  an extra
        import onnxscript  # noqa: F401, PLC0415
    except ModuleNotFoundError as problem:
        raise ConfigurationError(
            f"ONNX files need the package {problem.name}: pip install 'segflow[onnx]'"
        ) from None
    predictor = Predictor.from_folder(package, folds=folds, device="cpu")
    description, _ = read_description(package / "dataset.json")
    channels = list(description["channel_names"].values())
    files = []
    for name, ensemble in predictor.ensembles.items():
        for ending, numbers in _parts(ensemble, per_fold=per_fold):
            networks = [_module(ensemble.networks[number]) for number in numbers]
            used = [ensemble.cards[number].fold for number in numbers]
            about = {"channels": channels, **_about(predictor, name), "folds": used}
            files.append(output / f"{name}{ending}.onnx")
            _write(files[-1], _Mean(ensemble, networks).eval(), ensemble, about)
    return tuple(files)


def _parts(ensemble: FoldEnsemble, *, per_fold: bool) -> Iterator[tuple[str, list[int]]]:
    numbers = range(len(ensemble.networks))
    if not per_fold:
        yield "", list(numbers)
        return
    for number in numbers:
        yield f"_fold_{ensemble.cards[number].fold}", [number]


def _module(network: object) -> nn.Module:
    if not isinstance(network, nn.Module):
        raise TypeError(f"{network!r} is no module")
    return network


def _about(predictor: Predictor, name: str) -> dict[str, Any]:
    """What a program must know that predicts with a configuration; plain JSON."""
    recipe, labels = predictor.recipe, predictor.labels
    configuration, card = predictor.ensembles[name].configuration, predictor.card
    return {
        "dataset": card.dataset,
        "configuration": name,
        "previous_stage": configuration.previous_stage,
        "averaged_configurations": list(card.configurations),
        "patch": list(configuration.patch_shape),
        "step": recipe.step,
        "gaussian_sigma": recipe.gaussian_sigma,
        "mirrorings": mirrorings(configuration.dimensions, mirroring=recipe.mirroring),
        "scores": recipe.average,
        **labels.as_json,
        "preparation": predictor.plan.preparation(name).model_dump(),
        "postprocessing": [one.model_dump() for one in card.postprocessing.operations],
    }


def _write(file: Path, network: nn.Module, ensemble: FoldEnsemble, about: dict[str, Any]) -> None:
    card = ensemble.cards[0]
    shape = (card.input_channels, *ensemble.configuration.patch_shape)
    images = torch.randn((3, *shape), generator=torch.Generator().manual_seed(0))
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses torchvision, which no network needs
    with warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(io.StringIO()):
        program = torch.onnx.export(
            network,
            (images[:2],),
            dynamo=True,
            opset_version=_OPSET,
            input_names=[_INPUT],
            output_names=["scores"],
            dynamic_shapes={_INPUT: {0: torch.export.Dim("batch")}},
        )
    if program is None:
        raise RuntimeError("torch has made no ONNX program")
    for node in program.model.graph:
        node.metadata_props.clear()  # lines of code, with folders of this machine
    program.model.metadata_props["segflow"] = json.dumps(about)
    with open_atomically(file) as temporary:
        program.save(temporary, external_data=False)
        _check(temporary, network, images, file)


def _check(written: Path, network: nn.Module, images: Tensor, file: Path) -> None:
    """Compare batches of one and of several patches with torch in float64; in float32 torch rounds more."""
    import onnxruntime  # noqa: PLC0415  as above

    session = onnxruntime.InferenceSession(str(written), providers=["CPUExecutionProvider"])
    exact = copy.deepcopy(network).double()
    with torch.inference_mode():
        expected = np.concatenate([exact(image[None].double()).numpy() for image in images])
    for n in (1, len(images)):
        (found,) = session.run(None, {_INPUT: images[:n].numpy()})
        difference = float(np.abs(found - expected[:n]).max())
        if not difference <= TOLERANCE * max(1.0, float(np.abs(expected).max()) / 10):
            raise PredictionError(
                f"{file}: its scores differ from torch's by {difference:.1e}; try other versions of torch and "
                "onnxruntime"
            )
