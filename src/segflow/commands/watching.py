"""What is written beside a training while it runs, for people: a picture, and TensorBoard's logs.

Nothing here decides a result, and nothing that goes wrong here ends a training. So a change of this module, or of what
it imports, trains nothing anew (`segflow.workflow.code`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from segflow.commands.console import logger
from segflow.contracts.errors import ConfigurationError
from segflow.reporting.progress import draw_progress
from segflow.storage.files import open_atomically

__all__ = ["Watch"]

#: A picture takes a third of a second.
_REDRAW_S: Final = 30.0
_SCALARS: Final = ("learning_rate", "train_loss", "validation_loss", "mean", "ema", "seconds")


class Watch:
    """Is shown the state of a training whenever it is saved. A copy in another process writes to the same place."""

    def __init__(self, picture: Path, target_names: Sequence[str], *, logs: Path | None) -> None:
        self._picture = picture
        self._target_names = tuple(target_names)
        self._logs = logs
        self._writer: Any = None
        self._drawn = -math.inf
        self._seen = 0
        if logs is not None:
            _import_writer()

    def __call__(self, state: Mapping[str, Any]) -> None:
        """Draw, unless that was done a moment ago, and log the epochs that have not been logged yet."""
        history = state["history"]
        if len(history) > self._seen:
            self.show(history, redraw=time.monotonic() - self._drawn >= _REDRAW_S)

    def show(self, history: Sequence[Mapping[str, Any]], *, redraw: bool = True) -> None:
        """Draw and log a training as it is now.

        Args:
            history: A record per epoch, as plain data.
            redraw: Make a new picture.
        """
        try:
            if self._logs is not None:
                self._log(history)
            if redraw:
                picture = draw_progress(history, self._target_names)
                with open_atomically(self._picture) as temporary:
                    temporary.write_bytes(picture)
                self._drawn = time.monotonic()
        except Exception as problem:  # noqa: BLE001  a full disk must not end a training
            logger.warning("the progress of the training cannot be shown: %s", problem)
        self._seen = len(history)

    def _log(self, history: Sequence[Mapping[str, Any]]) -> None:
        """The first time from the beginning: an interrupted training may have logged epochs that were lost."""
        if self._writer is None:
            self._writer = _import_writer()(str(self._logs), purge_step=0)
            self._seen = 0
        for record in history[self._seen :]:
            for name in _SCALARS:
                self._writer.add_scalar(name, record[name], record["epoch"])
            for name, dice in zip(self._target_names, record["pseudo_dice"], strict=True):
                self._writer.add_scalar(f"pseudo_dice/{name}", dice, record["epoch"])
        self._writer.flush()


def _import_writer() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ConfigurationError(
            "TensorBoard logs were asked for (resources.tensorboard), but the package tensorboard is not installed; "
            "install it (pip install tensorboard), or leave them out"
        ) from None
    return SummaryWriter
