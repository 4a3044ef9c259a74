"""A training in words: a line per epoch, and what seems wrong with it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from segflow.reporting.text import dice_text, duration_text

__all__ = ["diagnoses", "epoch_line"]

#: Up to this many classes are all named in a line; of more, only the worst ones are.
_NAMED: Final = 6
#: The time left is estimated from this many epochs.
_RECENT: Final = 5
#: A diagnosis needs this many epochs, and this share of those planned.
_EPOCHS, _SHARE = 5, 0.1
#: A loss that falls by less than this part of its size has not fallen.
_FALL: Final = 0.01


def epoch_line(records: Sequence[Mapping[str, Any]], target_names: Sequence[str], *, epochs: int) -> str:
    """The last epoch in one line.

    Args:
        records: One per epoch so far, with the keys of an `EpochRecord`.
        target_names: One per entry of its `pseudo_dice`.
        epochs: Planned length of training.
    """
    last = records[-1]
    each = sorted(zip(last["pseudo_dice"], target_names, strict=True), key=lambda pair: pair[0])
    shown = each[:_NAMED] if len(each) > _NAMED else zip(last["pseudo_dice"], target_names, strict=True)
    worst = "lowest " if len(each) > _NAMED else ""
    dice = ", ".join(f"{name} {dice_text(value)}" for value, name in shown)
    recent = [record["seconds"] for record in records[-_RECENT:]]
    left = (epochs - len(records)) * sum(recent) / len(recent)
    scored = not math.isnan(last["validation_loss"])
    return (
        f"epoch {len(records)}/{epochs}: loss {last['train_loss']:.3f}"
        + (f" (held out {last['validation_loss']:.3f})" if scored else "")
        + (f", pseudo-Dice {worst}{dice}; mean {dice_text(last['mean'])}" if scored else "")
        + (f", moving {dice_text(last['ema'])}" if scored else "")
        + f"; learning rate {last['learning_rate']:.2g}; {duration_text(last['seconds'])}"
        + (f", {duration_text(left)} left" if left else "")
    )


def diagnoses(
    records: Sequence[Mapping[str, Any]], target_names: Sequence[str], *, epochs: int
) -> tuple[str, ...]:
    """Sentences about what seems wrong; none after few epochs.

    Args:
        records: As in `epoch_line`.
        target_names: One per entry of `pseudo_dice`.
        epochs: Planned length of training.
    """
    if len(records) < max(_EPOCHS, _SHARE * epochs):
        return ()
    found = []
    for target, name in enumerate(target_names):
        values = [record["pseudo_dice"][target] for record in records]
        if all(math.isnan(value) for value in values) and not math.isnan(records[-1]["validation_loss"]):
            found.append(
                f"'{name}' occurred in no held-out patch, so its pseudo-Dice is not known: it may be in too few cases"
            )
        elif max((value for value in values if not math.isnan(value)), default=1) == 0:
            found.append(
                f"the pseudo-Dice of '{name}' has been 0 since the beginning: in a short training classes appear one "
                "after the other, so a longer one may help; if it stays so, see whether its labels are right, and in "
                "how many cases it occurs"
            )
    first, last = records[0]["train_loss"], min(record["train_loss"] for record in records[1:])
    if not last < first - _FALL * abs(first):
        found.append(
            f"the loss has not fallen since the first epoch ({first:.3f}): see whether the labels fit the images, or "
            "lower the learning rate"
        )
    return tuple(found)
