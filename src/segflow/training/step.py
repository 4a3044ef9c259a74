"""The network of a job with its loss and optimiser: one training step, and the score of a validation batch.

Source: method.md sections 11, 14 and 15.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segflow.augmentation.batched import augment_batch
from segflow.losses.compound import build_loss
from segflow.network.group import SINGLE, Group
from segflow.network.unet import arranged, build_network, memory_format
from segflow.network.weights import load_weights_
from segflow.recipes.training import TrainingRecipe
from segflow.training.batches import Batch
from segflow.training.job import TrainingJob
from segflow.training.monitor import count_overlap

__all__ = ["Learner", "learning_rate"]


def learning_rate(recipe: TrainingRecipe, epoch: int) -> float:
    """The polynomial schedule: initial * (1 - epoch / epochs) ^ exponent, with epochs counted from 0."""
    epochs = recipe.schedule_epochs or recipe.epochs
    return float(recipe.learning_rate * (1 - epoch / epochs) ** recipe.schedule_exponent)


class Learner:
    """The network of a job with its initial weights, its loss and its optimiser, on the job's device.

    Half precision is used on CUDA only, with scaled gradients.

    Raises:
        TrainingError: The pretrained weights are those of another network.

    Source: method.md sections 11, 14, 15 and 24.
    """

    def __init__(self, job: TrainingJob, group: Group = SINGLE) -> None:
        configuration, recipe = job.configuration, job.training
        network = build_network(
            configuration.architecture,
            input_channels=job.input_channels,
            output_channels=job.labels.n_outputs,
            seed=job.seed,
        )
        if job.pretrained is not None:
            load_weights_(network, job.pretrained.weights, where=job.pretrained.where, heads=False)
        self._device = torch.device(job.device)
        self._layout = memory_format(network.dimensions, self._device.type)
        self.network = arranged(network, job.device)
        self.network.deep_supervision = recipe.deep_supervision
        self._loss = build_loss(
            job.labels,
            recipe,
            job.scale_weights,
            batch_dice=configuration.batch_dice,
            group=group.sharing(configuration.batch_size),
        )
        self._labels = job.labels
        self._group = group
        self._recipe = recipe
        self.optimizer = torch.optim.SGD(
            self.network.parameters(),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=True,
            fused=True if self._device.type == "cpu" else None,
        )
        self._half = self._device.type == "cuda"
        self.scaler = torch.amp.GradScaler(self._device.type, enabled=self._half)

    def weights(self) -> dict[str, Tensor]:
        """The network's weights, copied to the CPU, so that later steps don't change them."""
        return {
            name: tensor.detach().to("cpu", copy=True) for name, tensor in self.network.state_dict().items()
        }

    def state(self) -> dict[str, Any]:
        """All that the steps have changed: a part of a checkpoint."""
        return {
            "network": self.weights(),
            "optimizer": copy.deepcopy(self.optimizer.state_dict()),
            "scaler": self.scaler.state_dict(),
        }

    def restore_(self, checkpoint: Mapping[str, Any]) -> None:
        """Go on from the `state` that a checkpoint holds."""
        self.network.load_state_dict(checkpoint["network"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.scaler.load_state_dict(checkpoint["scaler"])

    def begin_epoch(self, epoch: int) -> float:
        """Give the optimiser the learning rate of an epoch, and return it."""
        rate = learning_rate(self._recipe, epoch)
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = rate
        return rate

    def learn(self, batch: Batch) -> float:
        """Change the weights by one step, unless the loss is not finite.

        Args:
            batch: For training: this process's patches of it.

        Returns:
            The loss of the whole batch before the step.
        """
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        loss, _, _ = self._forward(batch)
        value = float(loss.detach())
        if not np.isfinite(value):
            return value
        torch.autograd.backward(self.scaler.scale(loss))
        self._group.sum_gradients_(self.network.parameters())
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self._recipe.gradient_clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return value

    @torch.no_grad()
    def score(self, batch: Batch) -> tuple[float, Tensor]:
        """The loss of a whole validation batch, and `count_overlap` of this process's patches of it."""
        self.network.eval()
        loss, logits, target = self._forward(batch)
        return float(loss), count_overlap(logits, target, self._labels)

    def _forward(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """The loss, and of full resolution the logits and the target."""
        image, *targets = self._to_device([batch.image, *batch.targets])
        if batch.pending is not None:
            image, targets = augment_batch(batch.pending, image, targets)
        image = image.to(memory_format=self._layout)
        with torch.autocast(self._device.type, dtype=torch.float16, enabled=self._half):
            logits = self.network(image)
        outputs = logits if isinstance(logits, list) else [logits]
        return self._loss(outputs, targets), outputs[0], targets[0]

    def _to_device(self, arrays: Iterable[NDArray[Any]]) -> list[Tensor]:
        return [torch.from_numpy(array).to(self._device) for array in arrays]
