"""Plans of every preset, from one fingerprint: equal to nnU-Net's, which builds the same networks from them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from nnunet_data import DATA_SETS, DataSet, parameter, synthetic
from nnunet_runs import read_json
from nnunet_scenes import Case, Style

from segflow.network.unet import build_network
from segflow.nnunet.plans import read_plan

pytestmark = pytest.mark.peer

PLANNERS = {
    "nnunet": "ExperimentPlanner",
    "resenc": "ResEncUNetPlanner",
    "resenc-m": "nnUNetPlannerResEncM",
    "resenc-l": "nnUNetPlannerResEncL",
    "resenc-xl": "nnUNetPlannerResEncXL",
}
#: Fingerprints of published data sets, small ones and ones with a cascade.
PUBLISHED = {
    "published_heart": "automl__AutoNNUnet__MSD_Dataset002_Heart",
    "published_prostate": "automl__AutoNNUnet__MSD_Dataset005_Prostate",
    "published_liver": "automl__AutoNNUnet__MSD_Dataset003_Liver",
}


def published(folder: Path, shared: Path, *, source: str) -> None:
    """A description with one case, which nnU-Net needs only for the type of its files."""
    description = read_json(shared / "reference" / "plans" / source / "dataset.json")
    channels = tuple(description["channel_names"].values())
    synthetic(folder, None, cases=[Case((20, 20, 20), (1, 1, 1))], style=Style(channels=channels))
    description.pop("name", None)
    (folder / "dataset.json").write_text(json.dumps(description))


OWN = [
    replace(data, gpu_memory_gb=None)
    for data in DATA_SETS
    if data.name in {"hippocampus", "anisotropic", "gray_png"}
]
OTHERS = [
    DataSet(name, partial(published, source=PUBLISHED[name]), real=True, slow=True) for name in PUBLISHED
]


@pytest.fixture(scope="session", params=[parameter(data) for data in [*OWN, *OTHERS]])
def planned(both_of, request):
    """A data set that nnU-Net has planned with all its planners."""
    both = both_of(request.param)
    fingerprint = None
    if request.param in OTHERS:
        plans = request.getfixturevalue("shared") / "reference" / "plans"
        fingerprint = plans / PUBLISHED[request.param.name] / "dataset_fingerprint.json"
    yield both, both.plan_with_nnunet(*PLANNERS.values(), prepare=False, fingerprint=fingerprint)
    shutil.rmtree(both.folder)


@pytest.mark.parametrize("recipe", PLANNERS)
def test_same_plan_and_networks(planned, recipe):
    both, theirs = planned
    file = both.folder / "ours" / recipe / "plans.json"
    both.make_plan(theirs / "dataset_fingerprint.json", file, "--recipe", recipe)
    assert read_json(file) == read_json(theirs / "plans" / f"{PLANNERS[recipe]}.json")
    expected = both.nnunet.call(
        "nnunet_networks.shapes", both.folder, plans=file, dataset=both.raw / "dataset.json"
    )
    configurations = read_plan(file).configurations
    assert configurations.keys() == expected.keys()
    for name, (n_in, n_out, shapes) in expected.items():
        network = build_network(configurations[name].architecture, input_channels=n_in, output_channels=n_out)
        assert sorted([*parameter.shape] for parameter in network.parameters()) == shapes, name
