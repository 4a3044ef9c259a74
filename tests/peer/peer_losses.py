"""Run by nnU-Net's Python: its losses on tensors from files.

    PEER_PYTHON peer_losses.py JOBS.json OUTPUT.json

Losses are made as nnU-Net's trainer makes them (method.md section 14). Only nnU-Net's public classes are called.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss


def main(jobs, output):
    found = {job["name"]: value_of(job) for job in json.loads(Path(jobs).read_text())}
    Path(output).write_text(json.dumps(found))


def value_of(job):
    loss = DeepSupervisionWrapper(loss_of(job), job["weights"])
    with np.load(job["file"]) as arrays:
        n = len(job["weights"])
        logits = [torch.from_numpy(arrays[f"logits {i}"]) for i in range(n)]
        targets = [torch.from_numpy(arrays[f"target {i}"]) for i in range(n)]
    if not job["regions"]:
        targets = [target[:, None].float() for target in targets]
    return float(loss(logits, targets))


def loss_of(job):
    dice = {"batch_dice": job["batch_dice"], "smooth": 1e-5, "do_bg": job["regions"], "ddp": False}
    if job["regions"]:
        return DC_and_BCE_loss(
            {}, dice, use_ignore_label=job["ignore"] is not None, dice_class=MemoryEfficientSoftDiceLoss
        )
    return DC_and_CE_loss(
        dice,
        {},
        weight_ce=1,
        weight_dice=1,
        ignore_label=job["ignore"],
        dice_class=MemoryEfficientSoftDiceLoss,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
