"""A small data set laid out on disk."""

from __future__ import annotations

import json

import pytest
from image_samples import DESCRIPTION, FILES, save

from segflow.contracts.case import Case


@pytest.fixture
def make(tmp_path):
    """Lay out a data set of empty files."""

    def lay_out(files=FILES, ending=".nii.gz", without=(), **changes):
        description = {k: v for k, v in (DESCRIPTION | changes).items() if k not in without}
        (tmp_path / "dataset.json").write_text(json.dumps(description))
        for name in files:
            file = tmp_path / f"{name}{ending}"
            file.parent.mkdir(exist_ok=True)
            file.touch()
        return tmp_path

    return lay_out


@pytest.fixture
def write_case(tmp_path):
    """Write channels and labels as a case; each is an array, or an array with its spacing."""

    def write(channels, labels=None):
        files = tuple(tmp_path / f"one_{number:04d}.mha" for number in range(len(channels)))
        for file, channel in zip(files, channels, strict=True):
            save(file, *channel) if isinstance(channel, tuple) else save(file, channel)
        if labels is None:
            return Case("one", files)
        path = tmp_path / "one.mha"
        save(path, *labels) if isinstance(labels, tuple) else save(path, labels)
        return Case("one", files, path)

    return write
