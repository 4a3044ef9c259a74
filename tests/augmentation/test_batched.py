"""A batch in one pass against its patches one by one, from the same draws."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from segflow.augmentation.batched import augment_batch, collect
from segflow.augmentation.pipeline import (
    Patch,
    Settings,
    augment,
    draw_augmentation,
    needed_box,
    plain,
)
from segflow.contracts.labels import Labels
from segflow.recipes.training import AugmentationRecipe

#: Probabilities of which each is 0 unless it is named.
NEVER = {name: 0.0 for name in AugmentationRecipe.model_fields if name.startswith("p_")}
ALONE = {
    "nothing": {},
    "rotation": {"p_rotation": 1},
    "scaling": {"p_scaling": 1},
    "elastic": {"p_elastic": 1},
    "noise": {"p_noise": 1},
    "blur": {"p_blur": 1, "p_blur_channel": 0.7},
    "brightness": {"p_brightness": 1},
    "contrast": {"p_contrast": 1},
    "low resolution": {"p_low_resolution": 1, "p_low_resolution_channel": 0.7},
    "inverted gamma": {"p_gamma_inverted": 1},
    "gamma": {"p_gamma": 1},
    "mirroring": {"p_mirror_axis": 0.5},
    "cascade": {"p_cascade_morphology": 1, "p_cascade_morphology_label": 1, "p_cascade_remove": 1},
}
MANY = {
    "all": dict.fromkeys(NEVER, 1.0),
    "some": dict.fromkeys(NEVER, 0.5),
}
#: 2D, elongated 2D, 3D, and 3D that is transformed in plane.
SHAPES = [(24, 20), (48, 12), (12, 16, 14), (4, 20, 16)]
CLASSES = Labels((("background", 0), ("a", 1), ("b", 2)))
REGIONS = Labels((("background", 0), ("both", (1, 2)), ("b", 2), ("ignore", 3)), (1, 2))


def settings(patch_shape, recipe, labels=CLASSES, *, cascade=False):
    half = tuple(max(n // 2, 1) for n in patch_shape)
    return Settings(
        recipe=AugmentationRecipe(**{**NEVER, **recipe}),
        patch_shape=patch_shape,
        target_shapes=(patch_shape, half),
        labels=labels,
        zero_outside=(False, True),
        cascade=cascade,
    )


def read(shape, rng, labels, *, cascade):
    """Smooth images of two channels and a blocky label map of all labels, partly outside."""
    highest = 1 + max(2, labels.ignore or 0)
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    image = 2 * torch.randn(2, *shape, generator=generator) + 1
    coarse = torch.randint(-1, highest, [n // 3 + 1 for n in shape], generator=generator, dtype=torch.int16)
    for axis, n in enumerate(shape):
        coarse = coarse.repeat_interleave(3, axis).narrow(axis, 0, n)
    return Patch(image, coarse.contiguous(), coarse.clamp(0, 2) if cascade else None)


def copied(patch):
    previous = None if patch.previous is None else patch.previous.clone()
    return Patch(patch.image.clone(), patch.labels.clone(), previous)


def drawn(chosen, n=6, seed=0):
    """Patches and their draws."""
    rng = np.random.default_rng(seed)
    draws = [draw_augmentation(rng, chosen) for _ in range(n)]
    shapes = [needed_box(draw, chosen)[1] for draw in draws]
    return [read(shape, rng, chosen.labels, cascade=chosen.cascade) for shape in shapes], draws


def in_one_pass(patches, draws, chosen):
    pending, image, arrays = collect(patches, draws, chosen)
    assert image.dtype == np.float32
    return augment_batch(pending, torch.from_numpy(image), [torch.from_numpy(array) for array in arrays])


def one_by_one(patches, draws, chosen):
    examples = [augment(copied(p), draw, chosen) for p, draw in zip(patches, draws, strict=True)]
    targets = zip(*(example.targets for example in examples), strict=True)
    return torch.stack([example.image for example in examples]), [torch.stack(scale) for scale in targets]


def assert_alike(found, expected, *, differing=0.0):
    """Images to float32's rounding and targets exactly, but for a share of voxels."""
    (image, targets), (expected_image, expected_targets) = found, expected
    assert (image.shape, image.dtype) == (expected_image.shape, torch.float32)
    close = torch.isclose(image, expected_image, atol=3e-4, rtol=1e-4)
    assert (~close).float().mean() <= differing
    assert (image - expected_image)[close].abs().mean() < 5e-6
    for target, other in zip(targets, expected_targets, strict=True):
        assert (target.shape, target.dtype) == (other.shape, other.dtype)
        assert (target != other).float().mean() <= differing


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("recipe", [*ALONE.values(), *MANY.values()], ids=[*ALONE, *MANY])
def test_the_same_batch(shape, recipe):
    chosen = settings(shape, recipe, cascade="p_cascade_morphology" in recipe)
    patches, draws = drawn(chosen)
    expected = one_by_one(patches, draws, chosen)
    assert_alike(in_one_pass(patches, draws, chosen), expected)


@pytest.mark.parametrize("labels", [CLASSES, REGIONS], ids=["classes", "regions and ignore"])
@pytest.mark.parametrize("seed", range(4))
def test_the_same_batch_of_a_recipe_s_frequencies(labels, seed):
    chosen = settings((12, 16, 14), AugmentationRecipe(p_elastic=0.2).model_dump(), labels, cascade=True)
    patches, draws = drawn(chosen, n=8, seed=seed)
    assert_alike(in_one_pass(patches, draws, chosen), one_by_one(patches, draws, chosen))


def test_patches_for_validation_are_left_as_they_are():
    chosen = settings((12, 16, 14), MANY["all"], REGIONS, cascade=True)
    rng = np.random.default_rng(0)
    patches = [read(chosen.patch_shape, rng, REGIONS, cascade=True) for _ in range(3)]
    image, targets = in_one_pass(patches, [None] * 3, chosen)
    expected = [plain(patch, chosen) for patch in patches]
    assert torch.equal(image, torch.stack([example.image for example in expected]))
    for scale, target in enumerate(targets):
        assert torch.equal(target, torch.stack([example.targets[scale] for example in expected]))


def test_what_is_collected_stays_as_it_is():
    """It may be a worker's, or pinned and read by a copy that is still under way."""
    chosen = settings((12, 16, 14), MANY["some"], cascade=True)
    patches, draws = drawn(chosen)
    pending, image, arrays = collect(patches, draws, chosen)
    before = [torch.from_numpy(array).clone() for array in (image, *arrays)]
    first, second = (
        augment_batch(pending, torch.from_numpy(image), [torch.from_numpy(array) for array in arrays])
        for _ in range(2)
    )
    assert all(torch.equal(torch.from_numpy(a), b) for a, b in zip((image, *arrays), before, strict=True))
    assert torch.equal(first[0], second[0])
    assert all(map(torch.equal, first[1], second[1]))
    assert len({a.__array_interface__["data"][0] for a in (image, *arrays)}) == len(arrays) + 1


class OnDevice(TorchDispatchMode):
    """Refuses operations for which a host would have to wait for a GPU, and numbers that are copied one by one."""

    REFUSED = (
        "_local_scalar_dense",
        "nonzero",
        "masked_select",
        "is_nonzero",
        "equal",
        "lift_fresh",
        "unique",
    )

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.__name__.split(".")[0]
        assert name not in self.REFUSED, name
        return function(*args, **(kwargs or {}))


def test_the_host_waits_for_nothing():
    chosen = settings((4, 20, 16), MANY["all"], REGIONS, cascade=True)
    pending, image, arrays = collect(*drawn(chosen), chosen)
    tensors = [torch.from_numpy(array) for array in (image, *arrays)]
    with OnDevice():
        augment_batch(pending, tensors[0], tensors[1:])
    with pytest.raises(AssertionError, match="_local_scalar_dense"), OnDevice():
        float(tensors[0].mean())


@pytest.mark.parametrize("shape", SHAPES)
def test_all_is_computed_on_the_device_that_the_arrays_were_copied_to(shape):
    """Of tensors that have no content; noise, which needs the device's generator, is left out."""
    chosen = settings(shape, MANY["all"] | {"p_noise": 0}, REGIONS, cascade=True)
    pending, image, arrays = collect(*drawn(chosen), chosen)
    tensors = [torch.from_numpy(array).to("meta") for array in (image, *arrays)]
    found, targets = augment_batch(pending, tensors[0], tensors[1:])
    assert {tensor.device.type for tensor in (found, *targets)} == {"meta"}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_batch_on_a_gpu(shape):
    """But for noise, of which the GPU's generator gives another."""
    chosen = settings(shape, MANY["all"] | {"p_noise": 0}, REGIONS, cascade=True)
    patches, draws = drawn(chosen)
    pending, image, arrays = collect(patches, draws, chosen)
    tensors = [torch.from_numpy(array).cuda() for array in (image, *arrays)]
    torch.cuda.set_sync_debug_mode("error")
    try:
        found, targets = augment_batch(pending, tensors[0], tensors[1:])
    finally:
        torch.cuda.set_sync_debug_mode("default")
    expected = one_by_one(patches, draws, chosen)
    assert_alike((found.cpu(), [target.cpu() for target in targets]), expected, differing=1e-3)


@pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param(
            "cuda",
            marks=[
                pytest.mark.gpu,
                pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
            ],
        ),
    ],
)
def test_noise_has_its_distribution(device):
    chosen = settings((24, 32, 28), {"p_noise": 1})
    patches, draws = drawn(chosen)
    pending, image, arrays = collect(patches, draws, chosen)
    tensors = [torch.from_numpy(array).to(device) for array in (image, *arrays)]
    found, _ = augment_batch(pending, tensors[0], tensors[1:])
    noise = (found.cpu() - torch.stack([patch.image for patch in patches])).double()[:, 0]
    for one, draw in zip(noise, draws, strict=True):
        ((_, (std, _)),) = draw.changes
        assert one.mean() == pytest.approx(0, abs=4 * std / one.numel() ** 0.5)
        assert one.std() == pytest.approx(std, rel=0.02)
    assert len({float(one.flatten()[0]) for one in noise}) == len(noise)
