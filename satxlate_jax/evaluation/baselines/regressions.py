"""Linear and quadratic regression and boosted trees on the target's tiles; one per band (SBAF) on coincident pairs."""

import importlib.util
from typing import Any

import numpy as np

from satxlate_jax.evaluation.baselines.simple import Baseline, Task
from satxlate_jax.instruments import published_statistics
from satxlate_jax.regression import Moments, least_squares

_AT_ONCE = 4096  # pixels whose features are computed together: what a processor's cache holds


def _solve(moments: Moments) -> tuple[np.ndarray, float]:
    """Weights and offset of the last variable's regression on the others."""
    weights, offset = least_squares(moments.mean, moments.covariance, len(moments.mean) - 1, rcond=1e-12)
    return weights[:, 0], offset[0]


class LinearRegression(Baseline):
    """Least squares from the shared bands to every target band.

    Each target band has its own sums, so that a pixel missing in one does not cost the others.

    Attributes:
      weights: [feature, target band].
      offset: [target band].
    """

    name, label, wants = "linear", "linear regression", ("target",)
    step = 1  # of the pixels used, along rows and columns

    def __init__(self, task: Task):
        super().__init__(task)
        n_inputs = self.features(np.zeros((1, len(self.partners)))).shape[1]
        self._moments = [Moments(n_inputs + 1) for _ in task.target_bands]
        self.weights = np.full((n_inputs, len(task.target_bands)), np.nan)
        self.offset = np.full(len(task.target_bands), np.nan)

    def features(self, inputs: np.ndarray) -> np.ndarray:
        """From the shared bands [pixel, band] to the variables that the regression is linear in, [pixel, feature]."""
        return inputs

    def fit_target(self, values: np.ndarray) -> None:
        """Adds the pixels of a tile that have all inputs and the output."""
        if not self.partners:
            return  # without a shared band there is nothing to regress on, and no answer
        pixels = values[:: self.step, :: self.step].reshape(-1, values.shape[-1]).astype(np.float64)
        pixels = pixels[np.isfinite(pixels[:, self.partners]).all(1)]
        features = self.features(pixels[:, self.partners])
        patterns: dict[bytes, list[int]] = {}  # bands are mostly missing together: one product serves them all
        for channel in range(pixels.shape[1]):
            patterns.setdefault(np.isfinite(pixels[:, channel]).tobytes(), []).append(channel)
        for pattern, channels in patterns.items():
            seen = np.frombuffer(pattern, bool)
            if seen.any():
                tile = Moments(features.shape[1] + len(channels))
                tile.add(np.concatenate([features[seen], pixels[seen][:, channels]], axis=1))
                for position, channel in enumerate(channels):
                    kept = [*range(features.shape[1]), features.shape[1] + position]
                    self._moments[channel].merge(tile.n, tile.mean[kept], tile.products[np.ix_(kept, kept)])

    def finish(self) -> None:
        """Solves the normal equations of each band that was seen."""
        for channel, moments in enumerate(self._moments):
            if moments.n > 1:
                self.weights[:, channel], self.offset[channel] = _solve(moments)

    def predict(self, values: np.ndarray) -> np.ndarray:
        """The regression on the source's own measurements; NaN where an input is missing."""
        predicted = self.nothing(values)
        if not self.channels:
            return predicted
        inputs = np.moveaxis(values, -1, 0)[self.channels].reshape(len(self.channels), -1).astype(np.float64)
        outputs = np.moveaxis(predicted, -1, 0).reshape(len(self.offset), -1)  # the same memory
        for start in range(0, inputs.shape[1], _AT_ONCE):
            pixels = slice(start, start + _AT_ONCE)
            features = self.features(inputs[:, pixels].T)
            outputs[:, pixels] = self.weights.T @ features.T + self.offset[:, None]
        return predicted


class QuadraticRegression(LinearRegression):
    """Least squares on the shared bands, their squares and products; from every third pixel along rows and columns.

    Inputs are centred and scaled by the published statistics first, so that squares are well conditioned.
    """

    name, label = "quadratic", "quadratic regression"
    step = 3

    def __init__(self, task: Task):
        self._mean, self._std = published_statistics(task.target, task.inputs)
        super().__init__(task)

    def features(self, inputs: np.ndarray) -> np.ndarray:
        """The bands and all products of two of them: [pixel, shared band] -> [pixel, feature]."""
        x = np.ascontiguousarray(((inputs - self._mean) / self._std).T)
        return np.concatenate([x, *(x[index:] * one for index, one in enumerate(x))]).T


class PairedLine(Baseline):
    """A line per shared band, fitted on coincident files that are not scored: a spectral band adjustment (SBAF)."""

    name, label, wants = "sbaf", "SBAF (paired)", ("pair",)

    def __init__(self, task: Task):
        super().__init__(task)
        self._moments = [Moments(2) for _ in self.channels]
        self._lines = np.full((len(self.channels), 2), np.nan)

    def fit_pair(self, source: np.ndarray, target: np.ndarray) -> None:
        """Adds coincident tiles [h, w, source band] and [h, w, target band]."""
        for moments, channel, partner in zip(self._moments, self.channels, self.partners, strict=True):
            values = np.stack([source[..., channel], target[..., partner]], axis=-1).astype(np.float64)
            values = values[np.isfinite(values).all(-1)]
            if len(values):
                moments.add(values)

    def finish(self) -> None:
        """Solves for slope and offset; a band never seen in pairs has no answer."""
        for line, moments in zip(self._lines, self._moments, strict=True):
            if moments.n > 1 and moments.products[0, 0] > 0:
                weights, line[1] = _solve(moments)
                line[0] = weights[0]

    def predict(self, values: np.ndarray) -> np.ndarray:
        """The shared bands; NaN in the others."""
        predicted = self.nothing(values)
        predicted[..., self.partners] = values[..., self.channels] * self._lines[:, 0] + self._lines[:, 1]
        return predicted


class BoostedTrees(Baseline):
    """Gradient-boosted trees on a sample of pixels, for the bands that the source lacks; needs scikit-learn."""

    name, label, wants = "trees", "boosted trees", ("target",)
    sample = 120_000  # pixels
    per_tile = 6_000

    def __init__(self, task: Task):
        super().__init__(task)
        self._random = np.random.default_rng(0)
        self._rows: list[np.ndarray] = []
        self._models: dict[int, Any] = {}

    def fit_target(self, values: np.ndarray) -> None:
        """Draws pixels of a tile that have every input."""
        if not self.partners:
            return
        pixels = values.reshape(-1, values.shape[-1])
        usable = np.flatnonzero(np.isfinite(pixels[:, self.partners]).all(1))
        chosen = self._random.permutation(usable)[: self.per_tile]
        self._rows.append(pixels[chosen].astype(np.float32))

    def finish(self) -> None:
        """Fits a model per band; without scikit-learn there is none."""
        if importlib.util.find_spec("sklearn") is None or not self._rows:
            return
        from sklearn.ensemble import HistGradientBoostingRegressor

        rows = self._random.permutation(np.concatenate(self._rows))[: self.sample]
        self._rows = []
        for channel in self.task.lacking:
            seen = np.isfinite(rows[:, channel])
            if seen.sum() > 100:
                model = HistGradientBoostingRegressor(max_iter=200, learning_rate=0.1, random_state=0)
                self._models[channel] = model.fit(rows[seen][:, self.partners], rows[seen, channel])

    def predict(self, values: np.ndarray) -> np.ndarray:
        """The bands that the source lacks; NaN in the others and where an input is missing."""
        predicted = self.nothing(values)
        inputs = values[..., self.channels]
        usable = np.isfinite(inputs).all(-1)
        for channel, model in self._models.items():
            if usable.any():
                predicted[usable, channel] = model.predict(inputs[usable])
        return predicted
