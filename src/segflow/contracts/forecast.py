"""What an experiment will cost."""

from __future__ import annotations

import heapq

from segflow.contracts.codec import Contract

__all__ = ["Forecast", "NetworkForecast"]


class NetworkForecast(Contract):
    """Of all trainings of a configuration, and of the predictions of the cases that they hold out.

    Attributes:
        configuration: Its name.
        epochs, iterations, validation_iterations: Of each training.
        step_s, validation_s: Seconds of a batch for training and of one for validation, timed.
        whole: Timed at the planned patch and batch, not at smaller ones.
        prediction_s: Seconds to predict all held-out cases.
        gpu_memory_gb: The most that was in use while batches were timed; None on the CPU.
        prepared_gb: Prepared cases, which configurations may share.
        predictions_gb: Label maps and, where pairs are formed, probabilities, before compression.
    """

    configuration: str
    epochs: int
    iterations: int
    validation_iterations: int
    step_s: float
    validation_s: float
    whole: bool
    prediction_s: float
    gpu_memory_gb: float | None
    prepared_gb: float
    predictions_gb: float

    @property
    def training_s(self) -> float:
        """Seconds of one training."""
        return self.epochs * (self.iterations * self.step_s + self.validation_iterations * self.validation_s)


class Forecast(Contract):
    """Of an experiment.

    Attributes:
        device: "cpu" or "cuda", which the batches were timed on.
        threads: CPU threads of a job.
        folds: To train, as text.
        side_by_side: Trainings that run at a time.
        planned_gpu_memory_gb: Of the card that was planned for.
        networks: One per configuration.
        start_s: Seconds in which a job loads its libraries.
    """

    device: str
    threads: int
    folds: tuple[str, ...]
    side_by_side: int
    planned_gpu_memory_gb: float
    networks: tuple[NetworkForecast, ...]
    start_s: float = 0.0

    @property
    def steps(self) -> int:
        """Training batches of all trainings."""
        return len(self.folds) * sum(one.epochs * one.iterations for one in self.networks)

    @property
    def training_s(self) -> float:
        """Seconds of all trainings, one after the other."""
        return len(self.folds) * sum(self.start_s + one.training_s for one in self.networks)

    @property
    def prediction_s(self) -> float:
        """Seconds of all predictions, one after the other."""
        start_s = self.start_s * len(self.folds)
        return sum(start_s + one.prediction_s for one in self.networks if one.prediction_s)

    @property
    def seconds(self) -> float:
        """Until all is trained and predicted: whichever job ends first makes room for the longest one that is left."""
        places = [0.0] * self.side_by_side
        for network in sorted(self.networks, key=lambda one: one.training_s, reverse=True):
            predicted_s = (
                self.start_s + network.prediction_s / len(self.folds) if network.prediction_s else 0.0
            )
            for _ in self.folds:
                heapq.heapreplace(places, places[0] + self.start_s + network.training_s + predicted_s)
        return max(places)

    def of_length(self, epochs: int) -> Forecast:
        """The same with trainings of another length."""
        networks = tuple(one.model_copy(update={"epochs": epochs}) for one in self.networks)
        return self.model_copy(update={"networks": networks})
