"""The plans that users of nnU-Net published, made again from the fingerprints beside them."""

from __future__ import annotations

import json

import pytest
from reference_plans import PLANS, file_of, inputs_of

from segflow.network.unet import build_network
from segflow.nnunet.plans import plan_to_json, read_plan
from segflow.planning.plan import make_plan

pytestmark = pytest.mark.data


def names_of(format_):
    return [name for name, (*_, its_format) in PLANS.items() if its_format == format_]


def planned(name, shared):
    return make_plan(*inputs_of(name, shared))


def close(value):
    """Plain data, its numbers compared to twelve digits: spacings that took many steps differ in the last."""
    if isinstance(value, dict):
        return {key: close(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [close(entry) for entry in value]
    return pytest.approx(value, rel=1e-12) if isinstance(value, float) else value


@pytest.mark.parametrize("name", names_of("old"))
def test_same_plan(name, shared):
    """Every field, of the plan and of its configurations, in the order of the file."""
    found, expected = planned(name, shared), read_plan(file_of(name, shared))
    assert list(found.configurations) == list(expected.configurations)
    ours, theirs = (plan.model_dump(mode="json", exclude={"dataset_name"}) for plan in (found, expected))
    assert ours == close(theirs)


@pytest.mark.parametrize("name", names_of("new"))
def test_same_file(name, shared):
    """Key by key as nnU-Net wrote it; the name is that of the study there and of the data set's folder here."""
    written, expected = plan_to_json(planned(name, shared)), json.loads(file_of(name, shared).read_text())
    assert list(written) == list(expected)
    expected["dataset_name"] = written["dataset_name"]
    assert written == close(expected)
    assert list(written["configurations"]) == list(expected["configurations"])


@pytest.mark.parametrize("name", PLANS)
def test_networks_can_be_built_of_what_was_read(name, shared):
    for configuration in read_plan(file_of(name, shared)).configurations.values():
        narrow = configuration.architecture.model_copy(
            update={"features": (4,) * configuration.architecture.n_stages}
        )
        network = build_network(narrow, input_channels=len(configuration.normalization), output_channels=2)
        assert len(network.encoder.stages) == configuration.architecture.n_stages


def test_no_file_is_forgotten(shared):
    files = (shared / "reference" / "plans").glob("*/*lans.json")
    assert {(file.parent.name, file.name) for file in files} == {plan[:2] for plan in PLANS.values()}
    assert {path.name for path in (shared / "reference" / "plans").iterdir()} == {
        folder for folder, *_ in PLANS.values()
    }
