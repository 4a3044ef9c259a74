"""A case to its scores: networks slid over an image larger than their patch. Source: method.md section 16."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segflow.contracts.arrays import Image, LabelMap, Scores, lengths_text
from segflow.contracts.errors import PredictionError
from segflow.contracts.labels import Labels
from segflow.contracts.model import NetworkCard
from segflow.contracts.plan import Configuration, Preparation
from segflow.network.device import keep_freed_memory
from segflow.network.memory import described_memory, fits_in_memory, free_memory, ran_out
from segflow.network.unet import arranged
from segflow.prediction.mirroring import Network, mirrored_mean
from segflow.prediction.restore import ScoreStream
from segflow.recipes.inference import InferenceRecipe
from segflow.storage.weights import load_network
from segflow.volumes.labelmaps import one_hot
from segflow.volumes.tiles import gaussian_weights, tile_corners

__all__ = [
    "FoldEnsemble",
    "adapted",
    "load_ensemble",
    "sliding_window",
]

_Slices = tuple[slice, ...]

_logger = logging.getLogger("segflow")

#: On a CPU, tiles and their mirrored copies are batched up to about this many voxels, which fill a core's caches. A
#: tile alone can take seven times as long: PyTorch then computes small convolutions without oneDNN.
BATCH_VOXELS = 40 * 56 * 40 * 4
#: On a GPU up to this many (two patches of 128^3), more of which need not be faster, ...
_GPU_VOXELS = 2 * 128**3
#: ... and as many tiles as fit into this share of its free memory,
_TILES_SHARE = 0.25
#: each with this many floats per voxel: a U-Net of 32 features holds at most 8 maps of them at full resolution (those
#: of its skips, of the last decoder stage, its concatenated input and what a layer returns), and 4 maps of its outputs.
_FEATURES, _OUTPUT_MAPS = 8 * 32, 4
_TYPES: Final = {"float16": torch.float16, "bfloat16": torch.bfloat16}
_FLOAT_BYTES = 4
_PLANES = 8  # finished at a time
_GPU_SHARE = 0.5  # of a GPU's free memory that sums may use; the network needs the rest


@dataclass(frozen=True)
class FoldEnsemble:
    """The networks of one configuration, one per fold.

    Attributes:
        configuration: As trained.
        networks: On `device`, in evaluation mode.
        labels: Classes or regions.
        recipe: Sliding window and mirroring.
        device: "cpu" or "cuda".
        cards: Of the networks, if they were loaded.
    """

    configuration: Configuration
    networks: Sequence[Network]
    labels: Labels
    recipe: InferenceRecipe
    device: str
    cards: Sequence[NetworkCard] = ()

    def scores(self, image: Image, preparation: Preparation, previous: LabelMap | None = None) -> ScoreStream:
        """Scores of a prepared image, computed while the stream is read.

        Args:
            image: (c, z, y, x), prepared for this configuration.
            preparation: The configuration's.
            previous: (z, y, x) labels of the previous stage on the prepared grid, for a cascade.

        Returns:
            Logits; or probabilities, if the recipe averages these.

        Raises:
            PredictionError: (while the stream is read) A score is not finite.

        Source: method.md sections 16 and 18.
        """
        if previous is not None:
            image = np.concatenate([image, one_hot(previous, self.labels.foreground_values)])
        patch = self.configuration.patch_shape
        _, z, y, x = image.shape
        chunks = sliding_window(
            self.networks, image, patch, self.recipe, labels=self.labels, device=self.device
        )
        return ScoreStream(
            chunks=map(_finite, chunks),
            shape=(z, y, x),
            preparation=preparation,
            labels=self.labels,
            are_probabilities=self.recipe.average == "probabilities",
        )


def load_ensemble(
    files: Sequence[Path], labels: Labels, recipe: InferenceRecipe, *, device: str
) -> FoldEnsemble:
    """Load the networks of one configuration, ready to predict, from weights files of one fold each.

    Raises:
        PredictionError: A file is missing or damaged, or has another number of outputs than there are labels.
    """
    if device == "cpu":
        keep_freed_memory()
    networks, cards = [], []
    for file in files:
        card, network = load_network(file)
        if card.n_outputs != labels.n_outputs:
            raise PredictionError(
                f"{file} has {card.n_outputs} outputs, but dataset.json asks for {labels.n_outputs}; "
                "these files do not belong together"
            )
        with fits_in_memory(
            f"the network {file}", device=device, remedy="free it, or use device cpu", error=PredictionError
        ):
            networks.append(arranged(network, device))
        cards.append(card)
    if not cards:
        raise PredictionError("no weights file to predict with")
    return FoldEnsemble(cards[0].configuration, networks, labels, recipe, device, cards)


def _finite(scores: Scores) -> Scores:
    if not (np.isfinite(scores.min()) and np.isfinite(scores.max())):  # NaN wins both
        raise PredictionError(
            "the network's scores are not finite: its weights or the image are damaged, or too large for this precision"
        )
    return scores


def sliding_window(
    networks: Sequence[Network],
    image: Image,
    patch: Sequence[int],
    recipe: InferenceRecipe,
    *,
    labels: Labels,
    device: str,
) -> Iterator[Scores]:
    """Scores of a whole image: overlapping tiles, weighted by a Gaussian, averaged in float32.

    Planes are yielded as soon as no further tile covers them, so that little more than a tile's depth of scores is in
    memory. Sums are kept on the network's device if they fit there. When memory runs out, the image is begun again with
    one tile at a time, and then with sums in main memory; planes that were yielded are not yielded again.

    Args:
        networks: One per fold; their outputs are averaged.
        image: (c, z, y, x), preprocessed. A two-dimensional patch is slid over each slice of the first axis.
        patch: Voxels of a tile, 2 or 3 axes.
        recipe: Step, Gaussian, mirroring, precision, and whether logits or probabilities are averaged.
        labels: Classes or regions, one output each.
        device: Where the networks are.

    Yields:
        Consecutive planes (k, n, y, x), float32; all of them together are those of the image.

    Raises:
        PredictionError: Memory does not suffice.

    Source: method.md section 16, without its float16 accumulation (section 25, defect 2).
    """
    if not networks:
        raise ValueError("no network to predict with")
    padded, inner = _pad_to_patch(image, patch)
    window = _Window(
        networks=[adapted(network, recipe, device, has_regions=labels.has_regions) for network in networks],
        source=torch.from_numpy(padded),
        inner=inner,
        patch=patch,
        recipe=recipe,
        n_outputs=labels.n_outputs,
        device=device,
    )
    done = 0
    for n_tiles, place in window.attempts():
        try:
            for planes in _after(done, window.planes(n_tiles, place)):
                yield planes
                done += planes.shape[1]
        except RuntimeError as error:
            if not ran_out(error):
                raise
            # As text: the error itself holds what the pass has allocated.
            _logger.info(
                "out of memory with %d tiles at a time and sums on %s: %s", n_tiles, place, f"{error}"
            )
        else:
            return
        if torch.device(device).type == "cuda":
            torch.cuda.empty_cache()
    raise PredictionError(window.shortage(image.shape[1:]))


@dataclass(frozen=True, kw_only=True)
class _Window:
    """A pass over an image, with more or less memory. `source` is the image (c, z, y, x), `inner` its place in it."""

    networks: Sequence[Network]
    source: Tensor
    inner: _Slices
    patch: Sequence[int]
    recipe: InferenceRecipe
    n_outputs: int
    device: str

    def attempts(self) -> Iterable[tuple[int, str]]:
        """Tiles at a time and the place of the sums; the first needs the most memory."""
        voxels = int(np.prod(self.patch))
        n_tiles = BATCH_VOXELS // voxels
        if torch.device(self.device).type == "cuda":
            tile_bytes = _FLOAT_BYTES * voxels * (_FEATURES + _OUTPUT_MAPS * self.n_outputs)
            fitting = int(_TILES_SHARE * free_memory(self.device) / tile_bytes)
            n_tiles = min(_GPU_VOXELS // voxels, fitting)
        return dict.fromkeys([(max(1, n_tiles), self.device), (1, self.device), (1, "cpu")])

    def planes(self, n_tiles: int, place: str) -> Iterator[Scores]:
        """Consecutive planes (k, n, y, x) of the image, with a number of tiles at a time and sums in a place."""
        shape, patch = self.source.shape[1:], self.patch
        tiles = list(_tiles(shape, patch, self.recipe.step))
        batches = [tiles[start : start + n_tiles] for start in range(0, len(tiles), n_tiles)]
        depth = max(batch[-1][0].stop - batch[0][0].start for batch in batches)
        sums = _Sums((self.n_outputs, depth, *shape[1:]), place)
        weights = torch.from_numpy(gaussian_weights(patch, self.recipe.gaussian_sigma)).to(sums.device)
        for batch in batches:
            if batch[0][0].start > sums.first:
                yield from _inside(sums, batch[0][0].start, self.inner)
            with torch.inference_mode():
                scores = self._scores(batch, n_tiles).to(sums.device)
                for tile, values in zip(batch, scores, strict=True):
                    sums.add(tile, values, weights)
        yield from _inside(sums, shape[0], self.inner)

    def _scores(self, batch: Sequence[_Slices], n_tiles: int) -> Tensor:
        """The networks' mean output for tiles, (b, k, *patch); mirrored copies fill up a batch of few tiles."""
        images = torch.stack(
            [self.source[(slice(None), *tile)].reshape(-1, *self.patch) for tile in batch]
        ).to(self.device)
        means = (
            mirrored_mean(
                network, images, mirroring=self.recipe.mirroring, at_a_time=max(1, n_tiles // len(batch))
            )
            for network in self.networks
        )
        return reduce(torch.add, means) / len(self.networks)

    def shortage(self, shape: Sequence[int]) -> str:
        """What to say of an image whose prediction does not fit into memory at all."""
        on_gpu = torch.device(self.device).type == "cuda"
        remedies = [
            *(["switch mirroring off"] if self.recipe.mirroring else []),
            *(["compute in float16"] if on_gpu and self.recipe.precision == "float32" else []),
            "use device cpu or a card with more memory" if on_gpu else "use a machine with more memory",
        ]
        return (
            f"an image of {lengths_text(shape)} voxels does not fit into {described_memory(self.device)}, even with "
            f"one tile of {lengths_text(self.patch)} at a time and sums in main memory; {', or '.join(remedies)}"
        )


def _after(n: int, chunks: Iterable[Scores]) -> Iterator[Scores]:
    """Planes (k, m, y, x) without the first n of all."""
    for planes in chunks:
        if planes.shape[1] > n:
            yield np.ascontiguousarray(planes[:, n:])
        n = max(0, n - planes.shape[1])


def adapted(network: Network, recipe: InferenceRecipe, device: str, *, has_regions: bool) -> Network:
    """The network in the recipe's precision ("auto": float16 on a GPU, float32 on a CPU), with float32 output.

    The output is logits, or probabilities if the recipe averages these.

    Source: method.md section 16 (half precision on CUDA), sections 17 and 26 (probabilities).
    """
    kind = torch.device(device).type
    precision = recipe.precision
    if precision == "auto":
        precision = "float16" if kind == "cuda" else "float32"

    def forward(batch: Tensor) -> Tensor:
        with (
            torch.backends.cudnn.flags(enabled=True, allow_tf32=precision != "float32"),  # TF32 has 10 bits
            torch.autocast(kind, dtype=_TYPES.get(precision), enabled=precision in _TYPES),
        ):
            logits = network(batch).float()
        if recipe.average == "logits":
            return logits
        return torch.sigmoid(logits) if has_regions else torch.softmax(logits, dim=1)

    return forward


class _Sums:
    """Weighted sums of n consecutive planes, from the first plane of the image on; shape (k, n, y, x)."""

    def __init__(self, shape: Sequence[int], device: str) -> None:
        # On the network's device if there is room, else in main memory.
        self.device = torch.device(device)
        needed = _FLOAT_BYTES * torch.Size(shape).numel()
        if self.device.type == "cuda" and needed > _GPU_SHARE * free_memory(self.device):
            self.device = torch.device("cpu")
        self.first = 0
        self._total = torch.zeros(tuple(shape), device=self.device)
        self._norm = torch.zeros(tuple(shape[1:]), device=self.device)

    def add(self, tile: _Slices, scores: Tensor, weights: Tensor) -> None:
        """Add a tile of scores (k, *spatial) with weights (*spatial); its planes must be held."""
        planes, *inside = tile
        held = (slice(planes.start - self.first, planes.stop - self.first), *inside)
        target = self._total[(slice(None), *held)]
        weight = weights.reshape(target.shape[1:])
        target.addcmul_(scores.reshape(target.shape), weight)
        self._norm[held] += weight

    def finish(self, stop: int) -> Iterator[tuple[int, Scores]]:
        """The means of the planes before `stop`, which no further tile covers; then move on to those after it.

        Yields:
            Number of the first of some planes, and the planes (k, n, y, x), float32.
        """
        n = stop - self.first
        for start in range(0, n, _PLANES):
            some = slice(start, min(start + _PLANES, n))
            means: Scores = (self._total[:, some] / self._norm[some]).cpu().numpy()
            yield self.first + start, means
        for held in (*self._total, self._norm):  # one by one: a whole copy might not fit
            held[: len(held) - n] = held[n:].clone()
            held[len(held) - n :] = 0
        self.first = stop


def _inside(sums: _Sums, stop: int, inner: _Slices) -> Iterator[Scores]:
    """Finished planes without the padding; nothing if all are padding."""
    low, high = inner[0].start, inner[0].stop
    for first, planes in sums.finish(stop):
        kept = planes[(slice(None), slice(max(low - first, 0), max(high - first, 0)), *inner[1:])]
        if kept.shape[1]:
            yield np.ascontiguousarray(kept)


def _pad_to_patch(image: Image, patch: Sequence[int]) -> tuple[NDArray[np.float32], _Slices]:
    """Zero-pad to at least the patch, an odd voxel at the upper end; and the place of the image in the result."""
    needed = (1,) * (3 - len(patch)) + tuple(patch)
    short = [max(0, want - size) for want, size in zip(needed, image.shape[1:], strict=True)]
    below = [gap // 2 for gap in short]
    inner = tuple(slice(low, low + size) for low, size in zip(below, image.shape[1:], strict=True))
    widths = [(0, 0), *((low, gap - low) for low, gap in zip(below, short, strict=True))]
    padded = np.pad(image, widths) if any(short) else np.array(image)
    return padded.astype(np.float32, copy=False), inner


def _tiles(shape: Sequence[int], patch: Sequence[int], step: float) -> Iterator[_Slices]:
    """The places of the tiles; a flat patch is slid over every plane."""
    planes = itertools.product(*map(range, shape[: 3 - len(patch)]))
    size = (1,) * (3 - len(patch)) + tuple(patch)
    for plane, corner in itertools.product(planes, tile_corners(shape[3 - len(patch) :], patch, step)):
        yield tuple(slice(low, low + n) for low, n in zip((*plane, *corner), size, strict=True))
