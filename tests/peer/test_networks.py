"""nnU-Net's networks with segflow's weights: the same names, the same logits, the same gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from case_samples import CARD, architecture_of, configuration_of

from segflow.network.unet import build_network
from segflow.nnunet.checkpoints import save_nnunet_checkpoint
from segflow.nnunet.tensor_names import from_nnunet, nnunet_names

pytestmark = pytest.mark.peer

INPUTS, OUTPUTS = 2, 3
#: Of the largest value: of logits in float32, and of each tensor's gradient in float64 and, roughly, in float32.
TOLERANCE, EXACT, ROUGH = 1e-5, 1e-9, 0.1
SHAPES = {2: (48, 32), 3: (12, 32, 24)}


# Anisotropic ones, and residual stages that change channels without size and size without channels.
ARCHITECTURES = {
    "plain_2d": architecture_of(["11", "22", "21"], (8, 16, 24)),
    "bare_norms": architecture_of(["11", "22", "21"], (8, 16, 24)).model_copy(update={"norm_affine": False}),
    "plain_3d": architecture_of(["111", "122", "222"], (8, 16, 24), kernels=["133", "333", "333"]),
    "residual_2d": architecture_of(["11", "22", "11", "21"], (8, 16, 24, 24), encoder="residual"),
    "residual_3d": architecture_of(
        ["111", "122", "222"], (8, 16, 24), kernels=["133", "333", "333"], encoder="residual"
    ),
}


def randomised(name):
    """A network none of whose tensors is as trivial as the initial ones."""
    network = build_network(ARCHITECTURES[name], input_channels=INPUTS, output_channels=OUTPUTS, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for key, tensor in network.named_parameters():
            if tensor.ndim == 1:
                centre = 1.0 if key.endswith("norm.weight") else 0.0
                tensor.copy_(centre + 0.3 * torch.randn(tensor.shape, generator=generator))
    network.scales = ARCHITECTURES[name].n_stages - 1
    return network


def prepared(name, folder):
    """A job for nnU-Net: a checkpoint, an image, and slopes of the logits."""
    network, shape = randomised(name), ARCHITECTURES[name]
    configuration = configuration_of((1.0,) * shape.dimensions, ("zscore",) * INPUTS)
    configuration = configuration.model_copy(update={"architecture": shape})
    card = CARD.model_copy(update={"configuration": configuration})
    save_nnunet_checkpoint(folder / f"{name}.pth", network.state_dict(), card, mirroring=True)
    rng = np.random.default_rng(5)
    image = rng.standard_normal((2, INPUTS, *SHAPES[shape.dimensions]), dtype=np.float32)
    logits = network(torch.from_numpy(image))
    slopes = {f"slope {i}": rng.standard_normal(y.shape, dtype=np.float32) for i, y in enumerate(logits)}
    np.savez(folder / f"{name}.npz", image=image, **slopes)
    return {
        "name": name,
        "architecture": shape.model_dump(mode="json"),
        "input_channels": INPUTS,
        "output_channels": OUTPUTS,
        "checkpoint": folder / f"{name}.pth",
        "arrays": folder / f"{name}.npz",
    }


@pytest.fixture(scope="module")
def made(nnunet, tmp_path_factory):
    """A folder with nnU-Net's logits and gradients of all networks, and its names of tensors."""
    folder = tmp_path_factory.mktemp("networks")
    (folder / "out").mkdir()
    jobs = [prepared(name, folder) for name in ARCHITECTURES]
    return folder, nnunet.call("nnunet_networks.outputs", folder, jobs=jobs, output=folder / "out")


def passed(name, folder, precision):
    """segflow's logits and gradients, and nnU-Net's."""
    network = randomised(name).to(getattr(torch, precision))
    with np.load(folder / f"{name}.npz") as file:
        arrays = {key: torch.from_numpy(array.astype(precision)) for key, array in file.items()}
    logits = network(arrays["image"])
    sum((y * arrays[f"slope {i}"]).sum() for i, y in enumerate(logits)).backward()
    gradients = {key: parameter.grad for key, parameter in network.named_parameters()}
    with np.load(folder / "out" / f"{name}_{precision}.npz") as file:
        theirs = {key: torch.from_numpy(array) for key, array in file.items()}
    their_logits = [theirs.pop(f"logits {i}") for i in range(len(logits))]
    their_gradients = {key.removeprefix("gradient "): array for key, array in theirs.items()}
    return logits, their_logits, gradients, from_nnunet(their_gradients, where="gradients")


def relative(ours, theirs):
    return float((ours.detach() - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_same_names_and_logits(made, name, note_difference):
    folder, names = made
    found = nnunet_names(randomised(name).state_dict(), ARCHITECTURES[name])
    assert sorted(map(sorted, found.values())) == sorted(map(sorted, names[name]))
    ours, theirs, _, _ = passed(name, folder, "float32")
    assert [y.shape for y in ours] == [y.shape for y in theirs]
    worst = max(map(relative, ours, theirs))
    note_difference(f"{name}, logits", f"{worst:.1e} of the largest")
    assert worst < TOLERANCE


@pytest.mark.parametrize("change", [{"upsampling_bias": False}, {"head_bias": False}, {"heads": 1}], ids=str)
def test_networks_that_nnunet_does_not_have_are_refused(nnunet, tmp_path, change):
    entry = ARCHITECTURES["plain_2d"].model_copy(update=change).model_dump(mode="json")
    said = nnunet.call("nnunet_networks.refusal", tmp_path, architecture=entry)
    assert "__init__() got an unexpected keyword argument" in said


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_same_gradients(made, name, note_difference):
    """A bias in front of a norm has no gradient but for rounding.

    In float32 the rounding of another kernel sometimes changes the sign of a value near 0, and with it the slope of the
    leaky ReLU: gradients then differ by far more than by rounding. So they are compared in float64, where that does not
    happen, and only roughly in float32.
    """
    folder, _ = made
    _, _, ours, theirs = passed(name, folder, "float64")
    assert ours.keys() == theirs.keys()
    worst = {key: relative(ours[key], theirs[key]) for key in ours if not key.endswith("conv.bias")}
    note_difference(f"{name}, gradients", f"{max(worst.values()):.1e} of each tensor's largest")
    assert not {key: value for key, value in worst.items() if value > EXACT}
    _, _, single, their_single = passed(name, folder, "float32")
    for program, gradients in (("segflow", single), ("nnU-Net", their_single)):
        errors = sorted(relative(gradients[key].double(), theirs[key]) for key in worst)
        text = f"median {errors[len(errors) // 2]:.1e}, largest {errors[-1]:.1e}"
        note_difference(f"{name}, float32, {program}", text)
        assert errors[-1] < ROUGH
