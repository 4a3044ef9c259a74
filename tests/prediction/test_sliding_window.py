"""Tiles, mirrored copies and networks and their averages, against plain restatements."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from case_samples import REGIONS, architecture_of, labels_of
from scipy.special import expit, softmax
from torch import nn

from segflow.contracts.errors import PredictionError
from segflow.network.unet import arranged, build_network
from segflow.prediction import sliding_window as module
from segflow.prediction.mirroring import mirrored_mean
from segflow.prediction.sliding_window import adapted, sliding_window
from segflow.recipes.inference import InferenceRecipe
from segflow.volumes.tiles import gaussian_weights, tile_corners

PLAIN = InferenceRecipe(mirroring=False)
MIRRORED = InferenceRecipe()
ONE = labels_of(1)
PATCH = (8, 8, 8)
PLAN = architecture_of(["111", "222", "222"], (8, 16, 32))


def convolution(dimensions=3, seed=0):
    """A network without any symmetry."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return {2: nn.Conv2d, 3: nn.Conv3d}[dimensions](1, 2, 3, padding="same").eval()


def image_of(*shape, channels=1):
    image = np.random.default_rng(0).normal(size=(channels, *shape)).astype(np.float32)
    image.setflags(write=False)
    return image


def predict(networks, image, patch=PATCH, recipe=PLAIN, labels=ONE, device="cpu"):
    return np.concatenate(
        list(sliding_window(networks, image, patch, recipe, labels=labels, device=device)), axis=1
    )


@torch.inference_mode()
def output_of(network, image):
    return network(torch.from_numpy(image.copy())[None])[0].numpy()


def plain_restatement(network, image, patch):
    """One tile after the other, in float64, on an image no smaller than the patch."""
    weights = gaussian_weights(patch, 0.125).astype(np.float64)
    total, norm = np.zeros((2, *image.shape[1:])), np.zeros(image.shape[1:])
    for corner in tile_corners(image.shape[1:], patch, 0.5):
        tile = tuple(slice(start, start + edge) for start, edge in zip(corner, patch, strict=True))
        total[(slice(None), *tile)] += output_of(network, image[(slice(None), *tile)]) * weights
        norm[tile] += weights
    return total / norm


@pytest.mark.parametrize("recipe", [PLAIN, MIRRORED], ids=["plain", "mirrored"])
@pytest.mark.parametrize("step", [0.25, 0.5, 1.0])
@pytest.mark.parametrize(
    ("shape", "patch"),
    [
        ((8, 8, 8), (8, 8, 8)),
        ((17, 9, 20), (8, 8, 8)),
        ((5, 9, 3), (8, 8, 8)),  # smaller than the patch
        ((1, 30, 4), (2, 8, 6)),
        ((3, 11, 9), (8, 8)),
        ((3, 5, 20), (8, 8)),
    ],
)
def test_a_voxel_wise_network_gives_the_same_in_tiles(shape, patch, step, recipe):
    image = image_of(*shape)
    recipe = recipe.model_copy(update={"step": step})
    found = predict(
        [lambda batch: torch.cat([batch * 3 - 1, torch.tanh(batch)], dim=1)], image, patch, recipe
    )
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    values = image.astype(np.float64)
    np.testing.assert_allclose(found, np.concatenate([values * 3 - 1, np.tanh(values)]), atol=1e-5)


@pytest.mark.parametrize("shape", [(16, 24, 16), (21, 30, 16)], ids=["one tile", "many tiles"])
def test_a_whole_network_equals_one_of_float64(shape):
    """nnU-Net's half-precision sums would be off by 0.01 to 0.1 at the corners (method.md section 16)."""
    image, patch = image_of(*shape), (16, 24, 16)
    network = build_network(PLAN, input_channels=1, output_channels=2, seed=0).eval()
    found = predict([network], image, patch)
    expected = plain_restatement(network.double(), image.astype(np.float64), patch)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_flat_patches_slide_over_each_slice():
    image, network = image_of(4, 13, 9), convolution(2)
    expected = [plain_restatement(network, image[:, plane], (8, 8)) for plane in range(4)]
    np.testing.assert_allclose(predict([network], image, (8, 8)), np.stack(expected, axis=1), atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "before", "after"), [((5, 8, 8), (1, 0, 0), (2, 0, 0)), ((8, 3, 6), (0, 2, 1), (0, 3, 1))]
)
def test_small_images_are_padded_with_zeros(shape, before, after):
    image, inner_network = image_of(*shape), convolution()
    ramp = torch.arange(512.0).reshape(PATCH)  # so that the position in the patch matters

    def network(batch):
        return inner_network(batch) + ramp

    whole = output_of(network, np.pad(image, [(0, 0), *zip(before, after, strict=True)]))
    inner = tuple(slice(low, low + edge) for low, edge in zip(before, shape, strict=True))
    np.testing.assert_allclose(predict([network], image), whole[(slice(None), *inner)], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("voxels", [1, 8**3 * 3, 10**9])
def test_batching_of_tiles_does_not_matter(voxels, monkeypatch):
    image, network, sizes = image_of(17, 12, 20), convolution(), []

    def watched(batch):
        sizes.append(len(batch))
        return network(batch)

    monkeypatch.setattr(module, "BATCH_VOXELS", voxels)
    np.testing.assert_allclose(predict([watched], image), plain_restatement(network, image, PATCH), atol=1e-5)
    n_tiles = len(list(tile_corners(image.shape[1:], PATCH, 0.5)))
    assert sum(sizes) == n_tiles
    assert max(sizes) == min(n_tiles, max(1, voxels // 8**3))


def test_mirrored_copies_of_few_tiles_are_batched(monkeypatch):
    image, network, sizes = image_of(8, 8, 11), convolution(), []

    def watched(batch):
        sizes.append(len(batch))
        return network(batch)

    monkeypatch.setattr(module, "BATCH_VOXELS", 8**3 * 7)
    predict([watched], image, recipe=MIRRORED)
    assert sizes == [6, 6, 4]  # two tiles, in three of eight mirrorings at a time


def test_planes_are_returned_as_soon_as_no_tile_covers_them(monkeypatch):
    monkeypatch.setattr(module, "BATCH_VOXELS", 1)
    image, patch, seen = image_of(65, 12, 9), (24, 8, 8), []

    def watched(batch):
        seen.append(len(batch))
        return torch.cat([batch, batch], dim=1)

    corners = list(tile_corners(image.shape[1:], patch, 0.5))
    done = 0
    for chunk in sliding_window([watched], image, patch, PLAIN, labels=ONE, device="cpu"):
        np.testing.assert_allclose(chunk[0], image[0, done : done + chunk.shape[1]], atol=1e-6)
        assert chunk.shape[1] <= 8
        done += chunk.shape[1]
        assert sum(seen) == sum(z < done for z, *_ in corners)
    assert done == 65


def test_without_a_network_it_is_an_error():
    with pytest.raises(ValueError, match="no network"):
        predict([], image_of(8, 8, 8))


# Memory.

#: As torch raises it on a GPU, and where cuDNN cannot have the memory that its algorithms need.
OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("GET was unable to find an engine to execute this computation"),
]


class Short:
    """A network that runs out of memory in the calls with these numbers; notes how many tiles each call had."""

    def __init__(self, network, calls, error):
        self.network, self.calls, self.error, self.sizes = network, calls, error, []

    def __call__(self, batch):
        self.sizes.append(len(batch))
        if len(self.sizes) - 1 in self.calls:
            raise self.error
        return self.network(batch)


@pytest.fixture
def places(monkeypatch):
    """Where the sums of each pass are. "cpu:0" is the CPU by a second name: in its place, a fake GPU."""
    noted, begin = [], module._Sums.__init__

    def noting(sums, shape, device):
        noted.append(device)
        begin(sums, shape, device)

    monkeypatch.setattr(module._Sums, "__init__", noting)
    monkeypatch.setattr(module, "BATCH_VOXELS", 3 * 8**3)
    return noted


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
@pytest.mark.parametrize(
    ("calls", "attempts"),
    [
        ([], ["cpu:0"]),
        ([0], ["cpu:0", "cpu:0"]),
        ([0, 1], ["cpu:0", "cpu:0", "cpu"]),
        ([9], ["cpu:0", "cpu:0"]),  # when planes have been yielded
        ([9, 30], ["cpu:0", "cpu:0", "cpu"]),
    ],
)
def test_out_of_memory_is_tried_again_with_less(calls, attempts, error, places):
    image, network = image_of(41, 12, 20), convolution()
    expected = predict([network], image)
    places.clear()
    short = Short(network, calls, error)
    found = predict([short], image, device="cpu:0")
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert places == attempts
    assert short.sizes[0] == 3
    assert set(short.sizes[calls[0] + 1 :] if calls else [1]) == {1}


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
@pytest.mark.parametrize(
    ("recipe", "remedies"),
    [(MIRRORED, "switch mirroring off, or use a machine with"), (PLAIN, "use a machine with")],
)
def test_each_remedy_is_tried_once_and_then_said(recipe, remedies, error, places):
    short = Short(convolution(), range(99), error)
    with pytest.raises(PredictionError) as caught:
        predict([short], image_of(17, 12, 20), recipe=recipe, device="cpu:0")
    assert places == ["cpu:0", "cpu:0", "cpu"]
    assert short.sizes == [3, 1, 1]
    text = str(caught.value)
    assert text.startswith("an image of 17 x 12 x 20 voxels does not fit into the memory of this machine (")
    assert text.endswith(
        f"even with one tile of 8 x 8 x 8 at a time and sums in main memory; {remedies} more memory"
    )


def test_remedies_on_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (int(1e9), int(8e9)))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: int(6.8e9))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA A2")
    window = module._Window(
        networks=[], source=torch.zeros(1, 9, 9, 9), inner=(), patch=PATCH, n_outputs=2, device="cuda",
        recipe=InferenceRecipe(precision="float32"),
    )  # fmt: skip
    assert window.shortage((9, 9, 9)) == (
        "an image of 9 x 9 x 9 voxels does not fit into the memory of the NVIDIA A2 (8.0 GB), even with one tile of "
        "8 x 8 x 8 at a time and sums in main memory; switch mirroring off, or compute in float16, or use device cpu "
        "or a card with more memory"
    )


def test_other_errors_are_not_tried_again(places):
    short = Short(convolution(), [0], RuntimeError("CUDA error: device-side assert triggered"))
    with pytest.raises(RuntimeError, match="device-side assert"):
        predict([short], image_of(17, 12, 20), device="cpu:0")
    assert places == ["cpu:0"]


@pytest.mark.parametrize(
    ("patch", "outputs", "free_gb", "expected"),
    [
        ((128, 128, 128), 3, 7, 1),
        ((128, 128, 128), 3, 0.1, 1),  # there is always one
        ((128, 128, 128), 3, 78, 2),
        ((128, 128, 128), 105, 20, 1),
        ((40, 56, 40), 3, 7, 18),
        ((40, 56, 40), 3, 78, 46),
        ((512, 512), 3, 78, 16),
    ],
)
def test_tiles_at_a_time_on_a_gpu(patch, outputs, free_gb, expected, monkeypatch):
    """A quarter of the free memory, at about 1 kB per voxel; the sums may take half of it."""
    monkeypatch.setattr(module, "free_memory", lambda device: int(free_gb * 1e9))
    window = module._Window(
        networks=[], source=torch.zeros(1, 9, 9, 9), inner=(), patch=patch, n_outputs=outputs,
        device="cuda", recipe=PLAIN,
    )  # fmt: skip
    assert list(window.attempts()) == list(dict.fromkeys([(expected, "cuda"), (1, "cuda"), (1, "cpu")]))


@pytest.mark.parametrize("at_a_time", [1, 3, 9])
@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize(
    "axes",
    [False, True, ("x",), ("y",), ("z",), ("x", "y"), ("y", "x"), ("z", "x"), ("x", "x"), ("z", "y", "x")],
)
def test_mirroring_written_out(axes, dimensions, at_a_time):
    net, calls = convolution(dimensions).double(), []
    batch = torch.randn(2, 1, *(3, 4, 5)[-dimensions:], generator=torch.Generator().manual_seed(1)).double()
    chosen = "zyx" if axes is True else axes or ()
    numbers = [dimensions + 1 - "xyz".index(axis) for axis in set(chosen) if axis != "z" or dimensions == 3]
    outputs = []
    for flips in itertools.product((False, True), repeat=len(numbers)):
        mirrored = [axis for axis, flip in zip(numbers, flips, strict=True) if flip]
        outputs.append(net(batch.flip(mirrored)).flip(mirrored))

    def counted(inputs):
        calls.append(len(inputs) / len(batch))
        return net(inputs)

    found = mirrored_mean(counted, batch, mirroring=axes, at_a_time=at_a_time)
    torch.testing.assert_close(found, torch.stack(outputs).mean(0))
    assert sum(calls) == len(outputs) == 2 ** len(numbers)
    assert max(calls) == min(at_a_time, len(outputs))


@pytest.mark.parametrize("recipe", [MIRRORED, InferenceRecipe(mirroring=("x",))], ids=["all axes", "x"])
def test_the_recipe_decides_on_mirroring(recipe):
    image, network = image_of(8, 8, 8), convolution()
    with torch.inference_mode():
        expected = mirrored_mean(network, torch.from_numpy(image.copy())[None], mirroring=recipe.mirroring)[0]
    np.testing.assert_allclose(predict([network], image, recipe=recipe), expected, atol=1e-5)
    assert np.abs(predict([network], image) - expected.numpy()).max() > 0.01


@pytest.mark.parametrize("average", ["logits", "probabilities"])
@pytest.mark.parametrize("labels", [ONE, REGIONS])
def test_networks_are_averaged_before_or_after_the_activation(labels, average):
    """Two networks that disagree, one of them very sure."""
    networks = [lambda batch: torch.cat([batch, -batch], 1), lambda batch: torch.cat([-9 * batch, batch], 1)]
    image = image_of(4, 5, 6)
    x = image[0].astype(np.float64)
    scores = np.array([[x, -x], [-9 * x, x]])
    if average == "probabilities":
        scores = expit(scores) if labels.has_regions else softmax(scores, axis=1)
    found = predict(networks, image, (4, 4, 4), InferenceRecipe(average=average), labels)
    np.testing.assert_allclose(found, scores.mean(axis=0), atol=1e-5)


@pytest.mark.parametrize("average", ["logits", "probabilities"])
@pytest.mark.parametrize(
    ("precision", "computes_in", "least", "most"),
    [
        ("auto", torch.float32, 0, 0),
        ("float32", torch.float32, 0, 0),
        ("bfloat16", torch.bfloat16, 1e-5, 0.05),
        ("float16", torch.float16, 1e-5, 0.01),
    ],
)
def test_the_precision_of_the_network_and_of_its_output(precision, computes_in, least, most, average):
    network, seen = convolution(), []
    tf32 = torch.backends.cudnn
    network.register_forward_hook(lambda _, __, output: seen.append((output.dtype, tf32.allow_tf32)))
    outputs = []
    for kind in (precision, "float32"):
        recipe = InferenceRecipe(precision=kind, average=average)
        outputs.append(output_of(adapted(network, recipe, "cpu", has_regions=True), image_of(4, 4, 4)))
    assert seen == [(computes_in, precision in {"float16", "bfloat16"}), (torch.float32, False)]
    assert outputs[0].dtype == np.float32
    assert least <= np.abs(outputs[0] - outputs[1]).max() <= most


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 0.01), ("auto", 0.05)])
@pytest.mark.parametrize("share", [0.5, 0.0], ids=["sums on the GPU", "sums in main memory"])
def test_scores_on_a_gpu_equal_those_of_the_cpu(precision, tolerance, share, monkeypatch):
    monkeypatch.setattr(module, "_GPU_SHARE", share)
    expected, found = (
        predict(
            [arranged(build_network(PLAN, input_channels=1, output_channels=2, seed=0).eval(), device)],
            image_of(30, 41, 27),
            (16, 24, 16),
            InferenceRecipe(precision=kind),
            device=device,
        )
        for device, kind in (("cpu", "float32"), ("cuda", precision))
    )
    np.testing.assert_allclose(found, expected, atol=tolerance * np.abs(expected).max())
