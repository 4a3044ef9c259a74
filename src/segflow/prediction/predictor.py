"""A model package, loaded: label maps of arrays and of cases.

`from segflow.prediction.predictor import Predictor`
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.arrays import LabelMap, Scores, SpacingMm
from segflow.contracts.case import Case, CaseRecord, Geometry, PreparedCase, RawCase
from segflow.contracts.errors import PredictionError
from segflow.contracts.labels import Labels
from segflow.contracts.model import ModelCard, NetworkCard
from segflow.contracts.plan import FoldName, Plan, Preparation
from segflow.images.dataset import read_description
from segflow.images.formats import file_geometry
from segflow.network.device import choose_device
from segflow.nnunet.plans import read_plan
from segflow.prediction.averaging import averaged_label_map
from segflow.prediction.restore import Keep, ScoreStream, label_map, on_network_grid, probability_slabs
from segflow.prediction.sliding_window import FoldEnsemble, load_ensemble
from segflow.preprocessing.prepare import prepare_case, prepare_labels
from segflow.processes.pool import usable_cores
from segflow.recipes.inference import InferenceRecipe, Precision
from segflow.selection.operations import apply
from segflow.storage.files import digest_of, key_of
from segflow.storage.packages import CARD, check_package, read_card, weights_files
from segflow.volumes.crop import uncrop_probabilities

if TYPE_CHECKING:  # arrays need no image library
    from segflow.images.itk import Image

__all__ = ["Effort", "Predictor", "ReadyCase"]

#: Other than the model's own: "fast" is one fold without mirroring, "quality" all folds with tiles closer together.
Effort = Literal["fast", "quality"]
_CLOSE_STEP = 0.25  # of "quality": with half the usual step there are about eight times as many tiles in 3D
_COPIES = 2  # of a prepared image: it is padded to be predicted


@dataclass(frozen=True)
class ReadyCase:
    """A case prepared for every configuration of a package, by name; stages of a cascade come last."""

    prepared: Mapping[str, PreparedCase]

    @property
    def record(self) -> CaseRecord:
        """What undoes the preparation; all configurations crop and transpose a case alike."""
        return next(iter(self.prepared.values())).record


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """A model package, loaded: one or several configurations, the first stage of a cascade, and post-processing.

    Attributes:
        card: model.json.
        plan: For preprocessing.
        labels: Classes or regions.
        channels: Number of an image's channels.
        ending: File name ending of the data set's images.
        recipe: Sliding window and mirroring.
        ensembles: Networks by configuration, stages of a cascade included.
        device: "cpu" or "cuda".
        threads: Threads that resample scores while a network computes.
        digest: Of the files it was read from.
    """

    card: ModelCard
    plan: Plan
    labels: Labels
    channels: int
    ending: str
    recipe: InferenceRecipe
    ensembles: Mapping[str, FoldEnsemble]
    device: str
    threads: int
    digest: str

    @classmethod
    def from_folder(  # noqa: PLR0913  the options of the command
        cls,
        model: Path | str,
        *,
        folds: Sequence[FoldName] | None = None,
        device: str = "auto",
        step: float | None = None,
        mirroring: bool | None = None,
        precision: Precision | None = None,
        effort: Effort | None = None,
        threads: int | None = None,
    ) -> Predictor:
        """Load a model package.

        Args:
            model: The folder with model.json.
            folds: Use only these folds' networks (default: all packed).
            device: "auto" (a GPU if there is one), "cpu" or "cuda".
            step: Tile distance as a share of the patch (default: the model's).
            mirroring: Average over mirrored inputs (default: the model's).
            precision: Of the networks' arithmetic (default: the model's).
            effort: "fast" uses the first fold's networks without mirroring, and "quality" all folds with a step of at
                most 0.25, unless `folds`, `mirroring` and `step` say otherwise.
            threads: Threads that resample scores (default: one per core). Torch's own threads are set with
                `torch.set_num_threads`.

        Raises:
            PredictionError: The folder is no model package, lacks a file or a fold, or `step` is out of range.
            ConfigurationError: There is no such device.

        Source: method.md section 18.
        """
        folder = Path(model)
        card = read_card(folder)
        weights = weights_files(folder, card, folds or (card.folds[:1] if effort == "fast" else None))
        digests = check_package(folder, card, weights)
        description, labels = read_description(folder / "dataset.json")
        plan = read_plan(folder / "plans.json")
        _check_configurations(plan, tuple(weights), folder)
        recipe = _recipe(card, effort, {"step": step, "mirroring": mirroring, "precision": precision})
        chosen = choose_device(device)
        ensembles = {
            name: load_ensemble(files, labels, recipe, device=chosen) for name, files in weights.items()
        }
        for name, files in weights.items():
            _check_cards(ensembles[name].cards, name, files)
        return cls(
            card=card,
            plan=plan,
            labels=labels,
            channels=len(description["channel_names"]),
            ending=str(description["file_ending"]),
            recipe=recipe,
            ensembles=ensembles,
            device=chosen,
            threads=threads or usable_cores(),
            digest=key_of(digest_of(folder / CARD), *digests.values()),
        )

    def predict(self, array: NDArray[Any], spacing_mm: Sequence[float]) -> LabelMap:
        """The label map of an image in memory.

        Args:
            array: Intensities, (c, z, y, x), or (z, y, x) for one channel; of a 2D image (c, y, x), or (y, x) for one
                channel. The length of `spacing_mm` is the number of spatial axes.
            spacing_mm: Millimetres between voxels along the spatial axes, in the array's order: 3 numbers, or 2.

        Returns:
            Label values, unsigned, with the array's spatial axes: (z, y, x), or (y, x). The same as `segflow predict`
            writes for a file with these voxels.

        Raises:
            PredictionError: Number of axes, channels or spacing do not fit, or voxels are NaN or infinite.

        Source: method.md sections 3, 18.
        """
        found = self.predict_case(_raw_array(array, spacing_mm))
        return found if len(spacing_mm) == 3 else found[0]

    def predict_image(self, image: Image) -> Image:
        """The label map of a SimpleITK image, as an image of the same geometry.

        Args:
            image: Of 2 or 3 axes, or with a fourth one for channels, or of vectors.

        Returns:
            Unsigned integers.

        Raises:
            PredictionError: The number of channels does not fit, or voxels are NaN or infinite.
            DatasetError: It has another number of axes.
        """
        from segflow.images.itk import geometry_of, image_of, voxels_of  # noqa: PLC0415  arrays do without

        raw = _raw("image", voxels_of(image), geometry_of(image))
        found = self.predict_case(raw)
        return image_of(found if raw.geometry.file_dimensions == 3 else found[0], raw.geometry)

    def predict_files(
        self, files: Path | str | Sequence[Path | str], output: Path | str | None = None
    ) -> LabelMap:
        """The label map of a case, from its image files.

        Args:
            files: One per channel, in this order, or one that holds all channels.
            output: File to write it to, with the geometry of the image, as `segflow predict` does.

        Returns:
            (z, y, x), unsigned.

        Raises:
            DatasetError: A file cannot be read or written, or files do not belong together.
        """
        from segflow.images.cases import read_case, write_labels  # noqa: PLC0415  arrays do without

        paths = tuple(map(Path, [files] if isinstance(files, Path | str) else files))
        raw = read_case(Case(", ".join(path.name for path in paths), paths), channels=self.channels)
        found = self.predict_case(raw)
        if output is not None:
            write_labels(Path(output), found, raw.geometry)
        return found

    @overload
    def predict_case(self, raw: RawCase, *, probabilities: Literal[False] = False) -> LabelMap: ...
    @overload
    def predict_case(self, raw: RawCase, *, probabilities: Literal[True]) -> tuple[LabelMap, Scores]: ...
    def predict_case(
        self, raw: RawCase, *, probabilities: bool = False
    ) -> LabelMap | tuple[LabelMap, Scores]:
        """The label map of a case.

        Args:
            raw: As read from files.
            probabilities: Return these as well.

        Returns:
            (z, y, x), unsigned, in the raw image's geometry; with `probabilities` also (k, z, y, x), float32, of all
            classes, background first, or of regions, before post-processing. Outside the crop the background has 1
            and all else 0.

        Raises:
            PredictionError: The number of channels is not the model's.

        Source: method.md sections 17, 18.
        """
        ready = self.prepare(raw)
        if not probabilities:
            return self.postprocess(self.label(ready), raw.geometry.spacing_mm)
        kept: list[Scores] = []
        found = self.label(ready, keep=kept.append)
        whole = uncrop_probabilities(
            np.concatenate(kept, axis=1),
            ready.record.crop_box,
            ready.record.shape_before_crop,
            self.preparation.transpose_backward,
            has_regions=self.labels.has_regions,
        )
        return self.postprocess(found, raw.geometry.spacing_mm), whole

    @property
    def folds(self) -> tuple[FoldName, ...]:
        """Those whose networks are used."""
        return tuple(card.fold for card in self.ensembles[self.card.configurations[0]].cards)

    @property
    def preparation(self) -> Preparation:
        """The first configuration's; all transpose a case alike."""
        return self.plan.preparation(self.card.configurations[0])

    def prepare(self, raw: RawCase) -> ReadyCase:
        """Prepare a case for every configuration. It uses no network, so it may run in another thread than one.

        Raises:
            PredictionError: The number of channels is not the model's.
            MemoryShortageError: It would not fit into memory.

        Source: method.md section 9.1.
        """
        if len(raw.image) != self.channels:
            raise PredictionError(
                f"case {raw.identifier} has {len(raw.image)} channels, but the model was trained with {self.channels}"
            )
        return ReadyCase(
            {
                name: prepare_case(raw, self.plan.preparation(name), self.labels, copies=_COPIES)
                for name in (*self.card.configurations, *self.card.stages)
            }
        )

    def label(self, ready: ReadyCase, *, keep: Keep | None = None, lowres: bool = False) -> LabelMap:
        """Predict, average the configurations, reduce to labels; without post-processing.

        Args:
            ready: What `prepare` returned.
            keep: Called with consecutive planes of probabilities (k, n, y, x), on the crop of the transposed raw image.
            lowres: Call `keep` with them as they are before they are resized, on the grid of `lowres_record`.

        Returns:
            (z, y, x), unsigned, in the raw image's geometry.

        Source: method.md sections 16-18.
        """
        if keep is None or not lowres:
            return self._label(ready, self.card.configurations, keep)
        (name,) = self.card.configurations
        stream = self._scores(ready, name)
        chunks = stream.kept_by(keep)
        found = label_map(replace(stream, chunks=chunks), ready.record, threads=self.threads)
        deque(chunks, maxlen=0)  # planes that no label needed
        return found

    def lowres_record(self, ready: ReadyCase) -> CaseRecord:
        """The record of a case for the grid on which the only configuration predicts."""
        (name,) = self.card.configurations
        return on_network_grid(ready.prepared[name].record, self.plan.preparation(name))

    def postprocess(self, found: LabelMap, spacing_mm: SpacingMm) -> LabelMap:
        """Apply the operations that were chosen. Source: method.md section 23."""
        return apply(self.card.postprocessing.operations, found, spacing_mm=spacing_mm)

    def _label(self, ready: ReadyCase, names: Sequence[str], keep: Keep | None) -> LabelMap:
        streams = [self._scores(ready, name) for name in names]
        if len(streams) == 1:
            return label_map(streams[0], ready.record, threads=self.threads, keep=keep)
        members = [probability_slabs(stream, ready.record, threads=self.threads) for stream in streams]
        return averaged_label_map(members, ready.record, self.preparation, self.labels, keep)

    def _scores(self, ready: ReadyCase, name: str) -> ScoreStream:
        preparation, prepared = self.plan.preparation(name), ready.prepared[name]
        before = self.plan.configurations[name].previous_stage
        previous = None
        if before is not None:
            coarse = self._label(ready, [before], None)
            previous = prepare_labels(coarse, prepared.record, preparation)
        return self.ensembles[name].scores(prepared.image, preparation, previous)


def _raw_array(array: NDArray[Any], spacing_mm: Sequence[float]) -> RawCase:
    spacing = tuple(float(mm) for mm in spacing_mm)
    if len(spacing) not in {2, 3} or not all(0 < mm < float("inf") for mm in spacing):
        raise PredictionError(
            f"spacing_mm is {list(spacing_mm)}; it must be 3 positive numbers, or 2 for a 2D image"
        )
    image = np.asarray(array)
    if image.ndim == len(spacing):
        image = image[None]
    if image.ndim != len(spacing) + 1 or 0 in image.shape:
        raise PredictionError(
            f"an array of shape {np.shape(array)} does not go with {len(spacing)} numbers of spacing; it must have "
            "as many axes, or one more in front for channels, and none may be empty"
        )
    if len(spacing) == 2:
        image = image[:, None]
    n = len(spacing)
    where = file_geometry(image.shape[:0:-1], spacing[::-1], (0.0,) * n, np.eye(n).ravel().tolist())
    return _raw("array", image, where)


def _raw(name: str, voxels: NDArray[Any], geometry: Geometry) -> RawCase:
    if np.iscomplexobj(voxels) or not np.isfinite(voxels).all():
        raise PredictionError(f"the {name} holds complex, NaN or infinite values; replace them by numbers")
    return RawCase(name, voxels.astype(np.float32), None, geometry)


def _check_configurations(plan: Plan, names: Sequence[str], folder: Path) -> None:
    for name in names:
        before = plan.configurations[name].previous_stage if name in plan.configurations else name
        if name not in plan.configurations or (before is not None and before not in names):
            raise PredictionError(
                f"the model package {folder} lacks configuration {before}; package the model again"
            )


def _check_cards(cards: Sequence[NetworkCard], name: str, files: Sequence[Path]) -> None:
    """What the weights say of themselves is what their files are called."""
    for card, file in zip(cards, files, strict=True):
        found = f"{card.configuration.name}/fold_{card.fold}"
        if found != f"{name}/{file.stem}":
            raise PredictionError(
                f"{file} holds the network of {found}; package the model again, or copy the right file"
            )


def _recipe(card: ModelCard, effort: Effort | None, chosen: Mapping[str, object]) -> InferenceRecipe:
    given = {key: value for key, value in chosen.items() if value is not None}
    where = f"options {', '.join(chosen)}"
    own = InferenceRecipe.parse(card.inference, where="model.json", error=PredictionError)
    efforts: dict[Effort, dict[str, object]] = {
        "fast": {"mirroring": False},
        "quality": {"step": min(own.step, _CLOSE_STEP)},
    }
    values = {**own.model_dump(), **(efforts[effort] if effort else {}), **given}
    return InferenceRecipe.parse(values, where=where, error=PredictionError)
