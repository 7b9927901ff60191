"""Linear least squares from streamed rows, and ridge regression, in float64."""

from typing import Any

import numpy as np


class Moments:
    """Count n [...], mean [..., variable] and sums of products of centred variables, of streamed values, in float64.

    Source: Chan et al., The American Statistician 37, 1983.
    """

    def __init__(self, *shape: int):
        self.n, self.mean, self.products = np.zeros(shape[:-1]), np.zeros(shape), np.zeros((*shape, shape[-1]))

    def merge(self, n: Any, mean: np.ndarray, products: np.ndarray) -> None:
        """Add the moments of other values."""
        total, step = self.n + n, mean - self.mean
        share = n / np.maximum(total, 1)
        between = step[..., :, None] * step[..., None, :]
        self.products += products + between * (self.n * share)[..., None, None]
        self.mean += step * share[..., None]
        self.n = total

    def add(self, values: np.ndarray) -> None:
        """Add values [..., value, variable], none of them missing."""
        if values.shape[-2]:
            mean = values.mean(-2, dtype=np.float64)
            centred = values - mean[..., None, :]
            self.merge(values.shape[-2], mean, np.swapaxes(centred, -1, -2) @ centred)

    @property
    def covariance(self) -> np.ndarray:
        """[..., variable, variable], of the values themselves (divided by their number)."""
        return self.products / np.maximum(self.n, 1)[..., None, None]


def least_squares(mean: np.ndarray, covariance: np.ndarray, inputs: int, rcond: float) -> tuple[np.ndarray, np.ndarray]:
    """The regression of a table's last columns on its first: weights [input, output] and offset [output].

    From the mean [column] and covariance [column, column] of all, of which the first `inputs` are inputs. Collinear
    ones share the weight (the solution of least norm, for inputs of variance one), and one without variance has none;
    `rcond` is the smallest ratio of singular values that is not taken for zero.
    """
    scale = np.sqrt(np.maximum(np.diag(covariance)[:inputs], 1e-12))
    scaled = covariance[:inputs, :inputs] / np.outer(scale, scale)
    weights = np.linalg.lstsq(scaled, covariance[:inputs, inputs:] / scale[:, None], rcond=rcond)[0] / scale[:, None]
    return weights, mean[inputs:] - mean[:inputs] @ weights


def ridge(features: np.ndarray, outputs: np.ndarray, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """Ridge regression on features brought to unit variance: weights [feature, output] and offset [output], float64."""
    moments = Moments(features.shape[1] + outputs.shape[1])
    moments.add(np.concatenate([features, outputs], 1))
    return ridge_of_moments(moments, features.shape[1], penalty)


def ridge_of_moments(moments: Moments, inputs: int, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """As `ridge`, of the moments of features, the first `inputs` variables, and outputs, the last."""
    mean, covariance = moments.mean, moments.covariance
    scale = np.sqrt(np.diag(covariance)[:inputs])
    scale = np.where(scale > 1e-9, scale, np.inf)
    scaled = covariance[:inputs, :inputs] / np.outer(scale, scale)
    weights = np.linalg.solve(scaled + penalty * np.eye(inputs), covariance[:inputs, inputs:] / scale[:, None])
    weights /= scale[:, None]
    return weights, mean[inputs:] - mean[:inputs] @ weights
