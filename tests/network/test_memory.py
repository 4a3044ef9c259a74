"""What a training step keeps in a GPU's memory, counted with tensors that have no data."""

import pytest
import torch
from case_samples import labels_of
from fingerprint_samples import CASCADE
from torch._subclasses.fake_tensor import FakeTensorMode

from segflow.losses.compound import build_loss, deep_supervision_weights
from segflow.network.unet import UNet
from segflow.planning.plan import PlanInput, make_plan
from segflow.recipes.recipe import recipe_named
from segflow.recipes.training import TrainingRecipe

LABELS = labels_of(3)
DATA_SET = PlanInput(name="sample", channel_names=("CT", "T1"), n_cases=100, n_outputs=3)
#: Memory of the GPU that a recipe is for, in GB. nnU-Net's planner of M is for 8 GB, its documentation for 9 to 11.
TARGETS = {"nnunet": 8, "resenc-m": 11, "resenc-l": 24, "resenc-xl": 40}
#: Bytes per weight: itself, its gradient, its momentum.
WEIGHT_BYTES = 12


def planned(recipe, name):
    """A configuration for images that are larger than any patch."""
    return make_plan(CASCADE, DATA_SET, recipe_named(recipe).planning).configurations[name]


def network_of(configuration, device):
    """With parameters that have no data; every output but that of the coarsest level is used."""
    with torch.device("meta"):
        network = UNet(configuration.architecture, input_channels=2, output_channels=3)
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            without_data = torch.empty(parameter.shape, device=device)
            module.register_parameter(name, torch.nn.Parameter(without_data, requires_grad=device == "cpu"))
    network.scales = max(configuration.architecture.n_stages - 2, 1)
    return network


def image_of(configuration, device):
    return torch.empty(configuration.batch_size, 2, *configuration.patch_shape, device=device)


def needed_bytes(configuration):
    """Weights, what autograd keeps for the backward pass of network and loss, and twice the largest feature map.

    Autocast of the CPU stands in for that of CUDA, whose autograd needs a card; the next test holds them together.
    """
    n_scales = configuration.architecture.n_stages - 1
    loss = build_loss(LABELS, TrainingRecipe(), deep_supervision_weights(n_scales), batch_dice=True)
    saved = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        saved[storage._cdata] = storage.nbytes()
        return tensor

    with FakeTensorMode(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network = network_of(configuration, "cpu")
        with torch.autocast("cpu", torch.float16):
            logits = network(image_of(configuration, "cpu"))
        outputs = logits if isinstance(logits, list) else [logits]
        targets = [torch.empty(len(y), *y.shape[2:], dtype=torch.int16) for y in outputs]
        value = loss(outputs, targets)
        parameters = list(network.parameters())
        for parameter in parameters:
            saved.pop(parameter.untyped_storage()._cdata, None)
        assert value.requires_grad
        n_weights = sum(parameter.numel() for parameter in parameters)
        return WEIGHT_BYTES * n_weights + sum(saved.values()) + 2 * max(saved.values())


@pytest.mark.parametrize("name", ["2d", "3d_fullres"])
@pytest.mark.parametrize("recipe", TARGETS)
def test_a_training_step_fits_the_gpu_that_the_recipe_plans_for(recipe, name):
    used_gb = needed_bytes(planned(recipe, name)) / 1e9
    assert 0.5 * TARGETS[recipe] < used_gb < TARGETS[recipe]


@pytest.mark.parametrize("name", ["2d", "3d_fullres"])
@pytest.mark.parametrize("recipe", ["nnunet", "resenc-m"])
def test_all_feature_maps_are_in_half_precision_on_cuda(recipe, name):
    configuration = planned(recipe, name)
    kinds = {}
    with FakeTensorMode(), torch.no_grad():
        network = network_of(configuration, "cuda")
        for path, module in network.named_modules():
            if not list(module.children()):
                module.register_forward_hook(lambda _, __, y, path=path: kinds.update({path: y.dtype}))
        torch.set_autocast_enabled("cuda", True)
        torch.set_autocast_dtype("cuda", torch.float16)
        network(image_of(configuration, "cuda"))
    assert set(kinds.values()) == {torch.float16}, kinds
