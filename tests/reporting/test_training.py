"""A training in words."""

import math

import pytest

from segflow.reporting.training import diagnoses, epoch_line


def records(n, *, dice=(0.5, 0.25), loss=lambda epoch: 1 - 0.1 * epoch, held_out=0.7):
    return [
        {
            "epoch": epoch, "learning_rate": 0.01, "train_loss": loss(epoch), "validation_loss": held_out,
            "pseudo_dice": list(dice), "mean": 0.375, "ema": 0.3, "seconds": 100.0 + epoch,
        }
        for epoch in range(n)
    ]  # fmt: skip


def test_without_held_out_cases_nothing_is_said_of_them():
    line = epoch_line(records(2, dice=(math.nan,), held_out=math.nan), ["a"], epochs=2)
    assert line == "epoch 2/2: loss 0.900; learning rate 0.01; 1 min 41 s"


def test_of_many_classes_the_lowest():
    names = [f"class {n}" for n in range(20)]
    line = epoch_line(records(1, dice=[(n * 7 % 20) / 20 for n in range(20)]), names, epochs=1000)
    assert "pseudo-Dice lowest class 0 0.000, class 3 0.050, class 6 0.100" in line
    assert line.count("class") == 6
    assert line.endswith("1 min 40 s, 27 h 45 min left")


@pytest.mark.parametrize(
    ("n", "epochs", "changes", "expected"),
    [
        (5, 50, {}, []),
        (4, 20, {"dice": (0.0, 0.5)}, []),  # too early to say
        (5, 51, {"dice": (0.0, 0.5)}, []),
        (5, 50, {"dice": (0.0, 0.5)}, ["the pseudo-Dice of 'a' has been 0 since the beginning"]),
        (6, 50, {"dice": (0.5, math.nan)}, ["'b' occurred in no held-out patch"]),
        (6, 50, {"dice": (math.nan, math.nan), "held_out": math.nan}, []),
        (
            6,
            50,
            {"loss": lambda epoch: 0.5 + 0.01 * epoch},
            ["the loss has not fallen since the first epoch (0.500)"],
        ),
        (6, 50, {"loss": lambda epoch: -0.5 - 0.01 * epoch}, []),
        (6, 50, {"loss": lambda epoch: math.nan}, ["the loss has not fallen"]),
    ],
)
def test_diagnoses(n, epochs, changes, expected):
    found = diagnoses(records(n, **changes), ["a", "b"], epochs=epochs)
    assert len(found) == len(expected)
    assert all(sentence.startswith(start) for sentence, start in zip(found, expected, strict=True))
