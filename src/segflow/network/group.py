"""The processes that compute a batch together, each for some of its patches and on a device of its own.

Sums over all processes give the loss and the gradients of the whole batch, which each process then applies. So all
keep the same weights, bit for bit. Source: method.md section 15.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

import torch
import torch.distributed as dist
from torch import Tensor, nn

from segflow.contracts.errors import TrainingError

__all__ = ["SINGLE", "ConnectionLostError", "Group"]

#: How long a process waits for the others, for instance while one writes a checkpoint to a slow disk. One that died is
#: noticed at once; this is for one that hangs.
_TIMEOUT: Final = timedelta(minutes=30)


class ConnectionLostError(TrainingError):
    """The other processes did not answer, usually because one of them has ended."""


@dataclass(frozen=True)
class Group:
    """One process among those of a training, and sums over all of them.

    All processes must call the same methods in the same order. With a single process nothing is sent.

    Attributes:
        rank: Number of this process.
        size: Number of processes.
        device: Of this process; sums are made there.
        share: Part of the batch's patches that this process has; see `sharing`.
        meeting: Address of the file by which the processes find each other.
    """

    rank: int = 0
    size: int = 1
    device: str = "cpu"
    share: float = 1.0
    meeting: str = ""

    def join(self) -> None:
        """Connect the processes, with NCCL on GPUs and gloo on CPUs. Before that, nothing can be summed.

        It starts threads and CUDA, which don't survive a fork: start other processes before.

        Raises:
            ConnectionLostError: A process has ended.
        """
        if self.size == 1 or dist.is_initialized():
            return
        if sys.platform == "linux":  # all are on this machine, and what its name resolves to may not be there
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        device = torch.device(self.device)
        cuda = device.type == "cuda"
        if cuda:
            torch.cuda.set_device(device)
        try:
            dist.init_process_group(
                "nccl" if cuda else "gloo",
                init_method=self.meeting,
                rank=self.rank,
                world_size=self.size,
                timeout=_TIMEOUT,
                device_id=device if cuda else None,
            )
        except RuntimeError as error:
            raise ConnectionLostError(str(error)) from error

    def positions(self, batch_size: int) -> range:
        """Which patches of a batch this process has."""
        return range(self.rank, batch_size, self.size)

    def sharing(self, batch_size: int) -> Group:
        """The same, for batches of a size."""
        return replace(self, share=len(self.positions(batch_size)) / batch_size)

    def sum(self, mine: Tensor) -> Tensor:
        """The sum over all processes, the same bits in each; gradients flow back to this process's summand.

        Raises:
            ConnectionLostError: A process has ended.
        """
        if self.size == 1:
            return mine
        total: Tensor = _Sum.apply(mine.to(self.device))  # type: ignore[no-untyped-call]
        return total.to(mine.device)

    def mean(self, mine: Tensor) -> Tensor:
        """The mean over a batch, from that over this process's patches; as `sum`."""
        return mine if self.size == 1 else self.sum(mine * self.share)

    def sum_gradients_(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace the gradients by their sums over all processes; a parameter has one everywhere or nowhere.

        A gradient that is infinite in one process (half precision overflows) is infinite in the sum. So the gradient
        scalers of all processes skip the same steps and keep the same scale.

        Raises:
            ConnectionLostError: A process has ended.
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
SINGLE: Final = Group()


class _Sum(torch.autograd.Function):
    """The sum over all processes as a function of this process's summand, so its derivative is 1.

    The other processes compute what their summands contribute to the gradient, which is added later.
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
        raise ConnectionLostError(str(error)) from error
