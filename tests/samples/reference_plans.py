"""Plans that users of nnU-Net published, with the fingerprints that they were made from."""

from __future__ import annotations

from segflow.contracts.fingerprint import Fingerprint
from segflow.images.dataset import read_description
from segflow.planning.plan import PlanInput
from segflow.recipes.recipe import recipe_named
from segflow.storage.files import read_contract

#: (folder, file, recipe, format): "old" plans were written before release 2.5.
LYMPH_NODES = "MIC-DKFZ__nnUNet__LymphNodes250_region"
PLANS = {
    "LymphNodes250": (LYMPH_NODES, "nnUNetPlans.json", "nnunet", "new"),
    "LymphNodes250-L": (LYMPH_NODES, "nnUNetResEncUNetLPlans.json", "resenc-l", "new"),
    "UPPECT": ("StMerce__UPPECT__UPPECT", "plans.json", "nnunet", "new"),
    **{
        name: (f"automl__AutoNNUnet__MSD_Dataset{name}", "plans.json", "nnunet", "new")
        for name in ("002_Heart", "003_Liver", "004_Hippocampus", "005_Prostate", "007_Pancreas")
    },
    "MSSEG": ("ander-elkoroaristizabal__nnunet-ms-segmentation__MSSEG", "nnUNetPlans.json", "nnunet", "old"),
    "RaSPDAM": ("zhejianglab__RaSPDAM__RaSPDAM", "plans.json", "nnunet", "old"),
}


def file_of(name, shared):
    return shared / "reference" / "plans" / PLANS[name][0] / PLANS[name][1]


def inputs_of(name, shared):
    """Fingerprint, what dataset.json says, and the recipe."""
    folder = file_of(name, shared).parent
    description, labels = read_description(folder / "dataset.json")
    channels = description["channel_names"]
    sample = PlanInput(
        name=folder.name,
        channel_names=tuple(channels[str(number)] for number in range(len(channels))),
        n_cases=description["numTraining"],
        n_outputs=labels.n_entries,
        file_ending=description["file_ending"],
        reader=description.get("overwrite_image_reader_writer"),
    )
    fingerprint = read_contract(Fingerprint, folder / "dataset_fingerprint.json")
    return fingerprint, sample, recipe_named(PLANS[name][2]).planning
