"""What follows from a job, and jobs that are refused with advice."""

import dataclasses

import pytest
import torch
from tiny_problem import Bar, Reader, Store, make_job

from segflow.contracts.errors import TrainingError
from segflow.contracts.plan import Fold
from segflow.training.batches import BatchMaker
from segflow.training.job import Pretrained
from segflow.training.loop import train
from segflow.training.step import Learner
from segflow.training.transfer import load


def test_a_cascade_has_an_input_channel_per_foreground_label():
    assert make_job().input_channels == 1
    assert make_job(previous_stage="3d_lowres").input_channels == 3


def test_outputs_that_count_have_targets():
    """A network of four stages has three outputs; by default the coarsest counts nothing."""

    def weights_and_targets(**recipe):
        architecture = make_job().configuration.architecture.model_copy(
            update={
                "features": (4, 4, 4, 4),
                "strides": ((1, 1, 1), (2, 2, 2), (2, 2, 2), (1, 2, 1)),
                "kernels": ((3, 3, 3),) * 4,
                "encoder_blocks": (1, 1, 1, 1),
                "decoder_blocks": (1, 1, 1),
            }
        )
        job = make_job(recipe=recipe, architecture=architecture)
        batch = BatchMaker(job, Reader()).make(0)
        assert Learner(job).learn(load(batch, torch.device("cpu"))).read()[0] < 10
        return job.scale_weights, [target.shape[1:] for target in batch.targets]

    full, half, quarter = (8, 16, 12), (4, 8, 6), (2, 4, 3)
    given = {"deep_supervision_weights": (0.7, 0.2, 0.1)}
    assert weights_and_targets() == (pytest.approx((2 / 3, 1 / 3, 0)), [full, half])
    assert weights_and_targets(**given) == (pytest.approx((0.7, 0.2, 0.1)), [full, half, quarter])
    assert weights_and_targets(deep_supervision_weights=(1.0, 0.0, 3.0)) == (
        (0.25, 0, 0.75),
        [full, half, quarter],
    )
    assert weights_and_targets(deep_supervision_weights=(2.0,)) == ((1, 0, 0), [full])
    assert weights_and_targets(deep_supervision=False, **given) == ((1.0,), [full])


def test_workers_and_saving_are_not_part_of_the_job_but_the_kind_of_device_and_pretrained_weights_are():
    """On GPUs weights are stored in another order than on CPUs, which fused optimisers take for granted."""
    job = make_job()
    assert dataclasses.replace(job, workers=3, checkpoint_s=3.0).parts == job.parts
    first, second = (dataclasses.replace(job, device=f"cuda:{i}").parts for i in range(2))
    assert first == second == job.parts | {"device": "cuda"}
    given = dataclasses.replace(job, pretrained=Pretrained(weights={}, digest="abc", where="first.pt"))
    assert given.parts == job.parts | {"pretrained weights": "abc"}


SINGLE_STAGE = make_job().configuration.architecture.model_copy(
    update={"features": (4,), "strides": ((1, 1, 1),), "kernels": ((3, 3, 3),)}
)


class WithoutPreviousStage(Reader):
    def read(self, identifier):
        return dataclasses.replace(super().read(identifier), previous_stage=None)


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
        ({"architecture": SINGLE_STAGE}, "at least two"),
        ({"previous_stage": "3d_lowres"}, "lacks the labels of stage '3d_lowres'"),
    ],
)
def test_refused(changes, message):
    store = Store()
    with pytest.raises(TrainingError, match=message):
        train(make_job(**changes), WithoutPreviousStage(), store, Bar())
    assert store.n_saved == 0


@pytest.mark.parametrize(
    ("n_gpus", "devices", "message"),
    [
        (0, ("cuda",), "'cuda' was asked for"),
        (1, ("cuda:0", "cuda:1"), r"2 GPUs were asked for \(resources.gpus\) and torch finds 1"),
        (9, ("cpu",) * 3, r"3 GPUs \(resources.gpus\) cannot share a batch of 2 patches"),
    ],
)
def test_devices_that_are_missing_or_too_many(monkeypatch, n_gpus, devices, message):
    monkeypatch.setattr("torch.cuda.is_available", lambda: n_gpus > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: n_gpus)
    with pytest.raises(TrainingError, match=message):
        train(make_job(), Reader(), Store(), Bar(), devices=devices)
