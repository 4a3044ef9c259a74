"""The loss of a batch whose patches are spread over the processes of a training."""

from __future__ import annotations

from typing import Final, Protocol

from torch import Tensor

__all__ = ["SINGLE_PROCESS", "Reduction"]


class Reduction(Protocol):
    """Turns what was computed from this process's patches into the value of the whole batch.

    All processes must call the same methods in the same order, and all get the same values. Gradients flow back to
    this process's patches only: those of the processes, added up, are the gradient of the whole batch.
    """

    def sum(self, mine: Tensor) -> Tensor:
        """The sum over all processes."""
        ...

    def mean(self, mine: Tensor) -> Tensor:
        """From the mean over these patches to the mean over the batch."""
        ...


class _SingleProcess:
    """All patches are here: sum and mean stay as they are."""

    def sum(self, mine: Tensor) -> Tensor:
        return mine

    def mean(self, mine: Tensor) -> Tensor:
        return mine


#: A batch that is not spread over processes.
SINGLE_PROCESS: Final[Reduction] = _SingleProcess()
