"""Schemes by channel name."""

from __future__ import annotations

import pytest

from segflow.planning.plan import mask_normalization, normalizations


@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        ("CT", "ct"),
        ("ct", "ct"),
        ("CT_contrast", "zscore"),
        ("noNorm", "none"),
        ("zscore", "zscore"),
        ("rescale_to_0_1", "rescale_0_1"),
        ("RGB_to_0_1", "rgb_0_1"),
        ("T1", "zscore"),
    ],
)
def test_scheme(name, scheme):
    assert normalizations([name]) == (scheme,)


def test_one_scheme_per_channel_in_order():
    assert normalizations(["T2", "CT"]) == ("zscore", "ct")


@pytest.mark.parametrize(("relative_size", "masked"), [(0.7499, True), (0.75, False), (1.0, False)])
def test_mask_only_after_a_large_crop_and_for_zscore(relative_size, masked):
    assert mask_normalization(["zscore", "ct", "none"], relative_size) == (masked, False, False)
