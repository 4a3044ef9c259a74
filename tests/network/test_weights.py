"""Initial weights have the spread the method asks for."""

import pytest
import torch
from torch import nn

from segflow.network.blocks import ConvBlock, ResidualBlock
from segflow.network.weights import initialise_


@pytest.mark.parametrize(
    ("module", "fan_in"), [(nn.Conv3d(16, 64, 3), 16 * 27), (nn.ConvTranspose3d(64, 32, 2, 2), 32 * 8)]
)
def test_kaiming_normal_with_fan_in(module, fan_in):
    initialise_(module, torch.Generator().manual_seed(0))
    gain = (2 / (1 + 0.01**2)) ** 0.5
    assert float(module.weight.detach().std()) == pytest.approx(gain / fan_in**0.5, rel=0.03)
    assert not module.bias.any()


def test_normalisation_starts_as_identity_but_the_last_of_a_residual_block_as_zero():
    plain = ConvBlock(2, 3, kernel=(3, 3), stride=(1, 1))
    residual = ResidualBlock(2, 3, kernel=(3, 3), stride=(1, 1))
    for module in (plain, residual):
        initialise_(module, torch.Generator().manual_seed(0))
    assert torch.equal(plain.norm.weight, torch.ones(3))
    assert torch.equal(residual.conv1.norm.weight, torch.ones(3))
    assert not residual.conv2.norm.weight.any()
