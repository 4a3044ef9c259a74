"""Blocks against their formulas."""

import torch
import torch.nn.functional as F

from segflow.network.blocks import ConvBlock, InstanceNorm, ResidualBlock
from segflow.network.weights import initialise_


def test_instance_norm_is_torch_s():
    x = torch.randn(2, 5, 6, 7, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(InstanceNorm(5)(x), F.instance_norm(x, eps=1e-5))


def test_conv_block_is_conv_norm_leaky_relu():
    block = ConvBlock(3, 4, kernel=(1, 3), stride=(1, 2))
    x = torch.randn(2, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    expected = F.conv2d(x, block.conv.weight, block.conv.bias, stride=(1, 2), padding=(0, 1))
    expected = F.leaky_relu(F.instance_norm(expected, eps=1e-5), 0.01)
    torch.testing.assert_close(block(x), expected)


def test_fresh_residual_block_is_its_shortcut():
    block = ResidualBlock(3, 6, kernel=(3, 3), stride=(2, 1))
    initialise_(block, torch.Generator().manual_seed(0))
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    pooled = F.conv2d(F.avg_pool2d(x, (2, 1), (2, 1)), block.skip.conv.weight)
    torch.testing.assert_close(block(x), F.leaky_relu(F.instance_norm(pooled, eps=1e-5), 0.01))
    assert block.skip.conv.bias is None


def test_residual_block_without_change_has_a_bare_shortcut():
    block = ResidualBlock(4, 4, kernel=(3, 3, 3), stride=(1, 1, 1))
    assert block.pool is block.skip is None
    initialise_(block, torch.Generator().manual_seed(0))
    assert torch.equal(block.conv1.norm.weight, torch.ones(4))
    assert not block.conv2.norm.weight.any()
