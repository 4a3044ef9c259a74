"""Checkpoints of nnU-Net: NumPy's numbers and nothing else beside tensors and plain data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from case_samples import CARD

from segflow.contracts.errors import PredictionError, TrainingError
from segflow.network.unet import build_network
from segflow.nnunet import checkpoints
from segflow.nnunet.checkpoints import load_nnunet_checkpoint, load_weights_and_card, save_nnunet_checkpoint
from segflow.nnunet.tensor_names import to_nnunet
from segflow.storage.weights import load_tensors, save_network, save_tensors

STATE = build_network(CARD.configuration.architecture, input_channels=2, output_channels=3).state_dict()
NUMBERS = [
    np.float64(0.25), np.float32(-1.5), np.float16(2), np.int64(-7), np.uint8(200), np.bool_(True),
    np.float64("nan"), np.array(3.5, ">f8")[()],
]  # fmt: skip


def theirs(**changes):
    """As nnU-Net's trainer writes it."""
    return {
        "network_weights": to_nnunet(STATE, CARD.configuration.architecture),
        "optimizer_state": {"state": {}, "param_groups": [{"lr": 0.01, "nesterov": True}]},
        "grad_scaler_state": None,
        "logging": {"mean_fg_dice": NUMBERS, "train_losses": [np.float32(1)], "lrs": [0.01]},
        "_best_ema": np.float64(0.5),
        "current_epoch": 3,
        "init_args": {"configuration": "3d_fullres", "fold": 0, "device": torch.device("cpu")},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1, 2),
        **changes,
    }


def assert_same(found):
    assert found.keys() == STATE.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in STATE.items())


def test_a_checkpoint_of_nnunet(tmp_path):
    torch.save(theirs(), tmp_path / "a.pth")
    assert_same(load_weights_and_card(tmp_path / "a.pth")[0])
    found = load_nnunet_checkpoint(tmp_path / "a.pth")
    assert_same(found.weights)
    assert (found.trainer, found.configuration, found.epochs) == ("nnUNetTrainer", "3d_fullres", 3)
    assert found.mirroring == ("z", "y", "x")
    assert found.card is None


def test_a_weights_file_of_segflow(tmp_path):
    save_network(tmp_path / "model.pt", CARD, STATE)
    assert_same(load_weights_and_card(tmp_path / "model.pt")[0])


@pytest.mark.parametrize("mirroring", [True, False])
def test_written_and_read(tmp_path, mirroring):
    save_nnunet_checkpoint(tmp_path / "a.pth", STATE, CARD, mirroring=mirroring)
    found = load_nnunet_checkpoint(tmp_path / "a.pth")
    assert_same(found.weights)
    assert (found.configuration, found.epochs, found.card) == ("3d_fullres", 5, CARD)
    assert found.mirroring == (("z", "y", "x") if mirroring else ())
    content = load_tensors(tmp_path / "a.pth")  # plain data throughout
    assert content["inference_allowed_mirroring_axes"] == ((0, 1, 2) if mirroring else None)
    assert content["init_args"]["fold"] == 1


def test_numbers_become_plain_ones_here_and_are_refused_elsewhere(tmp_path):
    torch.save({"numbers": NUMBERS}, tmp_path / "a.pth")
    found = checkpoints._load(tmp_path / "a.pth")["numbers"]
    assert [type(number) for number in found] == [float, float, float, int, int, bool, float, float]
    np.testing.assert_array_equal(found, [float(number) for number in NUMBERS])
    with pytest.raises(PredictionError, match="more than tensors and plain data"):
        load_tensors(tmp_path / "a.pth")


class Malicious:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


@pytest.mark.parametrize(
    "hidden",
    [
        Malicious,
        lambda _: np.arange(3),
        lambda _: np.array(["a"], object)[:],
        lambda _: np.datetime64("2020-01-01"),
        lambda _: np.str_("text"),
        lambda target: target,
    ],
)
def test_anything_else_is_refused_and_not_run(tmp_path, hidden):
    torch.save(theirs(logging=hidden(tmp_path / "owned")), tmp_path / "a.pth")
    for load in (load_weights_and_card, load_nnunet_checkpoint):
        with pytest.raises(PredictionError, match="holds more than tensors and plain data"):
            load(tmp_path / "a.pth")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("content", [{}, {"network_weights": 3}, {"network_weights": {"a": 1}}])
def test_a_missing_file_and_one_of_something_else(tmp_path, content):
    with pytest.raises(PredictionError, match="does not exist"):
        load_weights_and_card(tmp_path / "a.pth")
    save_tensors(tmp_path / "a.pth", content)
    with pytest.raises(PredictionError, match=r"neither a weights file of segflow .* nor a checkpoint"):
        load_weights_and_card(tmp_path / "a.pth")
    with pytest.raises(PredictionError, match="not a checkpoint of nnU-Net"):
        load_nnunet_checkpoint(tmp_path / "a.pth")


def test_a_network_segflow_does_not_have(tmp_path):
    save_tensors(tmp_path / "a.pth", {"network_weights": {"vit.blocks.0.weight": torch.zeros(2)}})
    with pytest.raises(TrainingError, match=r"a\.pth cannot be understood:\n  vit\.blocks\.0\.weight: "):
        load_weights_and_card(tmp_path / "a.pth")
