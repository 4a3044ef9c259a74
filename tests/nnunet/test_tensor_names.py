"""nnU-Net's names of tensors, written out for tiny networks; `tests/peer` compares them with nnU-Net's own."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from case_samples import architecture_of

from segflow.contracts.errors import TrainingError
from segflow.network.unet import build_network
from segflow.nnunet.tensor_names import from_nnunet, nnunet_names, to_nnunet


def blocks(*names: str, bias: bool = True) -> set[str]:
    """A convolution with its norm, each under two names."""
    leaves = ("weight", "bias") if bias else ("weight",)
    conv = product(names, ("conv", "all_modules.0"), leaves)
    norm = product(names, ("norm", "all_modules.1"), ("weight", "bias"))
    return {".".join(parts) for parts in (*conv, *norm)}


def encoder(names: set[str]) -> set[str]:
    """Listed below the decoder again."""
    return {f"{where}{name}" for where in ("encoder.", "decoder.encoder.") for name in names}


def decoder(n_levels: int, n_blocks: int) -> set[str]:
    levels = range(n_levels)
    layers = product(("transpconvs", "seg_layers"), levels, ("weight", "bias"))
    return blocks(*(f"decoder.stages.{level}.convs.{i}" for level in levels for i in range(n_blocks))) | {
        f"decoder.{kind}.{level}.{leaf}" for kind, level, leaf in layers
    }


NETWORKS = {
    "plain": (
        architecture_of(["111", "122", "222"], (2, 4, 4)),
        encoder(blocks(*(f"stages.{stage}.0.convs.{i}" for stage in range(3) for i in range(2))))
        | decoder(2, 2),
    ),
    # The first stage changes nothing, the second channels and size, the third channels alone, the fourth size alone.
    "residual": (
        architecture_of(["11", "22", "11", "21"], (2, 4, 6, 6), encoder="residual", blocks=1),
        encoder(
            blocks("stem.convs.0")
            | blocks(
                *(f"stages.{stage}.blocks.0.{conv}" for stage in range(4) for conv in ("conv1", "conv2"))
            )
            | blocks("stages.1.blocks.0.skip.1", "stages.2.blocks.0.skip.0", bias=False)
        )
        | decoder(3, 1),
    ),
}


@pytest.fixture(params=NETWORKS)
def network(request):
    """Architecture, nnU-Net's names, and the state of segflow's network."""
    shape, expected = NETWORKS[request.param]
    state = build_network(shape, input_channels=2, output_channels=3, seed=3).state_dict()
    return shape, expected, state


def test_to_nnunet_and_back(network):
    shape, expected, state = network
    names = [name for several in nnunet_names(state, shape).values() for name in several]
    theirs = to_nnunet(state, shape)
    assert sorted(names) == sorted(theirs) == sorted(expected)
    back = from_nnunet(theirs, where="x")
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in state.items())


def test_duplicates_are_the_same_tensor(network):
    shape, _, state = network
    theirs = to_nnunet(state, shape)
    for names in nnunet_names(state, shape).values():
        assert len({theirs[name].data_ptr() for name in names}) == 1
    assert all(tensor.is_contiguous() for tensor in theirs.values())


@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod.", "module._orig_mod."])
def test_names_of_wrapped_networks(network, wrapper):
    shape, _, state = network
    theirs = {f"{wrapper}{name}": tensor for name, tensor in to_nnunet(state, shape).items()}
    assert from_nnunet(theirs, where="x").keys() == state.keys()


def test_what_cannot_be_understood_is_listed(network):
    shape, _, state = network
    theirs = to_nnunet(state, shape) | {"encoder.attention.weight": torch.zeros(1), "x.y": torch.zeros(1)}
    changed = "decoder.stages.0.convs.0.all_modules.1.bias"
    theirs[changed] = theirs[changed] + 1
    with pytest.raises(TrainingError) as caught:
        from_nnunet(theirs, where="file.pth")
    first, *lines = str(caught.value).splitlines()
    assert first == "file.pth cannot be understood:"
    assert sorted(lines) == [
        f"  {changed}: differs from the same tensor under another name",
        "  encoder.attention.weight: segflow's networks have no such tensor",
        "  x.y: segflow's networks have no such tensor",
    ]
