"""Lesions, nuclei and whatever else a class comes in: components of a prediction matched with those of the reference.

A component is a connected set of voxels of a mask, with neighbours at faces, edges and corners (26; 8 in a flat image).
A pair of components matches if its intersection over union is at least 10 %, and each component is in one match at
most: pairs are taken from the highest overlap down. A matched component of the reference is found, any other is missed;
a predicted one without a match is a false positive. Ignored voxels are in no component.

Source: Maier-Hein et al. 2024 (Metrics Reloaded), localisation by mask IoU with greedy matching; the threshold of 10 %
is that of Commowick et al. 2018 for lesions, whose outlines are uncertain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segflow.contracts.arrays import Mask

__all__ = ["LESION_OVERLAP", "Lesions", "lesion_f1", "match_lesions"]

#: Least intersection over union of a match.
LESION_OVERLAP = 0.1


@dataclass(frozen=True)
class Lesions:
    """The components of one class in one case.

    Attributes:
        reference, predicted: Voxels of each component.
        found, matched: Whether each of these has a match.
    """

    reference: NDArray[np.int64]
    found: NDArray[np.bool_]
    predicted: NDArray[np.int64]
    matched: NDArray[np.bool_]

    @property
    def counts(self) -> tuple[int, int, int]:
        """Found components, missed ones, and false positives."""
        found = int(self.found.sum())
        return found, self.found.size - found, int((~self.matched).sum())


def match_lesions(prediction: Mask, reference: Mask, ignored: Mask | None = None) -> Lesions:
    """Find the components of two masks (z, y, x) and match them; see the module.

    Args:
        prediction: Of one class.
        reference: The same shape.
        ignored: Voxels without annotation.
    """
    boxes = ndimage.find_objects((prediction | reference).astype(np.uint8))
    box = boxes[0] if boxes else (slice(0, 0),) * prediction.ndim
    masks = [mask[box] if ignored is None else mask[box] & ~ignored[box] for mask in (prediction, reference)]
    (ours, n_ours), (theirs, n_theirs) = map(_components, masks)
    our_sizes, their_sizes = (
        np.bincount(numbers.ravel(), minlength=n + 1).astype(np.int64)
        for numbers, n in ((ours, n_ours), (theirs, n_theirs))
    )
    both = (ours > 0) & (theirs > 0)
    codes, shared = np.unique(theirs[both].astype(np.int64) * (n_ours + 1) + ours[both], return_counts=True)
    there, here = codes // (n_ours + 1), codes % (n_ours + 1)
    iou = shared / (our_sizes[here] + their_sizes[there] - shared)
    matched, found = np.zeros(n_ours + 1, dtype=np.bool_), np.zeros(n_theirs + 1, dtype=np.bool_)
    for place in np.argsort(-iou, kind="stable"):
        if iou[place] >= LESION_OVERLAP and not (found[there[place]] or matched[here[place]]):
            found[there[place]] = matched[here[place]] = True
    return Lesions(their_sizes[1:], found[1:], our_sizes[1:], matched[1:])


def _components(mask: Mask) -> tuple[NDArray[np.int32], int]:
    found, count = ndimage.label(mask, structure=np.ones((3,) * mask.ndim, dtype=np.bool_))
    return found, int(count)


def lesion_f1(found: float, missed: float, false_positives: float) -> float:
    """F1 score of components, 2 found / (2 found + missed + false positives); NaN with none in either mask."""
    whole = 2 * found + missed + false_positives
    return 2 * found / whole if whole else math.nan
