"""Transfers between host and GPU: batches are copied ahead of time, results are read a step later.

While the GPU computes one step, this process makes and copies the next batch, so neither waits for the other within a
step. On the CPU nothing is copied, and results are available at once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from segflow.augmentation.batched import augment_batch
from segflow.training.batches import Batch

__all__ = ["Loaded", "Outcome", "load", "loaded_ahead", "mark"]

#: A moment on the device: seconds on the CPU, else an event that the device reaches.
Mark = float | torch.cuda.Event


@dataclass(frozen=True)
class Loaded:
    """A batch on the device, as of `Batch`; nothing is pending."""

    image: Tensor
    targets: list[Tensor]


@dataclass(frozen=True)
class Outcome:
    """Results of a step that the device may still be computing.

    Attributes:
        numbers: (n,), float32, on the CPU; valid once the device has reached `ended`.
        began, ended: When the device began and ended the step.
    """

    numbers: Tensor
    began: Mark
    ended: Mark

    def read(self) -> list[float]:
        """The numbers; waits for the step, but not for those after it."""
        if isinstance(self.ended, torch.cuda.Event):
            self.ended.synchronize()
        return [float(number) for number in self.numbers]

    def seconds(self, previous: Outcome | None) -> tuple[float, float]:
        """How long the device waited for this step after the previous one, and how long it computed."""
        waited = 0.0 if previous is None else _between(previous.ended, self.began)
        return waited, _between(self.began, self.ended)


def mark(device: torch.device) -> Mark:
    """A time stamp that the device sets when it has done what was queued before."""
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    event.record(torch.cuda.current_stream(device))
    return event


def _between(first: Mark, second: Mark) -> float:
    if isinstance(first, torch.cuda.Event) and isinstance(second, torch.cuda.Event):
        return first.elapsed_time(second) / 1000
    return float(second) - float(first)  # type: ignore[arg-type]  # both are seconds


def load(batch: Batch, device: torch.device) -> Loaded:
    """Copy a batch to the device, and augment it there if that is still to be done; a GPU does so by itself."""

    def there(array: NDArray[Any]) -> Tensor:
        tensor = torch.from_numpy(array)
        return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor

    image, targets = there(batch.image), [there(target) for target in batch.targets]
    if batch.pending is not None:
        image, targets = augment_batch(batch.pending, image, targets)
    return Loaded(image, targets)


def loaded_ahead(batches: Iterator[Batch], device: torch.device) -> Iterator[Loaded]:
    """The batches on the device, each copied while the device computes the step before.

    They are copied on a stream of their own; the current stream waits for a batch just before it is used.
    """
    if device.type != "cuda":
        yield from (load(batch, device) for batch in batches)
        return
    copying = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    computing = torch.cuda.current_stream(device)
    for batch in batches:
        with torch.cuda.stream(copying):
            loaded = load(batch, device)
        computing.wait_stream(copying)
        for tensor in (loaded.image, *loaded.targets):
            tensor.record_stream(computing)  # so that its memory is not used again too early
        yield loaded
