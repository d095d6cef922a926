"""The learning rate."""

import pytest

from training.learn.optimisation import rate_factor
from training.recipe import Optimisation


def test_poly_is_the_papers():
    for epoch in (0, 10, 500, 999, 1000):
        expected = (1 - epoch / 1000) ** 0.9
        assert rate_factor(Optimisation(), epoch / 1000) == pytest.approx(expected)


def test_cosine_falls_from_one_to_zero():
    settings = Optimisation(decay="cosine")
    assert [rate_factor(settings, p) for p in (0, 0.5, 1)] == pytest.approx([1, 0.5, 0])


def test_warmup_grows_and_joins_the_decay():
    settings = Optimisation(warmup=0.1)
    assert rate_factor(settings, 0.05) == pytest.approx(0.5)
    assert rate_factor(settings, 0.0999) == pytest.approx(rate_factor(settings, 0.1), abs=2e-3)
    assert rate_factor(settings, 0) > 0


def test_never_negative_beyond_the_end():
    assert rate_factor(Optimisation(), 1.5) == 0
