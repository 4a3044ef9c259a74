"""What follows from a job."""

import torch

from segflow.contracts.folds import Fold
from segflow.training.job import batch_maker, make_learner


def test_a_cascade_has_an_input_channel_per_foreground_label(job):
    assert job().input_channels == 1
    assert job(previous_stage="3d_lowres").input_channels == 3


def test_network_depends_on_the_seed_alone(job):
    a, b, c = (make_learner(job(seed=seed)).network.state_dict() for seed in (1, 1, 2))
    name = "encoder.stages.0.0.conv.weight"
    assert torch.equal(a[name], b[name])
    assert not torch.equal(a[name], c[name])


def test_batches_per_epoch(job, reader):
    assert batch_maker(job(), reader).per_epoch == 5
    assert batch_maker(job(fold=Fold(train=("1",), val=())), reader).per_epoch == 3
