"""Batches augmented patch by patch, as in a data worker, and in one pass, as on a device; here both on the CPU.

    python benchmarks/augmentation.py --runs 5

The same batches of the made-up case of `training.py`, in turns within one run. "Collected" is what is left to a
worker when the device augments. Prints Markdown: time per batch, the median of the runs' means;
of one thread, its processor time, which other programs change little.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import torch
from one_training import a_case, our_job

from segflow.augmentation.batched import augment_batch
from segflow.augmentation.spatial import initial_patch_shape
from segflow.contracts.case import TrainingCase
from segflow.training.batches import BatchMaker
from training import DESCRIPTION, PLANS, write_sample_plan

#: Patches per batch, and batches per run.
SIZES = {"40x56x40": (9, 20), "128^3": (2, 10)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    print(
        "| Patch, batch, threads | patch by patch | collected | in one pass | bytes sent |\n|---|---|---|---|---|"
    )
    for name, (batch, count) in SIZES.items():
        makers = [maker(name, batch, augment) for augment in ("workers", "device")]
        for threads in (1, 2):
            torch.set_num_threads(threads)
            clock = time.process_time if threads == 1 else time.perf_counter
            runs = [measured(*makers, count, clock) for _ in range(options.runs)]
            times = " | ".join(
                f"{1000 * median(seconds):.4g} ms" for seconds in list(zip(*runs, strict=True))[:3]
            )
            print(f"| {name}, {batch}, {threads} | {times} | {runs[0][3] / 1e6:.3g} MB |", flush=True)


def maker(name: str, batch: int, augment: str) -> BatchMaker:
    with tempfile.TemporaryDirectory() as folder:
        plan = json.loads(write_sample_plan(Path(folder, "plan.json"), PLANS[name]).read_text())
    plan["configurations"]["3d_fullres"]["batch_size"] = batch
    job = replace(
        our_job({"plan": name, "dataset": name, "device": "cpu"}, plan, DESCRIPTION), augment=augment
    )
    image, labels = a_case(initial_patch_shape(job.configuration.patch_shape, job.augmentation))
    case = TrainingCase(image, labels, {value: np.argwhere(labels == value)[:10_000] for value in (1, 2)})

    class Reader:
        def read(self, _identifier):
            return case

    return BatchMaker(job, Reader())


def measured(single: BatchMaker, batched: BatchMaker, count: int, clock) -> tuple[float, float, float, float]:
    """Per batch: seconds patch by patch, to collect, and of the pass; bytes sent."""
    sums = [0.0] * 4
    for number in range(count):
        start = clock()
        single.make(number)
        made = clock()
        batch = batched.make(number)
        collected = clock()
        arrays = (batch.image, *batch.targets)
        image, *others = map(torch.from_numpy, arrays)
        augment_batch(batch.pending, image, others)
        parts = (
            made - start,
            collected - made,
            clock() - collected,
            sum(a.nbytes for a in arrays),
        )
        sums = [total + part for total, part in zip(sums, parts, strict=True)]
    return tuple(total / count for total in sums)


if __name__ == "__main__":
    main()
