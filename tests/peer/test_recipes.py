"""Plans of every preset, from one fingerprint: equal to nnU-Net's, and understood by it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from peer_data import DATA_SETS, DataSet, parameter, synthetic
from peer_plans import plan_differences
from peer_runs import read_json
from peer_scenes import Case, Style

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
# Fingerprints of other people's data sets, small ones and ones with a cascade.
PUBLISHED = {
    "published_heart": "automl__AutoNNUnet__MSD_Dataset002_Heart",
    "published_prostate": "automl__AutoNNUnet__MSD_Dataset005_Prostate",
    "published_liver": "automl__AutoNNUnet__MSD_Dataset003_Liver",
}


def published(folder: Path, shared: Path, *, source: str) -> None:
    """A description with one case, which nnU-Net only asks for the kind of its files."""
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
    theirs = both.run_peer(*PLANNERS.values(), prepare=False, fingerprint=fingerprint)
    yield both, theirs
    shutil.rmtree(both.folder)


@pytest.fixture(scope="session", params=PLANNERS)
def pair(planned, request):
    """Our plan and nnU-Net's, of one preset and from nnU-Net's fingerprint."""
    both, theirs = planned
    file = both.folder / "ours" / request.param / "plans.json"
    both.make_plan(theirs / "dataset_fingerprint.json", file, "--recipe", request.param)
    return file, theirs / "plans" / f"{PLANNERS[request.param]}.json"


@pytest.fixture(scope="session")
def read_by_peer(planned, pair):
    """What nnU-Net reads in our plan, and what in its own."""
    both, _ = planned
    output = both.folder / "read.json"
    both.run_script("peer_networks.py", both.raw / "dataset.json", output, *pair)
    return read_json(output)


def test_same_plan(pair):
    ours, theirs = pair
    differences = plan_differences(read_json(ours), read_json(theirs))
    assert not differences, "\n".join(differences)


def test_the_peer_reads_our_plan_as_its_own(read_by_peer):
    ours, theirs = read_by_peer
    differences = plan_differences(ours, theirs)
    assert not differences, "\n".join(differences)


def test_the_peer_builds_our_networks(pair, read_by_peer):
    plan, expected = read_plan(pair[0]), read_by_peer[0]["configurations"]
    assert plan.configurations.keys() == expected.keys()
    for name, configuration in plan.configurations.items():
        theirs = expected[name]["network"]
        ours = build_network(
            configuration.architecture,
            input_channels=theirs["input_channels"],
            output_channels=theirs["output_channels"],
        )
        parameters = list(ours.parameters())
        assert sum(parameter.numel() for parameter in parameters) == theirs["parameters"], name
        assert sorted([*parameter.shape] for parameter in parameters) == theirs["shapes"], name
