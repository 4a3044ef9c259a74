"""A network on disk: weights and card in one file."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from case_samples import CARD

from segflow.contracts.errors import PredictionError
from segflow.network.unet import build_network
from segflow.storage.weights import load_network, load_tensors, save_network, save_tensors


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build_network(CARD.configuration.architecture, input_channels=2, output_channels=3)


def test_round_trip(network, tmp_path):
    save_network(tmp_path / "model.pt", CARD, network.state_dict())
    card, found = load_network(tmp_path / "model.pt")
    assert card == CARD
    assert not found.training
    image = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 2, 8, 8, 8)).astype(np.float32))
    with torch.no_grad():
        torch.testing.assert_close(found(image), network.eval()(image), rtol=0, atol=0)


def test_a_missing_file(tmp_path):
    with pytest.raises(PredictionError, match=r"model\.pt does not exist"):
        load_network(tmp_path / "model.pt")


def test_a_damaged_file(network, tmp_path):
    save_network(tmp_path / "model.pt", CARD, network.state_dict())
    whole = (tmp_path / "model.pt").read_bytes()
    (tmp_path / "model.pt").write_bytes(whole[:1000])
    with pytest.raises(PredictionError, match=r"model\.pt cannot be loaded: it is damaged"):
        load_network(tmp_path / "model.pt")


@pytest.mark.parametrize("content", [{"network": {}}, {"weights": {}}, {"card": "{}"}])
def test_a_weights_file_of_another_program(content, tmp_path):
    save_tensors(tmp_path / "model.pt", content)
    with pytest.raises(PredictionError, match=r"model\.pt is not a weights file of segflow"):
        load_network(tmp_path / "model.pt")


def test_a_card_that_is_not_understood(network, tmp_path):
    save_network(tmp_path / "model.pt", CARD, network.state_dict())
    content = load_tensors(tmp_path / "model.pt")
    save_tensors(tmp_path / "model.pt", content | {"card": content["card"].replace("n_outputs", "outputs")})
    with pytest.raises(PredictionError, match=r"model\.pt: 'n_outputs': Field required"):
        load_network(tmp_path / "model.pt")
