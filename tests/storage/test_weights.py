"""Weights files: whole, and nothing but data."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from segflow.contracts.errors import PredictionError
from segflow.storage.weights import CheckpointFile, load_tensors, save_tensors

CONTENT = {"weights": {"a.b": torch.arange(6.0).reshape(2, 3)}, "card": "{}", "epoch": 3, "rate": [0.1, None]}


class Malicious:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


def same(found, expected):
    assert found.keys() == expected.keys()
    torch.testing.assert_close(found["weights"], expected["weights"], rtol=0, atol=0)
    assert {k: v for k, v in found.items() if k != "weights"} == {
        k: v for k, v in expected.items() if k != "weights"
    }


def test_round_trip(tmp_path):
    save_tensors(tmp_path / "model.pt", CONTENT)
    same(load_tensors(tmp_path / "model.pt"), CONTENT)
    assert list(tmp_path.iterdir()) == [tmp_path / "model.pt"]


def test_objects_are_refused_and_not_run(tmp_path):
    torch.save({"weights": Malicious(tmp_path / "owned")}, tmp_path / "model.pt")
    with pytest.raises(
        PredictionError, match=r"model\.pt cannot be loaded: .* more than tensors and plain data"
    ):
        load_tensors(tmp_path / "model.pt")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_truncated(keep, tmp_path):
    save_tensors(tmp_path / "whole.pt", CONTENT)
    whole = (tmp_path / "whole.pt").read_bytes()
    n = int(keep * len(whole)) if keep < 1 else keep
    (tmp_path / "part.pt").write_bytes(whole[:n])
    with pytest.raises(PredictionError, match=r"part\.pt cannot be loaded: it is damaged"):
        load_tensors(tmp_path / "part.pt")


def test_a_larger_file_cut_in_the_middle(tmp_path):
    save_tensors(tmp_path / "whole.pt", {"weights": {"a": torch.arange(2000.0)}, "card": "{}"})
    whole = (tmp_path / "whole.pt").read_bytes()
    for part in range(1, 20):
        (tmp_path / "part.pt").write_bytes(whole[: len(whole) * part // 20])
        with pytest.raises(PredictionError, match=r"part\.pt cannot be loaded: it is damaged"):
            load_tensors(tmp_path / "part.pt")


@pytest.mark.parametrize("content", [b"hello world this is text", b'{"a": 1}', b"(" * 40])
def test_another_file(content, tmp_path):
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(PredictionError, match=r"a\.pt cannot be loaded"):
        load_tensors(tmp_path / "a.pt")


def test_a_tensor_alone(tmp_path):
    torch.save(torch.zeros(3), tmp_path / "a.pt")
    with pytest.raises(PredictionError, match=r"a\.pt cannot be loaded"):
        load_tensors(tmp_path / "a.pt")


def test_missing(tmp_path):
    with pytest.raises(PredictionError, match=r"a\.pt does not exist"):
        load_tensors(tmp_path / "a.pt")


def test_checkpoint(tmp_path):
    store = CheckpointFile(tmp_path / "new" / "state.pt")
    assert store.load() is None
    store.save(CONTENT)
    store.save({**CONTENT, "epoch": 4})
    same(store.load(), {**CONTENT, "epoch": 4})


def test_equal_content_gives_equal_bytes(tmp_path):
    for name in ("a.pt", "other.pt"):
        save_tensors(tmp_path / name, {"weights": {"w": torch.arange(5.0)}, "card": "{}"})
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "other.pt").read_bytes()
