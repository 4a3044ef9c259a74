"""Called by nnunet_worker.py: nnU-Net's networks and losses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager


def shapes(plans, dataset):
    """Input channels, outputs and the sorted shapes of all parameters, of each configuration of a plans.json."""
    plans, description = PlansManager(plans), json.loads(Path(dataset).read_text())
    found = {}
    for name in plans.available_configurations:
        configuration = plans.get_configuration(name)
        n_in = determine_num_input_channels(plans, configuration, description)
        n_out = plans.get_label_manager(description).num_segmentation_heads
        network = get_network_from_plans(
            configuration.network_arch_class_name,
            configuration.network_arch_init_kwargs,
            configuration.network_arch_init_kwargs_req_import,
            n_in,
            n_out,
            deep_supervision=True,
        )
        found[name] = [n_in, n_out, sorted([*parameter.shape] for parameter in network.parameters())]
    return found


def outputs(jobs, output):
    """All names of each tensor, by job; logits and gradients are written to OUTPUT/NAME_PRECISION.npz."""
    names = {}
    for job in jobs:
        network = loaded(job)
        groups = {}
        for name, tensor in network.state_dict().items():
            groups.setdefault(tensor.data_ptr(), []).append(name)
        names[job["name"]] = list(groups.values())
        for precision in ("float32", "float64"):
            np.savez(Path(output) / f"{job['name']}_{precision}.npz", **passed(network, job, precision))
    return names


def loaded(job):
    """A network with the weights of a checkpoint that segflow wrote."""
    entry = job["architecture"]
    network = get_network_from_plans(
        entry["network_class_name"],
        entry["arch_kwargs"],
        entry["_kw_requires_import"],
        job["input_channels"],
        job["output_channels"],
        deep_supervision=True,
    )
    network.load_state_dict(torch.load(job["checkpoint"], weights_only=True)["network_weights"])
    return network


def refusal(architecture):
    """What nnU-Net says of an architecture that it cannot build."""
    names = ("network_class_name", "arch_kwargs", "_kw_requires_import")
    try:
        get_network_from_plans(*(architecture[name] for name in names), 1, 2, deep_supervision=True)
    except TypeError as error:
        return str(error)
    return "built"


def passed(network, job, precision):
    """Logits of all levels, and the gradients of their products with fixed slopes."""
    network.to(getattr(torch, precision)).zero_grad()
    with np.load(job["arrays"]) as file:
        arrays = {key: torch.from_numpy(array.astype(precision)) for key, array in file.items()}
    logits = network(arrays["image"])
    sum((y * arrays[f"slope {i}"]).sum() for i, y in enumerate(logits)).backward()
    found = {f"logits {i}": y.detach().numpy() for i, y in enumerate(logits)}
    return found | {f"gradient {name}": p.grad.numpy() for name, p in network.named_parameters()}


def losses(jobs):
    """A number per job; losses are made as nnU-Net's trainer makes them (method.md section 14)."""
    return [loss_of(**job) for job in jobs]


def loss_of(arrays, weights, regions, ignore, batch_dice):
    dice = {"batch_dice": batch_dice, "smooth": 1e-5, "do_bg": regions, "ddp": False}
    if regions:
        loss = DC_and_BCE_loss(
            {}, dice, use_ignore_label=ignore is not None, dice_class=MemoryEfficientSoftDiceLoss
        )
    else:
        loss = DC_and_CE_loss(
            dice, {}, weight_ce=1, weight_dice=1, ignore_label=ignore, dice_class=MemoryEfficientSoftDiceLoss
        )
    with np.load(arrays) as found:
        logits, targets = (
            [torch.from_numpy(found[f"{kind} {i}"]) for i in range(len(weights))]
            for kind in ("logits", "target")
        )
    if not regions:
        targets = [target[:, None].float() for target in targets]
    return float(DeepSupervisionWrapper(loss, weights)(logits, targets))
