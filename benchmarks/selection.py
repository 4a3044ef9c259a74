"""The whole selection beside nnU-Net, on the same out-of-fold predictions, in turns: time and disk.

    python benchmarks/selection.py --nnunet NNUNET/bin/python --hippocampus ../shared/data/hippocampus --runs 3

Evaluate two configurations, make the pair and evaluate it, choose, search post-processing, apply it and evaluate again:
`segflow find-best`, which calls the verbs of the workflow, against `nnUNetv2_find_best_configuration`; starts included,
two processes each. `--nnunet` is the Python of an environment with nnU-Net v2 (docs/how-to/compare-with-nnunet.md).

No networks are needed: predictions are made of the reference labels, blurred and with smooth noise, and written in each
program's own format. Speed varies with what else the machine does, so only the ratio within a run counts.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage
from side_by_side import call, in_turn, nnunet_environment, runs, segflow, show_tables, timed

from segflow.images.cases import read_geometry, read_labels, write_labels
from segflow.images.dataset import read_description
from segflow.nnunet.folds import read_folds
from segflow.nnunet.plans import read_plan
from segflow.storage.cases import CaseStore
from segflow.storage.files import write_json
from segflow.storage.probabilities import write_probabilities
from segflow.volumes.crop import crop, transpose_spatial
from segflow.volumes.labelmaps import pick_labels

NAME = "Dataset004_Hippocampus"
#: How far predictions are from the truth: blur in voxels, and noise.
ERRORS = {"2d": (1.1, 0.75), "3d_fullres": (1.1, 0.75)}
PAIR = "+".join(ERRORS)
PROCESSES = 2
PICKLES = (
    "import sys; from pathlib import Path; from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO; "
    "from batchgenerators.utilities.file_and_folder_operations import save_pickle; "
    "[save_pickle(SimpleITKIO().read_seg(str(f))[1], str(f)[:-7] + '.pkl') "
    "for f in Path(sys.argv[1]).glob('*/fold_*/validation/*.nii.gz')]"
)


@dataclass(frozen=True)
class Bench:
    """The folders and nnU-Net's Python.

    Attributes:
        folder: For the files of both programs.
        nnunet: nnU-Net's Python.
    """

    folder: Path
    nnunet: Path

    @property
    def data(self) -> Path:
        return self.folder / "raw" / NAME

    @property
    def ours(self) -> Path:
        return self.folder / "segflow"

    @property
    def results(self) -> Path:
        return self.folder / "results" / NAME


def main() -> None:
    options = parsed()
    bench = Bench(Path(tempfile.mkdtemp(prefix="selection_", dir=options.work)), Path(options.nnunet))
    try:
        cases = prepare(bench, options)
        stored = stored_bytes(bench)
        seconds, extra, found = runs(), runs(), {}
        for run in range(options.runs):
            for program in in_turn(run):
                before = size_of(root(bench, program))
                seconds[program].append(timed(lambda program=program: WORK[program](bench)))
                extra[program].append(size_of(root(bench, program)) - before)
                found[program] = outcome(bench, program)
                clean(bench, program)
    finally:
        shutil.rmtree(bench.folder)
    if options.output:
        write_json(options.output, {"seconds": seconds, "bytes": extra, "stored": stored, "found": found})
    show(cases, seconds, extra, stored, found)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nnunet", required=True, help="Python of nnU-Net's environment")
    parser.add_argument("--hippocampus", type=Path, required=True, help="MSD Task04 in raw layout")
    parser.add_argument("--cases", type=int, help="take only so many (default: all)")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--work", help="where to put the data (default: the system's temporary folder)")
    parser.add_argument("--output", type=Path, help="JSON with every figure")
    return parser.parse_args()


def show(cases, seconds, extra, stored, found):
    both = {
        name: [a + b for a, b in zip(extra[name], stored[name] * len(extra[name]), strict=True)]
        for name in extra
    }
    rows = {"the whole selection": (seconds["segflow"], seconds["nnunet"], "s")}
    for what, of in {
        "what it leaves on disk": extra,
        "probabilities it needs": stored,
        "both": both,
    }.items():
        rows[what] = ([size / 1e6 for size in of["segflow"]], [size / 1e6 for size in of["nnunet"]], "MB")
    show_tables({f"{cases} cases, two configurations and their pair": rows})
    for program, answer in found.items():
        print(f"\n{program}: {answer}")


def prepare(bench, options):
    """Data, plan, prepared cases (for their crop boxes), and predictions in the formats of both programs."""
    cases = link_cases(bench, options)
    ours, raw = bench.ours, bench.data
    segflow("fingerprint", raw, "--output", ours / "dataset_fingerprint.json", "--workers", PROCESSES)
    files = ["--dataset", raw / "dataset.json", "--fingerprint", ours / "dataset_fingerprint.json"]
    segflow("plan", *files, "--output", ours / "plans.json", "--parts", ours)
    segflow("folds", raw, "--output", ours / "splits_final.json")
    segflow("preprocess", raw, "--preparation", ours / "preparation" / "2d.json", "--output", ours / "2d",
            "--manifest", ours / "2d" / "manifest" / "chunk_0.json", "--workers", PROCESSES)  # fmt: skip
    segflow("manifest", "--chunks", ours / "2d" / "manifest" / "chunk_0.json",
            "--output", ours / "2d" / "prepared.json")  # fmt: skip
    plan = json.loads((ours / "plans.json").read_text()) | {"dataset_name": NAME}
    write_json(bench.folder / "preprocessed" / NAME / "nnUNetPlans.json", plan)
    (bench.folder / "preprocessed" / NAME / "gt_segmentations").symlink_to(raw / "labelsTr")
    for place, name in enumerate(ERRORS):
        model = model_folder(bench, name)
        write_json(model / "plans.json", plan)
        shutil.copy(raw / "dataset.json", model / "dataset.json")
        predict(bench, name, np.random.default_rng(place))
    call([bench.nnunet, "-c", PICKLES, bench.results], nnunet_environment(bench.folder))
    return cases


def link_cases(bench, options):
    source, raw = options.hippocampus.resolve(), bench.data
    labels = sorted((source / "labelsTr").glob("*.nii.gz"))[: options.cases]
    for part in ("imagesTr", "labelsTr"):
        (raw / part).mkdir(parents=True)
    for label in labels:
        (raw / "labelsTr" / label.name).symlink_to(label)
        image = label.name.replace(".nii.gz", "_0000.nii.gz")
        (raw / "imagesTr" / image).symlink_to(source / "imagesTr" / image)
    description = json.loads((source / "dataset.json").read_text())
    write_json(raw / "dataset.json", description | {"numTraining": len(labels), "name": NAME})
    return len(labels)


def predict(bench, name, generator):
    """Label maps and probabilities of all folds, as each program stores them."""
    _, labels = read_description(bench.data / "dataset.json")
    preparation = read_plan(bench.ours / "plans.json").preparation("2d")
    store = CaseStore(bench.ours / "2d")
    for number, fold in enumerate(read_folds(bench.ours / "splits_final.json")):
        ours = our_folder(bench, name, number)
        theirs = model_folder(bench, name) / f"fold_{number}" / "validation"
        theirs.mkdir(parents=True)
        for case in fold.val:
            file = bench.data / "labelsTr" / f"{case}.nii.gz"
            whole = probabilities(read_labels(file, case=case), len(labels.values), ERRORS[name], generator)
            found = pick_labels(whole, labels, are_probabilities=True)
            for folder in (ours, theirs):
                write_labels(folder / file.name, found, read_geometry(file, case=case))
            record = store.record(case)
            cropped = crop(transpose_spatial(whole, preparation.transpose_forward), record.crop_box)
            stored = ours / "probabilities" / f"{case}.npz"
            with write_probabilities(stored, record, preparation, n_outputs=len(whole)) as keep:
                keep(cropped)
            np.savez_compressed(theirs / f"{case}.npz", probabilities=whole)


def probabilities(reference, n, errors, generator):
    """Softmax of blurred indicators and smooth noise, (k, z, y, x)."""
    blur, noise = errors
    logits = np.stack(
        [
            8 * ndimage.gaussian_filter((reference == value).astype(np.float32), blur)
            + 8 * noise * ndimage.gaussian_filter(generator.normal(size=reference.shape), 1.0)
            for value in range(n)
        ]
    )
    exponents = np.exp(logits - logits.max(axis=0))
    return (exponents / exponents.sum(axis=0)).astype(np.float32)


def select_segflow(bench):
    ours = bench.ours
    segflow("find-best", ours, "--dataset", bench.data / "dataset.json", "--folds", ours / "splits_final.json",
            "--preparation", ours / "preparation" / "2d.json", "--prepared", ours / "2d" / "prepared.json",
            "--workers", PROCESSES)  # fmt: skip


def select_nnunet(bench):
    command = bench.nnunet.with_name("nnUNetv2_find_best_configuration")
    words = [command, NAME, "-c", *ERRORS, "-np", PROCESSES, "-f", *range(len(list(
        model_folder(bench, "2d").glob("fold_*"))))]  # fmt: skip
    call(words, nnunet_environment(bench.folder))


def our_folder(bench, name, fold):
    return bench.ours / "predictions" / name / f"fold_{fold}"


def model_folder(bench, name):
    return bench.results / f"nnUNetTrainer__nnUNetPlans__{name}"


def root(bench, program):
    return bench.ours if program == "segflow" else bench.results


def size_of(folder):
    """Bytes of all files."""
    return sum((Path(place) / name).stat().st_size for place, _, names in os.walk(folder) for name in names)


def stored_bytes(bench):
    """Bytes of the probabilities that pairs are made of."""
    ours = sum(size_of(folder) for folder in bench.ours.glob("predictions/*/fold_*/probabilities"))
    theirs = sum(file.stat().st_size for file in bench.results.glob("*/fold_*/validation/*.npz"))
    return {"segflow": [ours], "nnunet": [theirs]}


def outcome(bench, program):
    """The choice and the scores, which should agree."""
    if program == "segflow":
        chosen = json.loads((bench.ours / "selection.json").read_text())
        decision = json.loads((bench.ours / "postprocessing.json").read_text())
        return {
            "best": chosen["best"]["name"],
            "scores": [round(candidate["foreground_mean_dice"], 5) for candidate in chosen["candidates"]],
            "operations": [operation["labels"] for operation in decision["operations"]],
            "after": round(decision["foreground_mean_dice_after"], 5),
        }
    found = json.loads((bench.results / "inference_information.json").read_text())
    best = found["best_model_or_ensemble"]
    decision = json.loads(Path(best["postprocessing_file"]).with_suffix(".json").read_text())
    return {
        "best": "+".join(model["configuration"] for model in best["selected_model_or_models"]),
        "scores": [
            round(found["all_results"][name], 5) for name in sorted(found["all_results"], key=is_pair)
        ],
        "operations": [entry["labels_or_regions"] for entry in decision["postprocessing_kwargs"]],
        "after": round(best["result_on_crossval_post_pp"], 5),
    }


def is_pair(name):
    """Single models come first, in order."""
    return name.startswith("ensemble"), name


def clean(bench, program):
    """Remove the results of a run, so that the next one computes them again."""
    if program == "segflow":
        for folder in ("evaluation", "final", f"predictions/{PAIR}"):
            shutil.rmtree(bench.ours / folder)
        for file in ("selection.json", "postprocessing.json"):
            (bench.ours / file).unlink()
        return
    shutil.rmtree(bench.results / "ensembles")
    for folder in bench.results.glob("*/crossval_results_folds_*"):
        shutil.rmtree(folder)
    for file in bench.results.glob("inference_*"):
        file.unlink()


WORK = {"segflow": select_segflow, "nnunet": select_nnunet}

if __name__ == "__main__":
    main()
