"""How many times the networks of a model package run on a case, from the size of its image alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from segflow.contracts.case import Geometry
from segflow.prediction.mirroring import mirrorings
from segflow.prediction.predictor import Predictor
from segflow.preprocessing.prepare import target_grid
from segflow.volumes.crop import reorder
from segflow.volumes.tiles import tile_starts

__all__ = ["Passes", "passes_of"]


@dataclass(frozen=True)
class Passes:
    """Of one configuration on one case.

    Attributes:
        configuration: Its name.
        tiles: Patches that cover the image.
        mirrorings: How each is mirrored, unchanged included.
        networks: One per fold.
    """

    configuration: str
    tiles: int
    mirrorings: int
    networks: int

    @property
    def total(self) -> int:
        """Forward passes of one patch each."""
        return self.tiles * self.mirrorings * self.networks


def passes_of(predictor: Predictor, geometry: Geometry) -> tuple[Passes, ...]:
    """The passes of every configuration, stages of a cascade included, on an image of this geometry.

    They are fewer if the image has a border of zeros, since that is cropped. Source: method.md sections 9.1, 16.
    """
    return tuple(_passes(predictor, geometry, name) for name in _in_order(predictor))


def _in_order(predictor: Predictor) -> Iterator[str]:
    """Configurations, each followed by its previous stage."""
    for configuration in predictor.card.configurations:
        name: str | None = configuration
        while name is not None:
            yield name
            name = predictor.plan.configurations[name].previous_stage


def _passes(predictor: Predictor, geometry: Geometry, name: str) -> Passes:
    preparation, ensemble = predictor.plan.preparation(name), predictor.ensembles[name]
    order = preparation.transpose_forward
    shape, _ = target_grid(reorder(geometry.shape, order), reorder(geometry.spacing_mm, order), preparation)
    patch = ensemble.configuration.patch_shape
    planes = 3 - len(patch)
    axes = zip(shape[planes:], patch, strict=True)
    tiles = (len(tile_starts(max(size, tile), tile, predictor.recipe.step)) for size, tile in axes)
    return Passes(
        configuration=name,
        tiles=math.prod(shape[:planes]) * math.prod(tiles),
        mirrorings=len(mirrorings(len(patch), mirroring=predictor.recipe.mirroring)),
        networks=len(ensemble.networks),
    )
