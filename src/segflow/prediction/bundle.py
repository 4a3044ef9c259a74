"""A model package as a bundle of MONAI, which predicts as `segflow predict` does (decision 0025)."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from segflow.contracts.errors import ConfigurationError
from segflow.images.dataset import read_description
from segflow.nnunet.plans import read_plan
from segflow.prediction.predictor import Predictor
from segflow.storage.files import copy_file, write_json
from segflow.storage.packages import MODEL_CARD, copy_package, read_card

__all__ = ["BundleNetwork", "export_bundle"]

_SCHEMA = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
)
_PACKAGE: Final = "models/package"
#: What MONAI's tools call to run the bundle; whole images go in and label maps come out.
_INFERENCE: Final[dict[str, Any]] = {
    "imports": ["$import glob"],
    "bundle_root": ".",
    "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
    "dataset_dir": "$@bundle_root + '/images'",
    "output_dir": "$@bundle_root + '/labels'",
    "output_ext": ".nii.gz",
    "network_def": {
        "_target_": "segflow.prediction.bundle.BundleNetwork",
        "package": f"$@bundle_root + '/{_PACKAGE}'",
        "device": "$str(@device)",
    },
    "network": "$@network_def.to(@device)",
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [{"_target_": "LoadImaged", "keys": "image", "ensure_channel_first": True}],
    },
    "dataset": {"_target_": "Dataset", "data": "@datalist", "transform": "@preprocessing"},
    "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "num_workers": 0},
    "inferer": {"_target_": "SimpleInferer"},
    "postprocessing": {
        "_target_": "Compose",
        "transforms": [
            {
                "_target_": "SaveImaged",
                "keys": "pred",
                "output_dir": "@output_dir",
                "output_ext": "@output_ext",
                "output_postfix": "seg",
                "output_dtype": "$torch.int32",
                "resample": False,
                "separate_folder": False,
            }
        ],
    },
    "evaluator": {
        "_target_": "SupervisedEvaluator",
        "device": "@device",
        "val_data_loader": "@dataloader",
        "network": "@network",
        "inferer": "@inferer",
        "postprocessing": "@postprocessing",
    },
    "run": ["$@evaluator.run()"],
}


class BundleNetwork(nn.Module):
    """A model package as a network of MONAI: from images as they are in their files to label maps.

    Args:
        package: Folder of the package.
        device: "cpu", "cuda" or "cuda:0".
    """

    def __init__(self, package: str, device: str = "cpu") -> None:
        super().__init__()
        self.predictor = Predictor.from_folder(package, device=device.partition(":")[0])

    def forward(self, images: Tensor) -> Tensor:
        """Label maps (b, 1, x, y[, z]), int32, of images (b, c, x, y[, z]), each predicted by itself.

        Voxel sizes are those of the affines of a MetaTensor; 1 mm for any other tensor. Axes are MONAI's, x first.
        """
        dimensions = images.ndim - 2
        affines = np.asarray(getattr(images, "affine", torch.eye(4)), dtype=float).reshape(-1, 4, 4)
        found = []
        for number, image in enumerate(torch.as_tensor(images).as_subclass(Tensor).cpu().numpy()):
            columns = affines[number % len(affines), :3, :dimensions]
            spacing_mm = np.sqrt(np.square(columns).sum(axis=0))[::-1]
            voxels = image.transpose(0, *range(dimensions, 0, -1))
            found.append(self.predictor.predict(voxels, spacing_mm.tolist()).T[None])
        labels = torch.from_numpy(np.stack(found).astype(np.int32)).to(images.device)
        if not hasattr(images, "copy_meta_from"):
            return labels
        placed: Any = type(images)(labels)
        return placed.copy_meta_from(images)


def export_bundle(package: Path, output: Path) -> Path:
    """Write a bundle: the package, configs/metadata.json and configs/inference.json, docs/README.md.

    Args:
        package: Folder of the package.
        output: Folder of the bundle.

    Returns:
        The bundle's folder. It runs where MONAI and segflow are installed.

    Raises:
        ConfigurationError: The extra monai is not installed.
        PredictionError: A file of the package is missing or has changed.
    """
    try:
        monai, ignite = version("monai"), version("pytorch-ignite")
    except PackageNotFoundError as problem:
        raise ConfigurationError(
            f"bundles need the package {problem.name}: pip install 'segflow[monai]'"
        ) from None
    card = read_card(package)
    copy_package(package, output / _PACKAGE)
    if (package / MODEL_CARD).exists():
        copy_file(package / MODEL_CARD, output / "docs" / MODEL_CARD)
    description, labels = read_description(package / "dataset.json")
    channels, ending = list(description["channel_names"].values()), description["file_ending"]
    stem = f"glob.escape(f.removesuffix('_0000{ending}'))"  # of one file per channel, or a single one for all
    files = f"sorted(glob.glob({stem} + '_[0-9][0-9][0-9][0-9]{ending}'))"
    data = f"$[{{'image': {files}}} for f in sorted(glob.glob(@dataset_dir + '/*_0000{ending}'))]"
    write_json(output / "configs" / "inference.json", _INFERENCE | {"datalist": data})
    dimensions = 2 if 1 in read_plan(package / "plans.json").median_shape else 3
    shape = {"num_channels": len(channels), "spatial_shape": ["*"] * dimensions, "dtype": "float32"}
    image = {"type": "image", "format": "magnitude", "value_range": [], "is_patch_data": False, **shape}
    named = {str(value): name for name, value in labels.entries if isinstance(value, int)}
    result = {"format": "segmentation", "num_channels": 1, "dtype": "int32", "channel_def": named}
    metadata = {
        "schema": _SCHEMA,
        "version": "1.0.0",
        "changelog": {"1.0.0": "written by segflow"},
        "monai_version": monai,
        "pytorch_version": card.versions.get("torch", torch.__version__),
        "numpy_version": card.versions.get("numpy", np.__version__),
        "required_packages_version": {
            "segflow": card.versions.get("segflow", ""),
            "pytorch-ignite": ignite,
        },
        "task": f"Segmentation: {', '.join(labels.target_names)}",
        "description": str(description.get("description") or f"{card.dataset}, {card.selection.best.name}"),
        "authors": str(description.get("authors") or "see docs/README.md"),
        "copyright": str(description.get("licence") or "see docs/README.md"),
        "network_data_format": {
            "inputs": {"image": image | {"channel_def": dict(enumerate(channels))}},
            "outputs": {"pred": image | result},
        },
    }
    write_json(output / "configs" / "metadata.json", metadata)
    return output
