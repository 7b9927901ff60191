"""Least squares from sums is numpy's on the rows themselves, over more pixels than are summed at a time."""

import numpy as np
import pytest

from satxlate_jax.training.spectral_path_init import WHITE, fit_linear, predict, whitening


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(5)


def test_whitened_bands_are_uncorrelated(random):
    rows = random.normal(size=(5000, 3)) @ random.normal(size=(3, 3)) * 10 + [3, -4, 50]
    layer = whitening(rows)
    white = rows @ layer["kernel"] + layer["bias"]
    np.testing.assert_allclose(white.mean(0), 0, atol=1e-9)
    covariance = np.cov(white.T, bias=True)
    np.testing.assert_allclose(covariance - np.diag(np.diag(covariance)), 0, atol=1e-9)
    variances = np.linalg.eigvalsh(np.cov(rows.T, bias=True))
    np.testing.assert_allclose(np.sort(np.diag(covariance)), np.sort(variances / (variances + WHITE)))


@pytest.mark.parametrize("quadratic", [False, True])
@pytest.mark.parametrize("count", [400, 70_000])
def test_least_squares_is_numpys(count, quadratic, random):
    x, noise = random.normal(size=(count, 3)) * [1, 5, 0.1] + 3, random.normal(size=(count, 2))
    y = x[:, :2] @ random.normal(size=(2, 2)) + x[:, :1] * x[:, 2:] + noise
    products = [x[:, [i]] * x[:, [j]] for i in range(3) for j in range(i, 3)] if quadratic else []
    design = np.concatenate([x, *products, np.ones((count, 1))], axis=1)
    expected = np.linalg.lstsq(design, y, rcond=None)[0]
    weights, offset = fit_linear(x, y, quadratic)
    np.testing.assert_allclose(predict(x, weights, offset, quadratic), design @ expected, atol=1e-6)


def test_bands_that_say_the_same_share_the_weight(random):
    x = random.normal(size=(1000, 1))
    weights, offset = fit_linear(np.concatenate([x, 2 * x], axis=1), 3 * x + 1, quadratic=False)
    np.testing.assert_allclose(weights[:, 0] * [1, 2], 1.5, atol=1e-6)
    assert offset[0] == pytest.approx(1)
