"""Least squares of the spectral path, and the whitening of its bands, from sums over pixels in float64."""

from collections.abc import Iterator

import numpy as np

from satxlate_jax.models.spectral_path import spectral_features

WHITE = 1e-2
"""Added to the variances that a whitening divides by, in network units: what is smaller is noise, not signal."""
_PORTION = 65_536  # pixels whose products are in memory at a time


def whitening(bands: np.ndarray) -> dict[str, np.ndarray]:
    """What makes bands uncorrelated and of variance one, by principal components.

    Args:
      bands: [pixel, band].

    Returns:
      'kernel' [band, component] and 'bias' [component].
    """
    mean, covariance = _mean_and_covariance(iter([bands]))
    variances, directions = np.linalg.eigh(covariance)
    kernel = directions / np.sqrt(np.maximum(variances, 0) + WHITE)
    return {"kernel": kernel, "bias": -mean @ kernel}


def least_squares(bands: np.ndarray, outputs: np.ndarray, quadratic: bool) -> tuple[np.ndarray, np.ndarray]:
    """The regression of outputs on bands, or on bands and their products.

    Collinear features share the weight (the solution of least norm, for features of variance one).

    Args:
      bands: [pixel, band].
      outputs: [pixel, output].
      quadratic: whether products are features.

    Returns:
      Weights [feature, output], features as `spectral_features` gives them, and offset [output].
    """
    rows = (
        np.concatenate([spectral_features(bands[k : k + _PORTION], quadratic), outputs[k : k + _PORTION]], axis=1)
        for k in range(0, len(bands), _PORTION)
    )
    mean, covariance = _mean_and_covariance(rows)
    n = len(mean) - outputs.shape[1]
    scale = np.sqrt(np.maximum(np.diag(covariance)[:n], 1e-12))
    scaled = covariance[:n, :n] / np.outer(scale, scale)
    weights = np.linalg.lstsq(scaled, covariance[:n, n:] / scale[:, None], rcond=1e-10)[0] / scale[:, None]
    return weights, mean[n:] - mean[:n] @ weights


def predict(bands: np.ndarray, weights: np.ndarray, offset: np.ndarray, quadratic: bool) -> np.ndarray:
    """What a regression of `least_squares` makes of bands [pixel, band]: [pixel, output]."""
    parts = (spectral_features(bands[k : k + _PORTION], quadratic) for k in range(0, len(bands), _PORTION))
    return np.concatenate([features @ weights + offset for features in parts])


def _mean_and_covariance(portions: Iterator[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Of all rows [row, column] together."""
    count, total, products = 0, 0.0, 0.0
    for rows in portions:
        rows = rows.astype(np.float64)
        count += len(rows)
        total += rows.sum(0)
        products += rows.T @ rows
    mean = total / count
    return mean, products / count - np.outer(mean, mean)
