"""Training on a real GPU: it learns, resumes, and gives the same bits again where that is asked for."""

import dataclasses

import pytest
import torch
from tiny_problem import Bar, Reader, StopAfter, Store, make_job

from segflow.contracts.errors import Interrupted
from segflow.network.blocks import InstanceNorm
from segflow.training.loop import train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]
SHORT = {"epochs": 2, "iterations": 6, "validation_iterations": 2}


def run(store=None, *, device="cuda", workers=2, **changes):
    stop = changes.pop("stop", None)
    job = dataclasses.replace(make_job(recipe=SHORT), device=device, workers=workers, **changes)
    return train(job, Reader(), store or Store(), Bar(), stop=stop)


@pytest.mark.parametrize("compiled", [False, True])
def test_the_history_is_that_of_the_cpu_but_for_rounding(compiled):
    found, expected = run(compile=compiled).history, run(device="cpu", workers=0).history
    kept = [record for record in found if not record.skipped]
    assert kept
    for record in kept:
        assert record.train_loss == pytest.approx(expected[record.epoch].train_loss, abs=0.3)
        assert record.validation_loss == pytest.approx(expected[record.epoch].validation_loss, abs=0.3)


def test_the_same_bits_again_and_after_an_interruption():
    options = {"deterministic": True, "compile": False}
    expected, store = run(**options), Store()
    with pytest.raises(Interrupted):
        run(store, stop=StopAfter(8), **options)
    for found in (run(**options), run(store, **options)):
        torch.testing.assert_close(found.weights, expected.weights, rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(2, 6, 9, 10), (2, 6, 5, 9, 10)])
def test_the_norm_is_that_of_the_cpu(shape):
    norm, x = InstanceNorm(6), torch.randn(shape, generator=torch.Generator().manual_seed(1))
    torch.nn.init.normal_(norm.weight)
    expected = norm(x)
    torch.testing.assert_close(norm.cuda()(x.cuda()).cpu(), expected, rtol=1e-4, atol=1e-5)
