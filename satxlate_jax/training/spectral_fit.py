"""Least squares of the spectral path from sums over pixels: whitenings, regressions, and which of them to trust."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

WHITE = 1e-2
"""Added to the variances that a whitening divides by, in network units: what is smaller is noise, not signal."""
RIDGES = (1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
"""Penalties to choose from, for features of variance one."""


class Moments:
    """Mean and covariance of rows that come in portions, added up in float64."""

    def __init__(self):
        self._n, self._sum, self._products = 0, 0.0, 0.0

    def add(self, rows: np.ndarray) -> None:
        """Takes in rows [row, column]."""
        self._n += len(rows)
        self._sum += rows.sum(0)
        self._products += rows.T @ rows

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        """The mean [column] and the covariance [column, column]."""
        mean = self._sum / self._n
        return mean, self._products / self._n - np.outer(mean, mean)


def whitening(moments: Moments) -> dict[str, np.ndarray]:
    """What makes bands uncorrelated and of variance one, by principal components.

    Args:
      moments: of the bands.

    Returns:
      'kernel' [band, component] and 'bias' [component].
    """
    mean, covariance = moments.finish()
    variances, directions = np.linalg.eigh(covariance)
    kernel = directions / np.sqrt(np.maximum(variances, 0) + WHITE)
    return {"kernel": kernel, "bias": -mean @ kernel}


@dataclass(frozen=True)
class Regression:
    """Weights [feature, output] and offset [output]."""

    weights: np.ndarray
    offset: np.ndarray

    def errors(self, moments: Moments) -> np.ndarray:
        """Mean squared error of each output, over the rows [feature and output] that were added up."""
        mean, covariance = moments.finish()
        n = len(self.weights)
        bias = mean[n:] - mean[:n] @ self.weights - self.offset
        explained = 2 * (self.weights * covariance[:n, n:]).sum(0)
        explained -= np.einsum("fo,fg,go->o", self.weights, covariance[:n, :n], self.weights)
        return np.diag(covariance)[n:] - explained + bias**2


def least_squares(moments: Moments, outputs: int, features: int | None = None, ridge: float = 0.0) -> Regression:
    """The regression of the last columns on those before.

    Args:
      moments: of rows [feature and output].
      outputs: how many columns are outputs.
      features: use only so many of the first; the others get weight zero. Default: all.
      ridge: penalty; without one, collinear features share the weight.
    """
    mean, covariance = moments.finish()
    n = len(mean) - outputs
    kept = slice(0, n if features is None else features)
    scale = np.sqrt(np.maximum(np.diag(covariance)[kept], 1e-12))
    scaled = covariance[kept, kept] / np.outer(scale, scale)
    right = covariance[kept, n:] / scale[:, None]
    if ridge:
        solution = np.linalg.solve(scaled + ridge * np.eye(len(scale)), right)
    else:
        solution = np.linalg.lstsq(scaled, right, rcond=1e-10)[0]
    weights = np.zeros((n, outputs))
    weights[kept] = solution / scale[:, None]
    return Regression(weights, mean[n:] - mean[:n] @ weights)


def best_of(train: Moments, check: Moments, outputs: int, features: Sequence[int]) -> Regression:
    """For each output that of several regressions which errs least where it was not fitted.

    Args:
      train: to fit on.
      check: to choose by.
      outputs: how many columns are outputs.
      features: numbers of features to try, each with every ridge and with none.
    """
    tried = [least_squares(train, outputs, count, ridge) for count in features for ridge in (0.0, *RIDGES)]
    best = np.argmin([regression.errors(check) for regression in tried], axis=0)
    columns = [(tried[index], output) for output, index in enumerate(best)]
    return Regression(
        np.stack([regression.weights[:, output] for regression, output in columns], axis=1),
        np.array([regression.offset[output] for regression, output in columns]),
    )
