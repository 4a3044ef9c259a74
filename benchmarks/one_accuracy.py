"""One short training of nnU-Net with its validation, in nnU-Net's environment: `accuracy.py` calls this.

python one_accuracy.py JOB.json        # the last line names the summary.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(job["threads"])
    prepared = Path(job["prepared"])
    plans = json.loads((prepared / "nnUNetPlans.json").read_text())
    plans["plans_name"] = f"narrow_{job['seed']}"
    plans["continue_training"] = False
    configuration = plans["configurations"]["3d_fullres"]
    configuration["batch_size"] = job["batch"]
    network = configuration["architecture"]["arch_kwargs"]
    network["features_per_stage"] = [job["width"] * 2**stage for stage in range(network["n_stages"])]
    description = json.loads((prepared / "dataset.json").read_text())
    trainer = nnUNetTrainer(plans, "3d_fullres", 0, description, device=torch.device("cpu"))
    trainer.num_epochs = job["epochs"]
    trainer.num_iterations_per_epoch = job["iterations"]
    trainer.num_val_iterations_per_epoch = job["validation_iterations"]
    trainer.run_training()
    trainer.perform_actual_validation(save_probabilities=False)
    summary = Path(trainer.output_folder) / "validation" / "summary.json"
    print(json.dumps({"summary": str(summary)}))


if __name__ == "__main__":
    main()
