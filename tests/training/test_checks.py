"""What cannot be trained is refused with advice."""

import dataclasses

import pytest

from segflow.contracts.errors import TrainingError
from segflow.contracts.plan import Fold
from segflow.training.loop import train


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fold": Fold(train=(), val=("4",))}, "no training cases"),
        ({"fold": Fold(train=("1", "nobody"), val=())}, "'nobody' of the fold cannot be read"),
        ({"patch_shape": (8, 18, 12)}, "18 voxels along axis 1, which must be a multiple of 4"),
        ({"patch_shape": (2, 16, 12)}, "2 voxels along axis 0"),
        ({"batch_size": 0}, "at least 1, found 0, 4 and 3"),
        ({"recipe": {"epochs": 0}}, "at least 1, found 2, 0 and 3"),
        ({"mask_normalization": (False, False)}, "has 1 channels, the configuration 2"),
    ],
)
def test_refused(job, reader, store, bar, changes, message):
    with pytest.raises(TrainingError, match=message):
        train(job(**changes), reader, store, bar)
    assert store.n_saved == 0


def test_cascade_without_the_previous_stage(job, reader, store, bar):
    class Bare:
        def read(self, identifier):
            return dataclasses.replace(reader.read(identifier), previous_stage=None)

    with pytest.raises(TrainingError, match="lacks the labels of stage '3d_lowres'"):
        train(job(previous_stage="3d_lowres"), Bare(), store, bar)


def test_a_single_stage(job, reader, store, bar):
    task = job()
    architecture = task.configuration.architecture.model_copy(
        update={"features": (4,), "strides": ((1, 1, 1),), "kernels": ((3, 3, 3),)}
    )
    with pytest.raises(TrainingError, match="at least two"):
        train(job(architecture=architecture), reader, store, bar)


def test_a_device_that_is_not_there(job, reader, store, bar, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(TrainingError, match="'cuda' was asked for"):
        train(dataclasses.replace(job(), device="cuda"), reader, store, bar)
