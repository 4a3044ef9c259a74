"""The learning rate."""

import pytest

from segflow.training.schedule import polynomial_learning_rate


@pytest.mark.parametrize(("epoch", "expected"), [(0, 0.01), (500, 0.01 * 0.5**0.9), (999, 0.01 * 0.001**0.9)])
def test_polynomial_decay(epoch, expected):
    rate = polynomial_learning_rate(epoch, epochs=1000, initial=0.01, exponent=0.9)
    assert rate == pytest.approx(expected)
