"""One training step, and one look at a validation batch. Source: method.md sections 14 and 15."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segflow.contracts.labels import Labels
from segflow.losses.compound import DeepSupervisionLoss
from segflow.network.unet import UNet, arranged, memory_format
from segflow.recipes.training import TrainingRecipe
from segflow.training.batches import Batch
from segflow.training.monitor import count_overlap
from segflow.training.team import ALONE, Team

__all__ = ["Learner"]


class Learner:
    """A network with all that changes it.

    Half precision is used on CUDA only, with scaled gradients.

    Source: method.md section 15.
    """

    def __init__(
        self,
        network: UNet,
        loss: DeepSupervisionLoss,
        *,
        recipe: TrainingRecipe,
        labels: Labels,
        device: str,
        team: Team = ALONE,
    ) -> None:
        self._device = torch.device(device)
        self._layout = memory_format(network.dimensions, self._device.type)
        self.network = arranged(network, device)
        self.network.deep_supervision = recipe.deep_supervision
        self._loss = loss
        self._labels = labels
        self._team = team
        self._clip_norm = recipe.gradient_clip_norm
        on_cpu = self._device.type == "cpu"
        self.optimizer = torch.optim.SGD(
            self.network.parameters(),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=True,
            fused=True if on_cpu else None,
        )
        self._half = self._device.type == "cuda"
        self.scaler = torch.amp.GradScaler(self._device.type, enabled=self._half)

    def set_learning_rate(self, learning_rate: float) -> None:
        """Change the optimiser's learning rate. Source: method.md section 15."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate

    def learn(self, batch: Batch) -> float:
        """Change the weights by one step, unless the loss is not a number.

        Args:
            batch: For training, or this process's share of it.

        Returns:
            The loss of the whole batch before the step.

        Source: method.md section 15.
        """
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        loss, _ = self._forward(batch)
        value = float(loss.detach())
        if not np.isfinite(value):
            return value
        torch.autograd.backward(self.scaler.scale(loss))
        self._team.sum_gradients_(self.network.parameters())
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self._clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return value

    @torch.no_grad()
    def judge(self, batch: Batch) -> tuple[float, Tensor]:
        """The loss and the overlap counts of a validation batch.

        Args:
            batch: For validation, or this process's share of it.

        Returns:
            The loss of the whole batch, and (3, targets) counts of these patches as of `count_overlap`.

        Source: method.md section 15.

        """
        self.network.eval()
        loss, logits = self._forward(batch)
        target = self._to_device([batch.targets[0]])[0]
        return float(loss), count_overlap(logits, target, self._labels)

    def _forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        image = torch.from_numpy(batch.image).to(self._device, memory_format=self._layout)
        targets = self._to_device(batch.targets)
        with torch.autocast(self._device.type, dtype=torch.float16, enabled=self._half):
            logits = self.network(image)
        outputs = logits if isinstance(logits, list) else [logits]
        return self._loss(outputs, targets), outputs[0]

    def _to_device(self, arrays: Iterable[NDArray[Any]]) -> list[Tensor]:
        return [torch.from_numpy(array).to(self._device) for array in arrays]
