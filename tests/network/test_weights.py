"""Initial weights have the spread of the method; those of another network are loaded whole or not at all."""

import pytest
import torch
from case_samples import architecture_of
from torch import nn

from segflow.contracts.errors import TrainingError
from segflow.network.unet import build_network
from segflow.network.weights import adapted_stem, initialise_, load_weights_


@pytest.mark.parametrize(
    ("module", "fan_in"), [(nn.Conv3d(16, 64, 3), 16 * 27), (nn.ConvTranspose3d(64, 32, 2, 2), 32 * 8)]
)
def test_kaiming_normal_with_fan_in(module, fan_in):
    initialise_(module, torch.Generator().manual_seed(0))
    gain = (2 / (1 + 0.01**2)) ** 0.5
    assert float(module.weight.detach().std()) == pytest.approx(gain / fan_in**0.5, rel=0.03)
    assert not module.bias.any()


PLAN = architecture_of(["11", "22", "22"], (4, 8, 16))


def network(plan=PLAN, *, channels=1, outputs=3, seed=0):
    return build_network(plan, input_channels=channels, output_channels=outputs, seed=seed)


@pytest.mark.parametrize(("heads", "outputs"), [(True, 3), (False, 3), (False, 5)])
def test_weights_are_loaded_with_or_without_the_heads(heads, outputs):
    own, other = network(seed=1), network(seed=2, outputs=outputs)
    before = {name: tensor.clone() for name, tensor in own.state_dict().items()}
    load_weights_(own, other.state_dict(), where="x", heads=heads)
    for name, tensor in own.state_dict().items():
        stays = "seg_layers" in name and not heads
        assert torch.equal(tensor, before[name] if stays else other.state_dict()[name]), name


@pytest.mark.parametrize("heads", [True, False])
def test_every_tensor_that_does_not_fit_is_listed_and_nothing_changes(heads):
    own = network()
    before = {name: tensor.clone() for name, tensor in own.state_dict().items()}
    given = {**network(channels=2, seed=5).state_dict(), "decoder.extra.weight": torch.zeros(2, 3)}
    del given["encoder.stages.1.0.norm.bias"]
    with pytest.raises(TrainingError) as caught:
        load_weights_(own, given, where="other.pt", heads=heads)
    message, *lines = str(caught.value).splitlines()
    assert message.startswith("the weights of other.pt are those of another network (3 tensors do not fit)")
    assert lines == [
        "  encoder.stages.0.0.conv.weight: 4 x 1 x 3 x 3 here, 4 x 2 x 3 x 3 there",
        "  encoder.stages.1.0.norm.bias: 8 here, missing there",
        "  decoder.extra.weight: missing here, 2 x 3 there",
    ]
    assert all(torch.equal(tensor, before[name]) for name, tensor in own.state_dict().items())


def test_other_classes_are_another_network_with_its_heads():
    with pytest.raises(TrainingError, match=r"seg_layers.0.bias: 3 here, 5 there"):
        load_weights_(network(), network(outputs=5).state_dict(), where="x")


@pytest.mark.parametrize("encoder", ["plain", "residual"])
@pytest.mark.parametrize(("there", "here"), [(1, 3), (3, 1), (2, 3), (2, 2)])
def test_a_stem_for_other_channels(encoder, there, here):
    """Images of equal channels have the same feature maps in both networks; all else is as it was."""
    plan = PLAN.model_copy(update={"encoder": encoder})
    given, own = network(plan, channels=there, seed=1), network(plan, channels=here, seed=2)
    adapted = adapted_stem(own, given.state_dict())
    load_weights_(own, adapted, where="x")
    image = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    expected, found = given(image.expand(-1, there, -1, -1)), own(image.expand(-1, here, -1, -1))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    changed = [name for name, tensor in given.state_dict().items() if adapted[name].shape != tensor.shape]
    assert len(changed) == (there != here)
    if there == here:
        assert all(torch.equal(adapted[name], tensor) for name, tensor in given.state_dict().items())


def test_a_stem_of_other_features_or_kernels_is_refused():
    wider = PLAN.model_copy(update={"features": (6, 8, 16)})
    given = network(wider, channels=2).state_dict()
    with pytest.raises(
        TrainingError, match=r"stages\.0\.0\.conv\.weight: 4 x 1 x 3 x 3 here, 6 x 1 x 3 x 3 there"
    ):
        load_weights_(own := network(), adapted_stem(own, given), where="x")
