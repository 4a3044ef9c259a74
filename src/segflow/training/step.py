"""The network of a job with its loss and optimiser: one training step, and the score of a validation batch.

Source: method.md sections 11, 14 and 15.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor

from segflow.contracts.errors import TrainingError
from segflow.losses.compound import build_loss
from segflow.network.device import has_compiler
from segflow.network.group import SINGLE, Group
from segflow.network.unet import arranged, build_network, memory_format
from segflow.network.weights import adapted_stem, load_weights_
from segflow.training.job import TrainingJob
from segflow.training.monitor import count_overlap
from segflow.training.optimizer import build_optimizer, learning_rate
from segflow.training.transfer import Loaded, Outcome, mark

__all__ = ["Learner", "is_compiled"]

logger = logging.getLogger("segflow")

#: From this number of steps on, compiling pays off: it takes one or two minutes.
_WORTH_COMPILING: Final = 10_000


def is_compiled(job: TrainingJob) -> bool:
    """Whether the network of a job is compiled; if the job does not say, long trainings on GPUs are."""
    if job.compile is not None:
        return job.compile
    steps = job.training.epochs * job.training.iterations
    return torch.device(job.device).type == "cuda" and steps >= _WORTH_COMPILING and has_compiler()


class Learner:
    """The network of a job with its initial weights, its loss and its optimiser, on the job's device.

    On CUDA the network computes in half precision. Gradients are scaled up, and a step in which they overflow is left
    out, with a smaller scale from then on.

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
            given = job.pretrained.weights
            if job.pretrained.adapts_stem:
                given = adapted_stem(network, given)
            load_weights_(network, given, where=job.pretrained.where, heads=False)
        self._device = torch.device(job.device)
        self._layout = memory_format(network, self._device.type, learns=True)
        self.network = arranged(network, job.device, learns=True)
        self.network.scales = job.scales
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
        self.optimizer = build_optimizer(recipe, self.network)
        self.begin_step(0, 0)
        self._half = self._device.type == "cuda"
        self._compiled = torch.compile(self.network) if is_compiled(job) else self.network
        self._must_compile = job.compile is True
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

    def begin_step(self, epoch: int, iteration: int) -> None:
        """Give the optimiser the learning rate of a step."""
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = learning_rate(self._recipe, epoch, iteration)

    @property
    def may_skip(self) -> bool:
        """True if a step whose gradients are not finite leaves the weights as they are."""
        return self.scaler.is_enabled()

    def learn(self, batch: Loaded, *, stop: bool = False) -> Outcome:
        """Change the weights by one step. Does not wait for the device.

        Args:
            batch: For training: this process's patches of it, on the device.
            stop: Ask all processes of the group to stop after this step.

        Returns:
            Three numbers: the loss of the whole batch before the step, the norm of its gradients, and how many
            processes of the group asked to stop.
        """
        began = mark(self._device)
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        loss, _ = self._forward(batch)
        torch.autograd.backward(self.scaler.scale(loss))
        self._group.sum_gradients_(self.network.parameters())
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self._recipe.gradient_clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        stops = self._group.sum(torch.full((), float(stop), device=self._device))
        numbers = torch.stack((loss.detach(), norm, stops)).to("cpu", non_blocking=True)
        return Outcome(numbers, began, mark(self._device))

    @torch.no_grad()
    def score(self, batch: Loaded) -> tuple[float, Tensor]:
        """The loss of a whole validation batch, and `count_overlap` of this process's patches of it."""
        self.network.eval()
        loss, logits = self._forward(batch)
        return float(loss), count_overlap(logits, batch.targets[0], self._labels)

    def _forward(self, batch: Loaded) -> tuple[Tensor, Tensor]:
        image = batch.image.to(memory_format=self._layout)
        with torch.autocast(self._device.type, dtype=torch.float16, enabled=self._half):
            logits = self._logits(image)
        outputs = logits if isinstance(logits, list) else [logits]
        return self._loss(outputs, batch.targets), outputs[0]

    def _logits(self, image: Tensor) -> Tensor | list[Tensor]:
        """Logits of the compiled network, or of the plain one if compilation was optional and has failed."""
        try:
            logits: Tensor | list[Tensor] = self._compiled(image)
        except torch._dynamo.exc.TorchDynamoException as error:
            if self._must_compile:
                raise TrainingError(
                    f"the network cannot be compiled ({type(error).__name__}: {str(error).splitlines()[0]}); "
                    "set resources.compile to false"
                ) from error
            logger.warning("the network is not compiled, which is slower: %s", str(error).splitlines()[0])
            self._compiled = self.network
            return self._logits(image)
        return logits
