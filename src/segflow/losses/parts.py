"""A batch in parts: each process of a training has some of its patches, and the loss is that of all of them."""

from __future__ import annotations

from typing import Final, Protocol

from torch import Tensor

__all__ = ["WHOLE", "Parts"]


class Parts(Protocol):
    """Turns what was computed from this process's patches into what the whole batch gives.

    All processes must call the same methods in the same order, and all get the same values. Gradients flow back to
    this process's patches only: those of the processes, added up, are the gradient of the whole batch.
    """

    def sum(self, mine: Tensor) -> Tensor:
        """The sum over all parts."""
        ...

    def mean(self, mine: Tensor) -> Tensor:
        """From the mean over these patches to the mean over the batch."""
        ...


class _Whole:
    """All patches are here."""

    def sum(self, mine: Tensor) -> Tensor:
        """As it is."""
        return mine

    def mean(self, mine: Tensor) -> Tensor:
        """As it is."""
        return mine


#: A batch that is not spread over processes.
WHOLE: Final[Parts] = _Whole()
