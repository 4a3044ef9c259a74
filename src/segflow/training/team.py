"""The processes that do one training together, one per device, and what they tell each other.

Each makes the gradient of its own share of a batch. Added up, they are the gradient of the batch, which all then apply:
so all go on with the same weights, bit for bit, as the sums are the same everywhere.

Source: method.md section 15; ours where the peer's processes make other batches than one would.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import torch
import torch.distributed as dist
from torch import Tensor, nn

from segflow.losses.reduction import SINGLE_PROCESS, Reduction

__all__ = ["ALONE", "Lost", "Team", "join"]

#: How long the others may keep a process waiting, for instance while a checkpoint is written to a slow disk. A process
#: that died is noticed at once and elsewhere; this is for one that hangs.
_PATIENCE: Final = timedelta(minutes=30)


class Lost(Exception):  # noqa: N818  the error is another process's
    """The others did not answer, mostly because one of them has ended."""


@dataclass(frozen=True)
class Team:
    """One process among those of a training. With a single one nothing is sent, and torch.distributed not used.

    What the methods do, all processes must do, and in the same order.

    Attributes:
        rank: Number of this process.
        size: Number of processes.
        device: Of this process; sums are made there.
    """

    rank: int = 0
    size: int = 1
    device: str = "cpu"

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def positions(self, batch_size: int) -> range:
        """Which patches of a batch are this process's."""
        return range(self.rank, batch_size, self.size)

    def reduction(self, batch_size: int) -> Reduction:
        """How a loss is made from this process's patches."""
        share = len(self.positions(batch_size)) / batch_size
        return SINGLE_PROCESS if self.size == 1 else _Reduction(self, share)

    def sum(self, mine: Tensor) -> Tensor:
        """The sum over all processes, the same bits in each; gradients flow back to this one's part.

        Args:
            mine: Same shape everywhere.

        Returns:
            A new tensor on the same device.

        Raises:
            Lost: A process has ended.
        """
        if self.size == 1:
            return mine
        total: Tensor = _Sum.apply(mine.to(self.device))  # type: ignore[no-untyped-call]
        return total.to(mine.device)

    def any(self, mine: bool) -> bool:  # noqa: FBT001  as the function of that name
        """True for all if it is so for one: nobody stops while the others wait for it."""
        return mine if self.size == 1 else bool(self.sum(torch.tensor(int(mine))))

    def sum_gradients_(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace the gradients by their sums over all processes.

        A gradient that is infinite in one process (half precision overflows) is so in the sum, hence in all. So the
        gradient scalers of all processes leave out the same steps and keep the same scale without being told.

        Args:
            parameters: In the same order everywhere; those without a gradient have none anywhere.

        Raises:
            Lost: A process has ended.
        """
        if self.size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])  # one message instead of a hundred
        _add_up_(flat)
        totals = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, total in zip(gradients, totals, strict=True):
            gradient.copy_(total.view(gradient.shape))


#: A training in one process.
ALONE: Final = Team()


@dataclass(frozen=True)
class _Reduction:
    """A batch that is spread over the processes; they may have unequal shares of it."""

    team: Team
    share: float

    def sum(self, mine: Tensor) -> Tensor:
        return self.team.sum(mine)

    def mean(self, mine: Tensor) -> Tensor:
        return self.team.sum(mine * self.share)


class _Sum(torch.autograd.Function):
    """The sum over all processes as a function of this process's summand: so its derivative is 1.

    The share that the others' summands have in the gradient is computed by them, and added later.
    """

    @staticmethod
    def forward(_context: Any, mine: Tensor) -> Tensor:
        total = mine.clone()
        _add_up_(total)
        return total

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> Tensor:
        return gradient


def _add_up_(tensor: Tensor) -> None:
    try:
        dist.all_reduce(tensor)
    except RuntimeError as error:  # such as "Connection closed by peer"
        raise Lost(str(error)) from error


def join(rank: int, devices: tuple[str, ...], *, meeting: Path) -> Team:
    """Meet the other processes of a training.

    Args:
        rank: Number of this process.
        devices: Of all processes, all of one kind.
        meeting: A file that all can see and none has made; through it they find each other, so no port has to be free.

    Returns:
        This process's place. `torch.distributed.destroy_process_group` takes leave.

    Raises:
        Lost: The others did not come.
    """
    device = torch.device(devices[rank])
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.set_device(device)
    try:
        dist.init_process_group(
            "nccl" if cuda else "gloo",
            init_method=meeting.as_uri(),
            rank=rank,
            world_size=len(devices),
            timeout=_PATIENCE,
            device_id=device if cuda else None,
        )
    except RuntimeError as error:
        raise Lost(str(error)) from error
    return Team(rank, len(devices), devices[rank])
