"""Weights files and checkpoints: complete, and nothing but data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from case_samples import CARD

from segflow.contracts.errors import PredictionError, TrainingError
from segflow.network.unet import build_network
from segflow.storage.weights import CheckpointFile, load_network, load_tensors, save_network, save_tensors

CONTENT = {"weights": {"a.b": torch.arange(2000.0)}, "card": "{}", "epoch": 3, "rate": [0.1, None]}


class Malicious:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


def check_same(found, expected):
    assert found.keys() == expected.keys()
    torch.testing.assert_close(found.pop("weights"), expected["weights"], rtol=0, atol=0)
    assert found.items() <= expected.items()


def test_round_trip_with_equal_bytes(tmp_path):
    for name in ("model.pt", "other.pt"):
        save_tensors(tmp_path / name, CONTENT)
    check_same(load_tensors(tmp_path / "model.pt"), CONTENT)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.pt", "other.pt"]
    assert (tmp_path / "model.pt").read_bytes() == (tmp_path / "other.pt").read_bytes()


def test_objects_are_refused_and_not_run(tmp_path):
    torch.save({"weights": Malicious(tmp_path / "owned")}, tmp_path / "model.pt")
    with pytest.raises(
        PredictionError, match=r"model\.pt cannot be loaded: .* more than tensors and plain data"
    ):
        load_tensors(tmp_path / "model.pt")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    "content", [b"hello world this is text", b"\x80\x07}.", b'{"a": 1}', b"(" * 40, torch.zeros(3)]
)
def test_another_file(content, tmp_path):
    if isinstance(content, bytes):
        (tmp_path / "a.pt").write_bytes(content)
    else:
        torch.save(content, tmp_path / "a.pt")
    with pytest.raises(PredictionError, match=r"a\.pt cannot be loaded"):
        load_tensors(tmp_path / "a.pt")


def test_the_last_checkpoint_is_loaded(tmp_path):
    saved = []
    store = CheckpointFile(tmp_path / "new" / "state.pt", on_save=saved.append)
    assert store.load() is None
    store.save(CONTENT)
    store.save({**CONTENT, "epoch": 4})
    assert [state["epoch"] for state in saved] == [3, 4]
    check_same(store.load(), {**CONTENT, "epoch": 4})


# Networks.


@pytest.fixture
def network(tmp_path):
    """A network whose weights file is model.pt."""
    torch.manual_seed(0)
    made = build_network(CARD.configuration.architecture, input_channels=2, output_channels=3)
    save_network(tmp_path / "model.pt", CARD, made.state_dict())
    return made


def test_a_network_round_trip(network, tmp_path):
    card, found = load_network(tmp_path / "model.pt")
    assert card == CARD
    assert not found.training
    image = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 2, 8, 8, 8)).astype(np.float32))
    with torch.no_grad():
        torch.testing.assert_close(found(image), network.eval()(image), rtol=0, atol=0)


def test_a_network_as_safetensors(network, tmp_path):
    """The same content, and the same bytes each time."""
    for name in ("a.safetensors", "b.safetensors"):
        save_network(tmp_path / name, CARD, network.state_dict())
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    check_same(load_tensors(tmp_path / "a.safetensors"), load_tensors(tmp_path / "model.pt"))
    card, found = load_network(tmp_path / "a.safetensors")
    assert card == CARD
    assert all(torch.equal(found.state_dict()[key], value) for key, value in network.state_dict().items())


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
def test_a_file_cut_short_is_damaged(name, network, tmp_path):
    save_network(tmp_path / name, CARD, network.state_dict())
    whole = (tmp_path / name).read_bytes()
    for size in (0, 7, 100, *(len(whole) * part // 20 for part in range(1, 20)), len(whole) - 1):
        (tmp_path / name).write_bytes(whole[:size])
        with pytest.raises(PredictionError, match=rf"{name} cannot be loaded: it is damaged"):
            load_network(tmp_path / name)


@pytest.mark.parametrize("name", ["model.pt", "fold_0.safetensors"])
def test_a_missing_network(name, tmp_path):
    with pytest.raises(PredictionError, match=f"{name} does not exist"):
        load_network(tmp_path / name)


@pytest.mark.parametrize("content", [{"network": {}}, {"weights": {}}, {"card": "{}"}])
def test_a_weights_file_of_another_program(content, tmp_path):
    save_tensors(tmp_path / "model.pt", content)
    with pytest.raises(PredictionError, match=r"model\.pt is not a weights file of segflow"):
        load_network(tmp_path / "model.pt")


@pytest.mark.usefixtures("network")
def test_an_invalid_card(tmp_path):
    content = load_tensors(tmp_path / "model.pt")
    save_tensors(tmp_path / "model.pt", content | {"card": content["card"].replace("n_outputs", "outputs")})
    with pytest.raises(PredictionError, match=r"model\.pt: 'n_outputs': Field required"):
        load_network(tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda card: card.replace('"features_per_stage":[4,', '"features_per_stage":[1000000,'), "do not fit"),
        (lambda card: card.replace('"input_channels":2', '"input_channels":3'), "do not fit"),
        (lambda card: card.replace('"strides":[[1,1,1],', '"strides":['), "describes no network"),
        (lambda card: card[:50], "is not valid JSON"),
        (lambda card: "[" * 100_000, "is not valid JSON"),
        (lambda card: '{"seed": ' + "9" * 5000 + "}", "is not valid JSON"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("network")
def test_a_card_of_another_network_is_refused_before_memory_is_taken(change, words, tmp_path):
    content = load_tensors(tmp_path / "model.pt")
    card = change(content["card"])
    assert card != content["card"]
    save_tensors(tmp_path / "model.pt", content | {"card": card})
    with pytest.raises(PredictionError, match=rf"model\.pt.*{words}"):
        load_network(tmp_path / "model.pt")


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_weights_that_are_not_finite_are_neither_saved_nor_loaded(value, network, tmp_path):
    content = load_tensors(tmp_path / "model.pt")
    list(content["weights"].values())[-1].reshape(-1)[0] = value
    with pytest.raises(TrainingError, match=r"other\.pt are NaN or infinite \(.*weight|bias"):
        save_network(tmp_path / "other.pt", CARD, content["weights"])
    save_tensors(tmp_path / "model.pt", content)
    with pytest.raises(PredictionError, match=r"model\.pt are NaN or infinite"):
        load_network(tmp_path / "model.pt")
