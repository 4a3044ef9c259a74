"""Prediction or export by one program, in a process of its own: `inference.py` calls this with each program's Python.

    python one_inference.py segflow|nnunet JOB.json        # prints one line of JSON

It imports only the program it is called for. Linux only.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
from one_case import peak_bytes

SPACING_MM = (1.0, 1.0, 1.0)


def main() -> None:
    program, job = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
    print(json.dumps(TASKS[program, job["task"]](job)))


BLOCK = 8  # voxels along the edge of a blob


def chunks_of(job):
    """Logits of blobs, one class each; some planes (k, z, y, x) at a time, float32."""
    rng = np.random.default_rng(0)
    depth, *plane = job["shape"]
    coarse = rng.standard_normal((job["classes"], *(-(-size // BLOCK) for size in job["shape"])), np.float32)
    for z in range(0, depth, BLOCK):
        chunk = coarse[:, z // BLOCK, None]
        for axis, size in enumerate((min(BLOCK, depth - z), *plane), start=1):
            chunk = np.repeat(chunk, BLOCK, axis=axis).take(range(size), axis=axis)
        yield np.ascontiguousarray(chunk)


def finer_spacing(job):
    """The raw image's spacing that gives its requested shape."""
    return tuple(old / new for old, new in zip(job["shape"], job["raw_shape"], strict=True))


def export_segflow(job):
    before = peak_bytes()
    start = time.perf_counter()
    found = our_export(job, chunks_of(job))  # as the sliding window gives them: making them counts
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "given": before, "peak": peak_bytes(), "digest": summary(found)}


def our_export(job, chunks):
    """From a network's scores to the label map."""
    from segflow.contracts.case import CaseRecord, Geometry
    from segflow.contracts.labels import Labels
    from segflow.contracts.plan import Preparation
    from segflow.prediction.restore import ScoreStream, label_map

    shape, raw_shape = tuple(job["shape"]), tuple(job["raw_shape"])
    spacing_mm = finer_spacing(job)
    geometry = Geometry(
        shape=raw_shape, spacing_mm=spacing_mm, file_dimensions=3, file_spacing_mm=spacing_mm[::-1],
        origin_mm=(0.0,) * 3, direction=tuple(np.eye(3).ravel().tolist()),
    )  # fmt: skip
    record = CaseRecord(
        identifier="one", geometry=geometry, shape_before_crop=raw_shape,
        crop_box=tuple((0, size) for size in raw_shape), spacing_mm=spacing_mm, shape=shape,
    )  # fmt: skip
    preparation = Preparation(
        spacing_mm=SPACING_MM, normalization=("ct",), mask_normalization=(False,), intensities=(None,),
        transpose_forward=(0, 1, 2), transpose_backward=(0, 1, 2),
    )  # fmt: skip
    labels = Labels((("background", 0), *((f"class {i}", i) for i in range(1, job["classes"]))))
    stream = ScoreStream(chunks=chunks, shape=shape, preparation=preparation, labels=labels)
    return label_map(stream, record, threads=job["threads"])


def export_nnunet(job):
    import torch
    from nnunetv2.inference.export_prediction import (
        convert_predicted_logits_to_segmentation_with_correct_shape,
    )
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    torch.set_num_threads(job["threads"])
    plans = PlansManager(job["plan"])
    configuration = plans.get_configuration("3d_fullres")
    configuration.configuration["spacing"] = list(SPACING_MM)
    names = {"background": 0, **{f"class {i}": i for i in range(1, job["classes"])}}
    description = {"labels": names, "channel_names": {"0": "CT"}, "file_ending": ".nii.gz", "numTraining": 1}
    raw_shape = tuple(job["raw_shape"])
    properties = {
        "spacing": list(finer_spacing(job)),
        "shape_before_cropping": raw_shape,
        "shape_after_cropping_and_before_resampling": raw_shape,
        "bbox_used_for_cropping": [[0, size] for size in raw_shape],
    }
    logits = torch.empty(
        (job["classes"], *job["shape"]), dtype=torch.half
    )  # as its sliding window leaves them
    first = 0
    for chunk in chunks_of(job):
        logits[:, first : first + chunk.shape[1]] = torch.from_numpy(chunk)
        first += chunk.shape[1]
    before = peak_bytes()
    start = time.perf_counter()
    found = convert_predicted_logits_to_segmentation_with_correct_shape(
        logits, plans, configuration, plans.get_label_manager(description), properties,
        num_threads_torch=job["threads"],
    )  # fmt: skip
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "given": before, "peak": peak_bytes(), "digest": summary(found)}


def summary(found):
    """Voxels of some labels: equal in both programs except for rounding in half precision."""
    return np.bincount(np.asarray(found).ravel(), minlength=4)[:4].tolist()


def folder_segflow(job):
    """Predict whole cases, from files to files, with a loaded model."""
    import torch

    from segflow.commands.predict import predict
    from segflow.prediction.predictor import Predictor

    torch.set_num_threads(job["threads"])
    loaded = Predictor.from_folder(job["model"], device="cpu", threads=job["threads"])
    Predictor.from_folder = lambda *_, **__: loaded
    files = {"model": Path(job["model"]), "input": [Path(job["input"])], "output": Path(job["output"])}
    start = time.perf_counter()
    predict(**files, device="cpu", threads=job["threads"])
    return {"seconds": time.perf_counter() - start, "peak": peak_bytes()}


def folder_nnunet(job):
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    cpu = torch.device("cpu")
    torch.set_num_threads(job["threads"])
    predictor = nnUNetPredictor(perform_everything_on_device=False, device=cpu, allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(job["results"], use_folds=(0,))
    start = time.perf_counter()
    predictor.predict_from_files(
        job["input"], f"{job['output']}_workers",
        num_processes_preprocessing=job["threads"], num_processes_segmentation_export=job["threads"],
    )  # fmt: skip
    with_workers = time.perf_counter() - start
    Path(job["output"]).mkdir()
    start = time.perf_counter()
    predictor.predict_from_files_sequential(job["input"], job["output"])
    return {"seconds": min(with_workers, time.perf_counter() - start), "peak": peak_bytes()}


TASKS = {
    ("segflow", "export"): export_segflow,
    ("nnunet", "export"): export_nnunet,
    ("segflow", "folder"): folder_segflow,
    ("nnunet", "folder"): folder_nnunet,
}

if __name__ == "__main__":
    main()
