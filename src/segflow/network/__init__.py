"""A plan's architecture as a torch module: plain and residual U-Nets in two and three dimensions."""

from segflow.network.unet import UNet, arranged, build_network, memory_format

__all__ = ["UNet", "arranged", "build_network", "memory_format"]
