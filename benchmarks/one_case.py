"""One case through one program, in a process of its own: `preprocessing.py` calls this with each program's Python.

    python one_case.py segflow|nnunet JOB.json        # prints one line of JSON

It imports only the program it is called for. Linux only.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import numpy as np

BYTES_PER_KB = 1024


def main() -> None:
    program, job = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
    task = TASKS[program, job["task"]]
    print(json.dumps(task(job)))


def peak_bytes() -> int:
    """This process's peak memory so far. (`getrusage` would include the parent's at the time of the fork.)"""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * BYTES_PER_KB


def timed(work):
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def volume(job):
    """The array to resample, and a label map of that shape: three organs, background and -1 outside."""
    rng = np.random.default_rng(0)
    shape = tuple(job["shape"])
    image = np.empty((1, *shape), np.float32)
    for plane in image[0]:
        plane[...] = rng.standard_normal(shape[1:], np.float32)
    z, y, x = np.ogrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j, -1 : 1 : shape[2] * 1j]
    distance = (z**2 + y**2 + x**2).astype(np.float32)
    return image, np.digitize(distance, (0.2, 0.4, 0.8, 1.2)).astype(np.int8) - 1


def resample_segflow(job):
    from segflow.volumes.resample import resample_image, resample_labels, resampled_shape, separate_axis

    image, labels = volume(job)
    shape = resampled_shape(labels.shape, job["spacing"], job["target"])
    axis = separate_axis(job["spacing"], job["target"])
    out = np.empty((1, *shape), np.float32)
    seconds, _ = timed(lambda: resample_image(image[0], out[0], axis))
    label_seconds, found = timed(lambda: resample_labels(labels, shape, axis))
    np.savez(job["output"], image=out[0, ::8, ::8, ::8], labels=found[::8, ::8, ::8])
    return {"image_s": seconds, "labels_s": label_seconds, "peak": peak_bytes()}


def resample_nnunet(job):
    from nnunetv2.preprocessing.resampling.default_resampling import (
        compute_new_shape,
        resample_data_or_seg_to_shape,
    )

    image, labels = volume(job)
    shape = compute_new_shape(labels.shape, job["spacing"], job["target"])

    def resampled(array, *, is_seg, order):
        return resample_data_or_seg_to_shape(
            array, shape, job["spacing"], job["target"],
            is_seg=is_seg, order=order, order_z=0, force_separate_z=None,
        )  # fmt: skip

    seconds, out = timed(lambda: resampled(image, is_seg=False, order=3))
    label_seconds, found = timed(lambda: resampled(labels[None], is_seg=True, order=1))
    np.savez(job["output"], image=out[0, ::8, ::8, ::8], labels=found[0, ::8, ::8, ::8])
    return {"image_s": seconds, "labels_s": label_seconds, "peak": peak_bytes()}


def case_segflow(job):
    from segflow.contracts.case import Case
    from segflow.images.cases import read_case
    from segflow.images.dataset import read_description
    from segflow.nnunet.plans import read_plan
    from segflow.preprocessing.prepare import prepare_case
    from segflow.storage.cases import CaseStore

    folder, output = Path(job["dataset"]), Path(job["output"])
    preparation = read_plan(Path(job["plan"])).preparation("3d_fullres")
    _, labels = read_description(folder / "dataset.json")
    files = [folder / "imagesTr" / f"{job['case']}_0000.nii.gz"]
    case = Case(job["case"], tuple(files), folder / "labelsTr" / f"{job['case']}.nii.gz")
    before = peak_bytes()

    def whole():
        raw = read_case(case, channels=1)
        found = prepare_case(raw, preparation, labels)
        CaseStore(output).write(found)

    seconds, _ = timed(whole)
    return {"seconds": seconds, "imports": before, "peak": peak_bytes(), "bytes": size_of(output)}


def case_nnunet(job):
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    folder, output = Path(job["dataset"]), Path(job["output"])
    output.mkdir(parents=True)
    plans = PlansManager(job["plan"])
    configuration = plans.get_configuration("3d_fullres")
    description = json.loads((folder / "dataset.json").read_text())
    image = folder / "imagesTr" / f"{job['case']}_0000.nii.gz"
    label = folder / "labelsTr" / f"{job['case']}.nii.gz"
    before = peak_bytes()
    seconds, _ = timed(
        lambda: DefaultPreprocessor(verbose=False).run_case_save(
            str(output / job["case"]), [str(image)], str(label), plans, configuration, description
        )
    )
    return {"seconds": seconds, "imports": before, "peak": peak_bytes(), "bytes": size_of(output)}


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def reads_segflow(job):
    from segflow.augmentation.patches import read_patch
    from segflow.storage.cases import CaseStore

    store = CaseStore(Path(job["output"]))

    def cut(array, corner):
        return read_patch(array, corner, job["patch"], fill=0)

    return read_patches(job, lambda: store.read(job["case"]), lambda case: (case.image, case.labels), cut)


def reads_nnunet(job):
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

    opened = nnUNetDatasetBlosc2(job["output"], [job["case"]])

    def cut(array, corner):
        place = tuple(slice(low, low + edge) for low, edge in zip(corner, job["patch"], strict=True))
        return np.array(array[(slice(None), *place)])

    return read_patches(job, lambda: opened.load_case(job["case"]), lambda case: case[:2], cut)


def read_patches(job, opened, arrays, cut):
    """Patches per second: with the files in the file cache, and with the cache emptied before each."""
    rng = np.random.default_rng(1)

    def read_one():
        image, labels = arrays(opened())
        corner = rng.integers(0, np.array(image.shape[1:]) - job["patch"] + 1).tolist()
        cut(image, corner)
        cut(labels, corner)

    def per_second(before_each):
        seconds = 0.0
        for _ in range(job["reads"]):
            before_each()
            seconds += timed(read_one)[0]
        return job["reads"] / seconds

    per_second(lambda: None)  # warms the file cache
    files = [file for file in Path(job["output"]).rglob("*") if file.is_file()]
    return {"warm": per_second(lambda: None), "cold": per_second(lambda: forget(files))}


def forget(files):
    """Drop files from the system's file cache."""
    for file in files:
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


TASKS = {
    ("segflow", "resample"): resample_segflow,
    ("nnunet", "resample"): resample_nnunet,
    ("segflow", "case"): case_segflow,
    ("nnunet", "case"): case_nnunet,
    ("segflow", "reads"): reads_segflow,
    ("nnunet", "reads"): reads_nnunet,
}

if __name__ == "__main__":
    main()
