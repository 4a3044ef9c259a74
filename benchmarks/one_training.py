"""Training steps or augmented samples of one program, in a process of its own: `training.py` calls this.

    python one_training.py segflow|nnunet JOB.json        # prints one line of JSON

It imports only the program it is called for.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

WARM_UP = 2
CASE_MARGIN = 1.6  # edges of the case that samples are cut from, over those of the patch that is read


def main() -> None:
    program, job = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
    torch.set_num_threads(job["threads"])
    seconds = TASKS[program, job["task"]](job)
    peak = torch.cuda.max_memory_allocated() if job["device"] == "cuda" else None
    print(json.dumps({"seconds": seconds, "gpu_bytes": peak}))


def repeated(job, work) -> list[float]:
    """Seconds of each repetition after the first ones."""
    seconds = []
    for _ in range(WARM_UP + job["repeat"]):
        start = time.perf_counter()
        work()
        if job["device"] == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return seconds[WARM_UP:]


def read_plan_json(job):
    """The plan with the job's batch size, and dataset.json."""
    plan = json.loads(Path(job["plan"]).read_text())
    plan["configurations"]["3d_fullres"]["batch_size"] = job["batch"]
    return plan, json.loads(Path(job["dataset"]).read_text())


def random_batch(job, plan):
    """Images (b, 1, *patch), and labels of every scale."""
    rng = np.random.default_rng(0)
    configuration = plan["configurations"]["3d_fullres"]
    patch = configuration["patch_size"]
    image = rng.standard_normal((job["batch"], 1, *patch), np.float32)
    strides = np.cumprod(configuration["architecture"]["arch_kwargs"]["strides"], axis=0)[:-1]
    shapes = [tuple(np.array(patch) // stride) for stride in strides]
    return image, [rng.integers(0, 3, (job["batch"], *shape)).astype(np.int16) for shape in shapes]


def our_job(job, plan, description):
    from segflow.contracts.labels import Labels
    from segflow.contracts.plan import Fold
    from segflow.nnunet.plans import plan_from_json
    from segflow.recipes.training import AugmentationRecipe, TrainingRecipe
    from segflow.training.job import TrainingJob

    return TrainingJob(
        configuration=plan_from_json(plan, where=job["plan"]).configurations["3d_fullres"],
        labels=Labels.from_json(description["labels"], None, where=job["dataset"]),
        channels=1,
        fold=Fold(train=("case",), val=()),
        training=TrainingRecipe(iterations=10**6),
        augmentation=AugmentationRecipe(),
        device=job["device"],
        seed=0,
        workers=0,
    )


def steps_segflow(job):
    from segflow.network.device import keep_freed_memory
    from segflow.training.batches import Batch
    from segflow.training.step import Learner
    from segflow.training.transfer import load

    keep_freed_memory()  # as training does
    plan, description = read_plan_json(job)
    learner = Learner(our_job(job, plan, description))
    image, targets = random_batch(job, plan)
    device = torch.device(job["device"])
    return repeated(job, lambda: learner.learn(load(Batch(image, tuple(targets)), device)).read())


def steps_nnunet(job):
    plan, description = read_plan_json(job)
    trainer = nnunet_trainer(plan, description, job["device"])
    trainer.initialize()
    trainer.network.train()
    image, targets = random_batch(job, plan)
    batch = {
        "data": torch.from_numpy(image),
        "target": [torch.from_numpy(target)[:, None].float() for target in targets],
    }
    return repeated(job, lambda: trainer.train_step(batch))


def nnunet_trainer(plan, description, device="cpu"):
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    asked = {**plan, "continue_training": False}
    return nnUNetTrainer(asked, "3d_fullres", 0, description, device=torch.device(device))


def a_case(read_shape):
    """Noise with three nested labels, larger than a patch."""
    rng = np.random.default_rng(0)
    shape = tuple(int(edge * CASE_MARGIN) for edge in read_shape)
    image = rng.standard_normal((1, *shape), np.float32)
    axes = np.ogrid[tuple(slice(-1, 1, size * 1j) for size in shape)]
    distance = sum(axis**2 for axis in axes)
    return image, np.digitize(distance, (0.2, 0.6)).astype(np.int16)


def samples_segflow(job):
    from segflow.augmentation.spatial import initial_patch_shape
    from segflow.contracts.case import TrainingCase
    from segflow.training.batches import BatchMaker

    plan, description = read_plan_json(job)
    made = our_job(job, plan, description)
    read_shape = initial_patch_shape(made.configuration.patch_shape, made.augmentation)
    image, labels = a_case(read_shape)
    voxels = {value: np.argwhere(labels == value)[:10_000] for value in (1, 2)}

    class Reader:
        def read(self, _identifier):
            return TrainingCase(image, labels, voxels)

    maker = BatchMaker(made, Reader())
    numbers = iter(range(10**6))
    return [seconds / job["batch"] for seconds in repeated(job, lambda: maker.make(next(numbers)))]


def samples_nnunet(job):
    plan, description = read_plan_json(job)
    trainer = nnunet_trainer(plan, description)
    settings = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    rotation, dummy_2d, read_shape, mirror_axes = settings
    scales = np.cumprod(
        plan["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["strides"], axis=0
    )[:-1]
    transforms = trainer.get_training_transforms(
        plan["configurations"]["3d_fullres"]["patch_size"],
        rotation,
        [list(1 / scale) for scale in scales],
        mirror_axes,
        dummy_2d,
        use_mask_for_norm=[False],
        is_cascaded=False,
        foreground_labels=[1, 2],
    )
    image, labels = a_case(read_shape)
    rng = np.random.default_rng(1)

    def sample():
        corner = [
            int(rng.integers(0, size - edge + 1)) for size, edge in zip(labels.shape, read_shape, strict=True)
        ]
        place = tuple(slice(low, low + int(edge)) for low, edge in zip(corner, read_shape, strict=True))
        cut = torch.from_numpy(image[(slice(None), *place)].copy())
        with torch.no_grad():
            transforms(image=cut, segmentation=torch.from_numpy(labels[place].copy())[None])

    return repeated(job, sample)


TASKS = {
    ("segflow", "steps"): steps_segflow,
    ("nnunet", "steps"): steps_nnunet,
    ("segflow", "samples"): samples_segflow,
    ("nnunet", "samples"): samples_nnunet,
}

if __name__ == "__main__":
    main()
