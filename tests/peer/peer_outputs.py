"""Run by nnU-Net's Python: nnU-Net's networks with weights from checkpoints that segflow wrote.

    PEER_PYTHON peer_outputs.py JOBS.json OUTPUT

For each job there is OUTPUT/NAME_PRECISION.npz: logits of all levels, and the gradient of each parameter; and in
OUTPUT/names.json all names of the network's state, those of one tensor together. Only nnU-Net's public functions are
called.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans


def main(jobs, output):
    folder = Path(output)
    names = {}
    for job in json.loads(Path(jobs).read_text()):
        network = loaded(job)
        names[job["name"]] = same_tensors(network)
        for precision in ("float32", "float64"):
            np.savez(folder / f"{job['name']}_{precision}.npz", **passed(network, job, precision))
    (folder / "names.json").write_text(json.dumps(names))


def passed(network, job, precision):
    """Forward and backward."""
    network.to(getattr(torch, precision)).zero_grad()
    logits = network(torch.from_numpy(np.load(job["image"]).astype(precision)))
    with np.load(job["slopes"]) as slopes:
        parts = [y * torch.from_numpy(slopes[str(i)].astype(precision)) for i, y in enumerate(logits)]
    sum(part.sum() for part in parts).backward()
    found = {f"logits {i}": y.detach().numpy() for i, y in enumerate(logits)}
    return found | {f"gradient {name}": p.grad.numpy() for name, p in network.named_parameters()}


def loaded(job):
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


def same_tensors(network):
    groups = {}
    for name, tensor in network.state_dict().items():
        groups.setdefault(tensor.data_ptr(), []).append(name)
    return list(groups.values())


if __name__ == "__main__":
    main(*sys.argv[1:])
