"""Least squares from sums is numpy's on the rows themselves; the choice is the one that errs least elsewhere."""

import numpy as np
import pytest

from satxlate_jax.training.spectral_fit import RIDGES, WHITE, Moments, best_of, least_squares, whitening


def sums(*columns: np.ndarray) -> Moments:
    """Added up in two portions."""
    moments, rows = Moments(), np.concatenate(columns, axis=1)
    moments.add(rows[:100])
    moments.add(rows[100:])
    return moments


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(5)


def test_whitened_bands_are_uncorrelated(random):
    rows = random.normal(size=(5000, 3)) @ random.normal(size=(3, 3)) * 10 + [3, -4, 50]
    layer = whitening(sums(rows))
    white = rows @ layer["kernel"] + layer["bias"]
    np.testing.assert_allclose(white.mean(0), 0, atol=1e-9)
    covariance = np.cov(white.T, bias=True)
    np.testing.assert_allclose(covariance - np.diag(np.diag(covariance)), 0, atol=1e-9)
    variances = np.linalg.eigvalsh(np.cov(rows.T, bias=True))
    np.testing.assert_allclose(np.sort(np.diag(covariance)), np.sort(variances / (variances + WHITE)))


@pytest.mark.parametrize("ridge", [0.0, 1e-2])
def test_least_squares_is_numpys(ridge, random):
    x, noise = random.normal(size=(400, 4)) * [1, 5, 0.1, 2] + 3, random.normal(size=(400, 2))
    y = x[:, :2] @ random.normal(size=(2, 2)) + noise
    found = least_squares(sums(x, y), 2, ridge=ridge)
    # a ridge on features of variance one is rows more, with zeros as outputs
    spread, centre = x.std(0), x.mean(0)
    design = np.concatenate([(x - centre) / spread, np.sqrt(400 * ridge) * np.eye(4)])
    weights = np.linalg.lstsq(design, np.concatenate([y - y.mean(0), np.zeros((4, 2))]), rcond=None)[0]
    expected = (x - centre) / spread @ weights + y.mean(0)
    np.testing.assert_allclose(x @ found.weights + found.offset, expected, atol=1e-8)
    np.testing.assert_allclose(found.errors(sums(x, y)), ((expected - y) ** 2).mean(0), rtol=1e-8)


def test_features_that_do_not_help_elsewhere_get_no_weight(random):
    """Output 0 is the first feature, for which all others only fit noise; output 1 needs the third."""
    x, elsewhere = random.normal(size=(120, 30)), random.normal(size=(4000, 30))

    def outputs(x: np.ndarray) -> np.ndarray:
        return np.stack([x[:, 0] + random.normal(size=len(x)), x[:, 2] + 0.1 * random.normal(size=len(x))], axis=1)

    train, check = sums(x, outputs(x)), sums(elsewhere, outputs(elsewhere))
    found = best_of(train, check, 2, (2, 30))
    assert not found.weights[2:, 0].any() and found.weights[0, 0] == pytest.approx(1, abs=0.3)
    assert found.weights[2, 1] == pytest.approx(1, abs=0.1)
    tried = [least_squares(train, 2, count, ridge).errors(check) for count in (2, 30) for ridge in (0.0, *RIDGES)]
    np.testing.assert_allclose(found.errors(check), np.min(tried, axis=0), rtol=1e-9)
