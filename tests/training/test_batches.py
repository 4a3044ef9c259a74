"""Batches are a pure function of seed and number."""

import dataclasses

import numpy as np
import pytest

from segflow.contracts.labels import Labels
from segflow.training.job import batch_maker


def same(a, b):
    return np.array_equal(a.image, b.image) and all(
        np.array_equal(x, y) for x, y in zip(a.targets, b.targets, strict=True)
    )


@pytest.mark.parametrize("dimensions", [2, 3])
def test_shapes_and_types(job, reader, dimensions):
    maker = batch_maker(job(dimensions), reader)
    patch = (8, 16, 12)[-dimensions:]
    for number in range(2 * maker.per_epoch):
        batch = maker.make(number)
        assert batch.image.shape == (2, 1, *patch)
        assert batch.image.dtype == np.float32
        assert [target.shape for target in batch.targets] == [(2, *patch)]
        assert batch.targets[0].dtype == np.int16


def test_the_same_number_is_the_same_batch_and_no_other(job, reader):
    maker = batch_maker(job(), reader)
    batches = [maker.make(number) for number in range(maker.per_epoch + 1)]
    assert same(maker.make(1), batches[1])
    assert not any(same(batches[i], batches[j]) for i in range(len(batches)) for j in range(i))
    assert not same(batch_maker(job(seed=2), reader).make(1), batches[1])


def test_training_and_validation_batches_take_turns(job, reader):
    maker = dataclasses.replace(batch_maker(job(), reader), iterations=3, validation_iterations=2)
    read = []

    class Spy:
        def read(self, identifier):
            read.append(identifier)
            return reader.read(identifier)

    maker = dataclasses.replace(maker, reader=Spy())
    for number in range(5):
        maker.make(number)
    assert set(read[:6]) <= {"1", "2", "3"}
    assert read[6:] == ["4"] * 4


def test_forced_patches_hold_foreground(job, reader):
    maker = batch_maker(job(patch_shape=(4, 4, 4)), reader)
    for number in range(3, 5):  # validation: the patch is not moved about the voxel
        assert maker.make(number).targets[0][1].any()


def test_with_an_ignore_label_every_patch_is_around_an_annotated_voxel(job, reader):
    class Sparse:
        def read(self, identifier):
            case = reader.read(identifier)
            labels = np.full_like(case.labels, 3)
            labels[7, 10, 9] = 0
            return dataclasses.replace(
                case,
                labels=labels,
                locations={
                    1: np.zeros((0, 3), int),
                    2: np.zeros((0, 3), int),
                    (-1, 0, 1, 2): np.array([[7, 10, 9]]),
                },
            )

    labels = Labels((("background", 0), ("a", 1), ("b", 2), ("ignore", 3)))
    maker = batch_maker(job(patch_shape=(4, 4, 4), labels=labels), Sparse())
    for number in range(3, 5):
        assert ((maker.make(number).targets[0] == 0).sum((1, 2, 3)) == 1).all()


def test_regions_and_cascade(job, reader):
    labels = Labels((("background", 0), ("both", (1, 2)), ("b", 2)), (1, 2))
    maker = batch_maker(job(labels=labels, previous_stage="3d_lowres"), reader)
    batch = maker.make(0)
    assert batch.image.shape[1] == 3
    assert batch.targets[0].shape[1] == 2
    assert batch.targets[0].dtype == np.bool_
