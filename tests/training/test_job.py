"""What follows from a job."""

import pytest
import torch

from segflow.contracts.plan import Fold
from segflow.training.job import batch_maker, make_learner


def test_a_cascade_has_an_input_channel_per_foreground_label(job):
    assert job().input_channels == 1
    assert job(previous_stage="3d_lowres").input_channels == 3


def test_network_depends_on_the_seed_alone(job):
    a, b, c = (make_learner(job(seed=seed)).network.state_dict() for seed in (1, 1, 2))
    name = "encoder.stages.0.0.conv.weight"
    assert torch.equal(a[name], b[name])
    assert not torch.equal(a[name], c[name])


def test_outputs_that_count_have_targets(job, reader):
    """A network of four stages has three outputs; by default the coarsest counts nothing."""

    def weights_and_targets(**recipe):
        architecture = job().configuration.architecture.model_copy(
            update={
                "features": (4, 4, 4, 4),
                "strides": ((1, 1, 1), (2, 2, 2), (2, 2, 2), (1, 2, 1)),
                "kernels": ((3, 3, 3),) * 4,
                "encoder_blocks": (1, 1, 1, 1),
                "decoder_blocks": (1, 1, 1),
            }
        )
        task = job(recipe=recipe, architecture=architecture)
        batch = batch_maker(task, reader).make(0)
        assert make_learner(task).learn(batch) < 10
        return task.scale_weights, [target.shape[1:] for target in batch.targets]

    full, half, quarter = (8, 16, 12), (4, 8, 6), (2, 4, 3)
    assert weights_and_targets() == (pytest.approx((2 / 3, 1 / 3, 0)), [full, half])
    given = {"deep_supervision_weights": (0.7, 0.2, 0.1)}
    assert weights_and_targets(**given) == (pytest.approx((0.7, 0.2, 0.1)), [full, half, quarter])
    assert weights_and_targets(deep_supervision_weights=(1.0, 0.0, 3.0)) == (
        (0.25, 0, 0.75),
        [full, half, quarter],
    )
    assert weights_and_targets(deep_supervision_weights=(2.0,)) == ((1, 0, 0), [full])
    assert weights_and_targets(deep_supervision=False, **given) == ((1.0,), [full])


@pytest.mark.parametrize("name", ["dice_topk", "ce", "dice"])
def test_the_loss_of_the_recipe(job, reader, name):
    batch = batch_maker(job(), reader).make(0)
    assert make_learner(job(recipe={"loss": name})).learn(batch) != make_learner(job()).learn(batch)


def test_batches_per_epoch(job, reader):
    assert batch_maker(job(), reader).per_epoch == 5
    assert batch_maker(job(fold=Fold(train=("1",), val=())), reader).per_epoch == 3
