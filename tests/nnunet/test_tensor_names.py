"""nnU-Net's names of tensors, written out for tiny networks; `tests/peer` compares them with nnU-Net's own."""

from __future__ import annotations

import pytest
import torch

from segflow.contracts.errors import TrainingError
from segflow.contracts.plan import Architecture
from segflow.network.unet import build_network
from segflow.nnunet.tensor_names import from_nnunet, nnunet_names, to_nnunet


def architecture(encoder: str, strides: list[str], features: tuple[int, ...], blocks: int) -> Architecture:
    n, axes = len(strides), len(strides[0])
    return Architecture(
        encoder=encoder,
        features=features,
        strides=tuple(tuple(map(int, stride)) for stride in strides),
        kernels=((3,) * axes,) * n,
        encoder_blocks=(blocks,) * n,
        decoder_blocks=(blocks,) * (n - 1),
    )


def block(*prefixes: str, bias: bool = True) -> set[str]:
    """A convolution with its norm, each under two names below each prefix."""
    leaves = {"conv": ("weight", "bias") if bias else ("weight",), "norm": ("weight", "bias")}
    places = {"conv": "all_modules.0", "norm": "all_modules.1"}
    return {
        f"{prefix}.{name}.{leaf}"
        for prefix in prefixes
        for kind, names in leaves.items()
        for leaf in names
        for name in (kind, places[kind])
    }


def layer(*prefixes: str) -> set[str]:
    return {f"{prefix}.{leaf}" for prefix in prefixes for leaf in ("weight", "bias")}


PLAIN = (
    architecture("plain", ["111", "122", "222"], (2, 4, 4), 2),
    block(
        *(
            f"{where}encoder.stages.{stage}.0.convs.{j}"
            for where in ("", "decoder.")
            for stage in range(3)
            for j in range(2)
        ),
        *(f"decoder.stages.{stage}.convs.{j}" for stage in range(2) for j in range(2)),
    )
    | layer("decoder.transpconvs.0", "decoder.transpconvs.1", "decoder.seg_layers.0", "decoder.seg_layers.1"),
)
# The first stage changes nothing, the second channels and size, the third channels alone, the fourth size alone.
RESIDUAL = (
    architecture("residual", ["11", "22", "11", "21"], (2, 4, 6, 6), 1),
    block(
        *(
            f"{where}encoder.{name}"
            for where in ("", "decoder.")
            for name in (
                "stem.convs.0",
                *(f"stages.{stage}.blocks.0.{conv}" for stage in range(4) for conv in ("conv1", "conv2")),
            )
        ),
        *(f"decoder.stages.{stage}.convs.0" for stage in range(3)),
    )
    | block(
        *(
            f"{where}encoder.stages.{name}"
            for where in ("", "decoder.")
            for name in ("1.blocks.0.skip.1", "2.blocks.0.skip.0")
        ),
        bias=False,
    )
    | layer(*(f"decoder.{name}.{stage}" for name in ("transpconvs", "seg_layers") for stage in range(3))),
)
NETWORKS = {"plain": PLAIN, "residual": RESIDUAL}


@pytest.fixture(params=NETWORKS)
def network(request):
    """Architecture, nnU-Net's names, and our state."""
    shape, expected = NETWORKS[request.param]
    state = build_network(shape, input_channels=2, output_channels=3, seed=3).state_dict()
    return shape, expected, state


def test_names_of_the_method(network):
    shape, expected, state = network
    names = [name for several in nnunet_names(state, shape).values() for name in several]
    assert len(names) == len(set(names))
    assert set(names) == expected


def test_to_nnunet_and_back(network):
    shape, expected, state = network
    theirs = to_nnunet(state, shape)
    assert theirs.keys() == expected
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
    lines = str(caught.value).splitlines()
    assert lines[0] == "file.pth cannot be understood:"
    assert sorted(lines[1:]) == sorted(
        [
            f"  {changed}: differs from the same tensor under another name",
            "  encoder.attention.weight: segflow's networks have no such tensor",
            "  x.y: segflow's networks have no such tensor",
        ]
    )
