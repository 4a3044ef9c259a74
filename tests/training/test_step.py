"""The network and one step, against the plain formula."""

import dataclasses

import numpy as np
import pytest
import torch
from tiny_problem import Reader, make_job

from segflow.contracts.errors import TrainingError
from segflow.training import step
from segflow.training.batches import BatchMaker
from segflow.training.job import Pretrained
from segflow.training.step import Learner
from segflow.training.transfer import load


def batch_of(job, number=0):
    return load(BatchMaker(job, Reader()).make(number), torch.device("cpu"))


def assert_same(found, expected):
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_first_step_is_clipped_sgd_with_nesterov_momentum():
    """The head of the coarsest output has no gradient, and stays as it is."""
    job = make_job()
    learner, plain, batch = Learner(job), Learner(job), batch_of(job)
    loss, _ = plain._forward(batch)
    loss.backward()
    gradients = {name: p.grad for name, p in plain.network.named_parameters() if p.grad is not None}
    norm = torch.sqrt(sum((g**2).sum() for g in gradients.values()))
    shrink = min(1.0, 12 / (float(norm) + 1e-6))
    expected = plain.weights()
    for name, gradient in gradients.items():
        step = gradient * shrink + 3e-5 * expected[name]
        expected[name] = expected[name] - 0.01 * (step + 0.99 * step)
    assert learner.learn(batch).read() == pytest.approx([float(loss.detach()), float(norm), 0], rel=1e-5)
    torch.testing.assert_close(learner.weights(), expected, rtol=1e-4, atol=1e-6)
    head = "decoder.seg_layers.0.weight"
    assert head not in gradients
    assert torch.equal(learner.weights()[head], expected[head])


def test_validation_changes_nothing():
    learner, batch = Learner(make_job()), batch_of(make_job(), 3)
    before = learner.weights()
    loss, counts = learner.score(batch)
    assert np.isfinite(loss)
    assert counts.shape == (3, 2)
    assert (counts[0] + counts[2]).tolist() == [(batch.targets[0] == value).sum() for value in (1, 2)]
    assert_same(learner.weights(), before)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "muon"])
def test_a_step_whose_gradients_overflow_is_left_out_even_the_first(optimizer):
    """As on a GPU, but with a scaler for the CPU: the step after it is the one that would have been the first."""
    job = make_job(recipe={"optimizer": optimizer, "momentum": 0.9})
    learner, plain, batch = Learner(job), Learner(job), batch_of(job)
    learner.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    before = learner.weights()
    hook = next(learner.network.parameters()).register_hook(lambda gradient: gradient * float("inf"))
    loss, norm, _ = learner.learn(batch).read()
    hook.remove()
    assert np.isfinite(loss)
    assert not np.isfinite(norm)
    assert_same(learner.weights(), before)
    assert learner.scaler.get_scale() == 512.0
    learner.learn(batch)
    plain.learn(batch)
    torch.testing.assert_close(learner.weights(), plain.weights(), rtol=1e-5, atol=1e-7)


def test_a_network_that_cannot_be_compiled(monkeypatch, caplog):
    def compile_nothing(network):
        def call(image):
            raise torch._dynamo.exc.BackendCompilerFailed(compile_nothing, OSError("no compiler"), None)

        return call

    monkeypatch.setattr(torch, "compile", compile_nothing)
    batch, plain = batch_of(make_job()), Learner(make_job())
    with pytest.raises(TrainingError, match=r"cannot be compiled .*set resources\.compile to false"):
        Learner(dataclasses.replace(make_job(), compile=True)).learn(batch)
    learner = Learner(dataclasses.replace(make_job(), compile=True))
    learner._must_compile = False  # as where it was tried because there is a GPU
    assert learner.learn(batch).read() == plain.learn(batch).read()
    assert "the network is not compiled" in caplog.text


@pytest.mark.parametrize(
    ("device", "epochs", "compiler", "asked", "expected"),
    [
        ("cuda", 40, True, None, True),
        ("cuda:1", 1000, True, None, True),
        ("cuda", 39, True, None, False),  # too short to win back the time
        ("cuda", 40, False, None, False),
        ("cuda", 40, True, False, False),
        ("cuda", 1, True, True, True),
        ("cpu", 1000, True, None, False),
    ],
)
def test_long_trainings_on_gpus_are_compiled(device, epochs, compiler, asked, expected, monkeypatch):
    monkeypatch.setattr(step, "has_compiler", lambda: compiler)
    job = make_job(recipe={"epochs": epochs, "iterations": 250})
    assert step.is_compiled(dataclasses.replace(job, device=device, compile=asked)) is expected


@pytest.mark.parametrize("name", ["dice_topk", "ce", "dice"])
def test_the_loss_of_the_recipe(name):
    batch = batch_of(make_job())
    first, second = (
        Learner(make_job(recipe={"loss": loss})).learn(batch).read() for loss in (name, "dice_ce")
    )
    assert first[0] != second[0]


def test_initial_weights_depend_on_the_seed_alone():
    a, b, c = (Learner(make_job(seed=seed)).weights() for seed in (1, 1, 2))
    assert_same(a, b)
    assert not torch.equal(a["encoder.stages.0.0.conv.weight"], c["encoder.stages.0.0.conv.weight"])


def with_weights_of(*, adapts_stem=False, **changes):
    weights = Learner(make_job(**changes)).weights()
    pretrained = Pretrained(weights=weights, digest="abc", where="first.pt", adapts_stem=adapts_stem)
    return dataclasses.replace(make_job(), pretrained=pretrained)


def test_pretrained_weights_with_fresh_heads():
    job = with_weights_of(seed=5)
    fresh = Learner(make_job()).weights()
    expected = {n: fresh[n] if "seg_layers" in n else t for n, t in job.pretrained.weights.items()}
    assert_same(Learner(job).weights(), expected)


def test_pretrained_weights_of_other_channels():
    """As of two channels more, which a cascade's previous stage has."""
    job = with_weights_of(adapts_stem=True, previous_stage="3d_lowres", seed=5)
    stem, found = "encoder.stages.0.0.conv.weight", Learner(job).weights()
    given = dict(job.pretrained.weights)
    assert given[stem].shape[1] == 3
    torch.testing.assert_close(found[stem], given.pop(stem).sum(dim=1, keepdim=True))
    assert all(torch.equal(found[name], tensor) for name, tensor in given.items() if "seg_layers" not in name)


def test_pretrained_weights_of_another_network():
    with pytest.raises(TrainingError, match=r"first\.pt .*\n  encoder\.stages\.0\.0\.conv\.weight: 4 x 1 x "):
        Learner(with_weights_of(previous_stage="3d_lowres"))
