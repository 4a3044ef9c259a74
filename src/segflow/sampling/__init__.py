"""Where to cut a training patch out of a case."""

from segflow.sampling.patches import (
    annotated_target,
    draw_start,
    is_forced,
    read_patch,
)

__all__ = ["annotated_target", "draw_start", "is_forced", "read_patch"]
