"""segflow: a self-configuring segmentation pipeline; docs/architecture.md describes its packages."""

__version__ = "0.1.0"
