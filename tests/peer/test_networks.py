"""nnU-Net's networks with segflow's weights: the same names, the same logits, the same gradients."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from peer_runs import read_json

from segflow.contracts.model import NetworkCard
from segflow.contracts.plan import Architecture, Configuration
from segflow.network.unet import build_network
from segflow.nnunet.checkpoints import save_nnunet_checkpoint
from segflow.nnunet.tensor_names import from_nnunet, nnunet_names

pytestmark = pytest.mark.peer

INPUTS, OUTPUTS = 2, 3
#: Of the largest value: of logits in float32, and of each tensor's gradient in float64 and, roughly, in float32.
TOLERANCE, EXACT, ROUGH = 1e-5, 1e-9, 0.1


def architecture(encoder, strides, features, kernels=None):
    n, axes = len(strides), len(strides[0])
    return Architecture(
        encoder=encoder,
        features=features,
        strides=tuple(tuple(map(int, stride)) for stride in strides),
        kernels=tuple(tuple(map(int, kernel)) for kernel in kernels or ["3" * axes] * n),
        encoder_blocks=(2,) * n if encoder == "plain" else (1, 3, 4, 6)[:n],
        decoder_blocks=(2 if encoder == "plain" else 1,) * (n - 1),
    )


# Anisotropic ones, and residual stages that change channels without size and size without channels.
ARCHITECTURES = {
    "plain_2d": architecture("plain", ["11", "22", "21"], (8, 16, 24)),
    "plain_3d": architecture("plain", ["111", "122", "222"], (8, 16, 24), ["133", "333", "333"]),
    "residual_2d": architecture("residual", ["11", "22", "11", "21"], (8, 16, 24, 24)),
    "residual_3d": architecture("residual", ["111", "122", "222"], (8, 16, 24), ["133", "333", "333"]),
}
SHAPES = {2: (48, 32), 3: (12, 32, 24)}


def randomised(name):
    """A network none of whose tensors is as trivial as the initial ones."""
    network = build_network(ARCHITECTURES[name], input_channels=INPUTS, output_channels=OUTPUTS, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for key, tensor in network.named_parameters():
            if tensor.ndim == 1:
                centre = 1.0 if key.endswith("norm.weight") else 0.0
                tensor.copy_(centre + 0.3 * torch.randn(tensor.shape, generator=generator))
    network.deep_supervision = True
    return network


def card_of(name):
    shape = ARCHITECTURES[name]
    d = shape.dimensions
    configuration = Configuration(
        name=f"{d}d",
        data_identifier="x",
        spacing_mm=(1.0,) * d,
        patch_shape=SHAPES[d],
        median_shape=SHAPES[d],
        batch_size=2,
        batch_dice=False,
        normalization=("zscore",) * INPUTS,
        mask_normalization=(False,) * INPUTS,
        architecture=shape,
    )
    return NetworkCard(
        configuration=configuration,
        input_channels=INPUTS,
        n_outputs=OUTPUTS,
        fold=0,
        seed=0,
        epochs=1,
        device="cpu",
    )


def prepared(name, folder):
    """A job for nnU-Net."""
    network = randomised(name)
    save_nnunet_checkpoint(folder / f"{name}.pth", network.state_dict(), card_of(name), mirroring=True)
    rng = np.random.default_rng(5)
    image = rng.standard_normal((2, INPUTS, *SHAPES[network.dimensions]), dtype=np.float32)
    np.save(folder / f"{name}_image.npy", image)
    logits = network(torch.from_numpy(image))
    slopes = [rng.standard_normal(tuple(y.shape), dtype=np.float32) for y in logits]
    np.savez(folder / f"{name}_slopes.npz", **{str(i): slope for i, slope in enumerate(slopes)})
    return {
        "name": name,
        "architecture": ARCHITECTURES[name].model_dump(mode="json"),
        "input_channels": INPUTS,
        "output_channels": OUTPUTS,
        "checkpoint": str(folder / f"{name}.pth"),
        "image": str(folder / f"{name}_image.npy"),
        "slopes": str(folder / f"{name}_slopes.npz"),
    }


@pytest.fixture(scope="module")
def folder(peer, tmp_path_factory):
    """What nnU-Net makes of all networks, in files."""
    made = tmp_path_factory.mktemp("networks")
    jobs = [prepared(name, made) for name in ARCHITECTURES]
    (made / "jobs.json").write_text(json.dumps(jobs))
    (made / "out").mkdir()
    peer.run("peer_outputs.py", made / "jobs.json", made / "out", folder=made)
    return made


def passed(name, folder, precision):
    """Our logits and gradients, and nnU-Net's."""
    network = randomised(name).to(getattr(torch, precision))
    logits = network(torch.from_numpy(np.load(folder / f"{name}_image.npy").astype(precision)))
    with np.load(folder / f"{name}_slopes.npz") as slopes:
        parts = [y * torch.from_numpy(slopes[str(i)].astype(precision)) for i, y in enumerate(logits)]
    sum(part.sum() for part in parts).backward()
    gradients = {key: parameter.grad for key, parameter in network.named_parameters()}
    with np.load(folder / "out" / f"{name}_{precision}.npz") as arrays:
        theirs = {key: torch.from_numpy(array) for key, array in arrays.items()}
    their_logits = [theirs.pop(f"logits {i}") for i in range(len(logits))]
    their_gradients = {key.removeprefix("gradient "): array for key, array in theirs.items()}
    return logits, their_logits, gradients, from_nnunet(their_gradients, where="gradients")


def relative(ours, theirs):
    return float((ours.detach() - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_same_names(folder, name):
    ours = nnunet_names(randomised(name).state_dict(), ARCHITECTURES[name])
    theirs = read_json(folder / "out" / "names.json")[name]
    assert sorted(map(sorted, ours.values())) == sorted(map(sorted, theirs))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_same_logits(folder, name, note_difference):
    ours, theirs, _, _ = passed(name, folder, "float32")
    assert [y.shape for y in ours] == [y.shape for y in theirs]
    worst = max(map(relative, ours, theirs))
    note_difference(f"{name}, logits", f"{worst:.1e} of the largest")
    assert worst < TOLERANCE


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_same_gradients(folder, name, note_difference):
    """A bias in front of a norm has no gradient but for rounding.

    In float32 the rounding of another kernel turns the sign of a value near 0 now and then, and with it the slope of
    the leaky ReLU: gradients then differ by far more than by rounding. So they are compared in float64, where that does
    not happen; how far float32 is from it may differ.
    """
    _, _, ours, theirs = passed(name, folder, "float64")
    assert ours.keys() == theirs.keys()
    worst = {key: relative(ours[key], theirs[key]) for key in ours if not key.endswith("conv.bias")}
    note_difference(f"{name}, gradients", f"{max(worst.values()):.1e} of each tensor's largest")
    assert not {key: value for key, value in worst.items() if value > EXACT}
    _, _, single, their_single = passed(name, folder, "float32")
    for who, gradients in (("ours", single), ("theirs", their_single)):
        errors = sorted(relative(gradients[key].double(), theirs[key]) for key in worst)
        note_difference(
            f"{name}, float32, {who}", f"median {errors[len(errors) // 2]:.1e}, largest {errors[-1]:.1e}"
        )
        assert errors[-1] < ROUGH
