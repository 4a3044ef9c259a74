"""Weights of another network: taken over whole or not at all."""

from __future__ import annotations

import pytest
import torch

from segflow.contracts.errors import TrainingError
from segflow.contracts.plan import Architecture
from segflow.network.unet import build_network
from segflow.network.weights import load_body_, load_whole_

PLAN = Architecture(
    encoder="plain",
    features=(4, 8, 16),
    strides=((1, 1), (2, 2), (2, 2)),
    kernels=((3, 3),) * 3,
    encoder_blocks=(2,) * 3,
    decoder_blocks=(2,) * 2,
)


def network(plan=PLAN, *, channels=1, outputs=3, seed=0):
    return build_network(plan, input_channels=channels, output_channels=outputs, seed=seed)


def test_all_but_the_heads():
    own, other = network(seed=1), network(seed=2, outputs=5)
    before = {name: tensor.clone() for name, tensor in own.state_dict().items()}
    load_body_(own, other.state_dict(), where="x")
    for name, tensor in own.state_dict().items():
        expected = before[name] if "seg_layers" in name else other.state_dict()[name]
        assert torch.equal(tensor, expected), name


def test_heads_of_the_same_size_stay_too():
    own, other = network(seed=1), network(seed=2)
    head = "decoder.seg_layers.0.weight"
    before = own.state_dict()[head].clone()
    load_body_(own, other.state_dict(), where="x")
    assert torch.equal(own.state_dict()[head], before)


def test_with_the_heads():
    own, other = network(seed=1), network(seed=2)
    load_whole_(own, other.state_dict(), where="x")
    assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in own.state_dict().items())


@pytest.mark.parametrize("load_", [load_body_, load_whole_])
def test_every_tensor_that_does_not_fit_is_listed_and_nothing_changes(load_):
    own = network()
    before = {name: tensor.clone() for name, tensor in own.state_dict().items()}
    given = {**network(channels=2, seed=5).state_dict(), "decoder.extra.weight": torch.zeros(2, 3)}
    del given["encoder.stages.1.0.norm.bias"]
    with pytest.raises(TrainingError) as caught:
        load_(own, given, where="other.pt")
    message, *lines = str(caught.value).splitlines()
    assert message.startswith("the weights of other.pt are those of another network (3 tensors do not fit)")
    assert lines == [
        "  encoder.stages.0.0.conv.weight: 4 x 1 x 3 x 3 here, 4 x 2 x 3 x 3 there",
        "  encoder.stages.1.0.norm.bias: 8 here, missing there",
        "  decoder.extra.weight: missing here, 2 x 3 there",
    ]
    assert all(torch.equal(tensor, before[name]) for name, tensor in own.state_dict().items())


def test_other_classes_are_another_network_with_its_heads():
    with pytest.raises(TrainingError, match=r"seg_layers.0.bias: 3 here, 5 there"):
        load_whole_(network(), network(outputs=5).state_dict(), where="x")
