"""Parameter counts and shapes of whole networks."""

import math

import numpy as np
import pytest
import torch
from case_samples import architecture_of

from segflow.contracts.errors import ConfigurationError
from segflow.network.device import choose_device
from segflow.network.unet import UNet, arranged, build_network, memory_format


def architecture(strides, *, cap=320, base=32, encoder="plain", kernels=None):
    n = len(strides)
    features = [min(base * 2**i, cap) for i in range(n)]
    plan = architecture_of(strides, features, encoder=encoder, kernels=kernels)
    if encoder == "plain":
        return plan
    return plan.model_copy(
        update={"encoder_blocks": (1, 3, 4, 6, 6, 6)[:n], "decoder_blocks": (1,) * (n - 1)}
    )


HIPPOCAMPUS = ["111", "222", "222", "222"]
LIVER = ["111", "222", "222", "222", "222", "222"]


@pytest.mark.parametrize(
    ("strides", "cap", "encoder", "n_parameters"),
    [
        (HIPPOCAMPUS, 320, "plain", 5_603_177),
        (["11", "22", "22", "22"], 512, "plain", 1_928_489),
        (HIPPOCAMPUS, 320, "residual", 25_895_593),
        (LIVER, 320, "plain", 31_196_399),
        (LIVER, 320, "residual", 102_350_575),
    ],
)
def test_parameter_counts_of_the_method(strides, cap, encoder, n_parameters):
    with torch.device("meta"):
        network = UNet(architecture(strides, cap=cap, encoder=encoder), input_channels=1, output_channels=3)
    assert sum(p.numel() for p in network.parameters()) == n_parameters
    assert sum(t.numel() for t in network.state_dict().values()) == n_parameters  # no duplicates


#: The low-resolution network of the FLARE 2021 entry, for patches of 80 x 192 x 160 voxels.
FLARE21 = ["111", "222", "222", "222", "222", "122"]
FLARE21_OPTIONS = {"norm_affine": False, "upsampling_bias": False, "head_bias": False, "heads": 3}


def flare21_network(**options):
    with torch.device("meta"):
        return UNet(architecture(FLARE21).model_copy(update=options), input_channels=1, output_channels=5)


@pytest.mark.parametrize(
    ("options", "n_parameters"),
    [
        ({}, 30_788_409),
        ({"norm_affine": False}, 30_788_409 - 7_680),
        ({"upsampling_bias": False}, 30_788_409 - 800),
        ({"head_bias": False}, 30_788_409 - 25),
        ({"heads": 3}, 30_788_409 - 2_880 - 2 * 5),  # with the biases of two heads
        (FLARE21_OPTIONS, 30_777_024),  # as the entry's paper says
    ],
)
def test_parameter_count_of_flare21(options, n_parameters):
    network = flare21_network(**options)
    assert sum(p.numel() for p in network.parameters()) == n_parameters
    assert sum(t.numel() for t in network.state_dict().values()) == n_parameters


def test_operations_of_flare21():
    """1,177,522,176,000 as in the entry's paper: two per multiplication of the convolutions and the three heads.

    Biases and normalisations do not count, and weights (n_in, n_out, ...) of a transposed convolution are taken for
    those of a convolution, (n_out, n_in, ...), which gives n_out multiplications per output and voxel in place of n_in.
    """
    network = flare21_network(**FLARE21_OPTIONS)
    counts = []

    def count(layer, _given, made):
        counts.append(2 * made.numel() * math.prod(layer.weight.shape[1:]))

    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv3d | torch.nn.ConvTranspose3d):
            layer.register_forward_hook(count)
    network.scales = 3
    network(torch.zeros(1, 1, 80, 192, 160, device="meta"))
    assert sum(counts) == 1_177_522_176_000


@pytest.mark.parametrize("encoder", ["plain", "residual"])
def test_a_network_without_affine_norms_and_with_one_head(encoder):
    plan = architecture(["11", "22", "22"], encoder=encoder, base=4)
    plan = plan.model_copy(update=FLARE21_OPTIONS | {"heads": 1})
    network = build_network(plan, input_channels=1, output_channels=2)
    assert not [
        name for name in network.state_dict() if "norm" in name or name.endswith("seg_layers.0.weight")
    ]
    assert network(torch.ones(1, 1, 8, 8)).isfinite().all()


@pytest.mark.parametrize("encoder", ["plain", "residual"])
@pytest.mark.parametrize(
    ("strides", "kernels"),
    [
        (["11", "22", "21"], None),
        (["111", "122", "222"], None),
        (["111", "122", "222"], ["133", "333", "333"]),
    ],
)
def test_one_output_per_decoder_level_full_resolution_first(encoder, strides, kernels):
    plan = architecture(strides, encoder=encoder, base=4, kernels=kernels)
    network = build_network(plan, input_channels=2, output_channels=5)
    shape = (8, 16, 24)[: len(strides[0])]
    x = torch.zeros(2, 2, *shape)
    single = network(x)
    network.scales = 2
    several = network(x)
    half = tuple(s // int(k) for s, k in zip(shape, strides[1], strict=True))
    assert single.shape == (2, 5, *shape)
    assert [tuple(y.shape) for y in several] == [(2, 5, *shape), (2, 5, *half)]
    assert torch.equal(single, several[0])
    assert network.decoder.stages[-1][0].conv.kernel_size == plan.kernels[0]  # that of the skip's stage


def test_same_seed_same_weights_and_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    plan = architecture(HIPPOCAMPUS, base=4)
    a, b, c = (
        build_network(plan, input_channels=1, output_channels=2, seed=seed).state_dict() for seed in (1, 1, 2)
    )
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not all(torch.equal(a[name], c[name]) for name in a)
    assert torch.equal(before, torch.get_rng_state())
    assert all(np.isfinite(tensor.numpy()).all() for tensor in a.values())


def test_an_unknown_device():
    with pytest.raises(ConfigurationError, match="must be 'auto', 'cpu' or 'cuda'"):
        choose_device("tpu")


@pytest.mark.parametrize(
    ("strides", "kernels", "learns", "layout"),
    [
        (["11", "22"], ["33", "33"], False, torch.channels_last),
        (["11", "22"], ["33", "33"], True, torch.contiguous_format),
        (["111", "122"], ["133", "333"], False, torch.channels_last_3d),
        (["111", "122"], ["133", "333"], True, torch.contiguous_format),
        (["111", "222"], ["333", "333"], True, torch.channels_last_3d),
    ],
)
def test_weights_are_stored_in_the_order_that_is_fastest_on_a_cpu(strides, kernels, learns, layout):
    network = build_network(
        architecture(strides, base=4, kernels=kernels), input_channels=2, output_channels=2
    )
    assert memory_format(network, "cpu", learns=learns) == layout
    assert memory_format(network, "cuda", learns=learns) == torch.contiguous_format
    kernel = arranged(network, "cpu", learns=learns).encoder.stages[1][0].conv.weight
    assert kernel.is_contiguous(memory_format=layout)
