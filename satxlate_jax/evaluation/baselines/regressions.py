"""Regressions between the bands of one instrument: linear, quadratic, boosted trees.

Fitted on the target's own tiles, from its bands that the source shares to each of its bands (see `baselines`).
"""

import importlib.util
from typing import Any

import numpy as np

from satxlate_jax.evaluation.baselines.simple import Baseline, Task


class LinearRegression(Baseline):
    """Least squares from the shared bands to every target band, by streaming normal equations in float64.

    Each target band has its own sums, so that a pixel missing in one does not cost the others.

    Attributes:
      weights: [input, target band].
      offset: [target band].
    """

    name, wants = "linear", ("target",)
    step = 1  # of the pixels used, along rows and columns

    def __init__(self, task: Task):
        super().__init__(task)
        self.source_channels, self.input_channels = task.shared
        n_inputs = self.features(np.zeros((1, len(self.input_channels)))).shape[1]
        n_target = len(task.target_bands)
        self._n = np.zeros(n_target, np.int64)
        self._mean = np.zeros((n_target, n_inputs + 1))  # of the inputs, then of the output
        self._moments = np.zeros((n_target, n_inputs + 1, n_inputs + 1))  # centred sums of products
        self.weights = np.full((n_inputs, n_target), np.nan)
        self.offset = np.full(n_target, np.nan)

    def features(self, inputs: np.ndarray) -> np.ndarray:
        """What the regression is linear in: [pixel, shared band] -> [pixel, feature]."""
        return inputs

    def fit_target(self, values: np.ndarray) -> None:
        """Adds a tile [h, w, target band] to the sums, pixels where all inputs and the output are there."""
        if not self.input_channels:
            return  # without a shared band there is nothing to regress on, and no answer
        pixels = values[:: self.step, :: self.step].reshape(-1, values.shape[-1]).astype(np.float64)
        inputs = pixels[:, self.input_channels]
        usable = np.isfinite(inputs).all(1)
        pixels, features = pixels[usable], self.features(inputs[usable])
        patterns: dict[bytes, list[int]] = {}  # bands are mostly missing together: one product serves them all
        for channel in range(len(self._n)):
            patterns.setdefault(np.isfinite(pixels[:, channel]).tobytes(), []).append(channel)
        for pattern, channels in patterns.items():
            seen = np.frombuffer(pattern, bool)
            if seen.any():
                self._add(channels, features[seen], pixels[seen][:, channels])

    def _add(self, channels: list[int], features: np.ndarray, outputs: np.ndarray) -> None:
        rows = np.concatenate([features, outputs], axis=1)
        means = rows.mean(0)
        centred = rows - means
        products = centred.T @ centred
        n, n_inputs = len(rows), features.shape[1]
        for position, channel in enumerate(channels):
            kept = [*range(n_inputs), n_inputs + position]
            total = n + self._n[channel]
            step = means[kept] - self._mean[channel]
            self._moments[channel] += products[np.ix_(kept, kept)]
            self._moments[channel] += np.outer(step, step) * (self._n[channel] * n / total)
            self._mean[channel] += step * (n / total)
            self._n[channel] = total

    def finish(self) -> None:
        """Solves the normal equations, scaled to unit variance; a direction without variance gets weight zero."""
        for channel in np.flatnonzero(self._n > 1):
            covariance = self._moments[channel] / self._n[channel]
            scale = np.sqrt(np.maximum(np.diag(covariance), 1e-12))
            scaled = covariance / np.outer(scale, scale)
            solution = np.linalg.lstsq(scaled[:-1, :-1], scaled[:-1, -1], rcond=1e-12)[0]
            self.weights[:, channel] = solution * scale[-1] / scale[:-1]
            self.offset[channel] = self._mean[channel, -1] - self._mean[channel, :-1] @ self.weights[:, channel]

    def predict(self, values: np.ndarray) -> np.ndarray:
        """The regression on the source's own measurements, [h, w, target band]; NaN where an input is missing."""
        inputs = values.reshape(-1, values.shape[-1])[:, self.source_channels].astype(np.float64)
        return (self.features(inputs) @ self.weights + self.offset).reshape(*values.shape[:2], -1)


class QuadraticRegression(LinearRegression):
    """Least squares on the shared bands, their squares and products; from every third pixel along rows and columns.

    Inputs are centred and scaled by the published statistics first, so that squares are well conditioned.
    """

    name = "quadratic"
    step = 3

    def __init__(self, task: Task):
        from satxlate_jax.instruments import published_statistics

        numbers = [task.target_bands[channel] for channel in task.shared[1]]
        self._centre, self._scale = published_statistics(task.target, numbers)
        super().__init__(task)

    def features(self, inputs: np.ndarray) -> np.ndarray:
        """The bands and all products of two of them: [pixel, shared band] -> [pixel, feature]."""
        x = (inputs - self._centre) / self._scale
        first, second = np.triu_indices(x.shape[1])
        return np.concatenate([x, x[:, first] * x[:, second]], axis=1)


class BoostedTrees(Baseline):
    """Gradient-boosted trees on a sample of pixels, for the bands that the source lacks; needs scikit-learn."""

    name, wants = "trees", ("target",)
    sample = 120_000  # pixels
    per_tile = 6_000

    def __init__(self, task: Task):
        super().__init__(task)
        self._source_channels, self._input_channels = task.shared
        self._random = np.random.default_rng(0)
        self._rows: list[np.ndarray] = []
        self._models: dict[int, Any] = {}

    def fit_target(self, values: np.ndarray) -> None:
        """Draws pixels of a tile [h, w, target band] that have every input."""
        if not self._input_channels:
            return
        pixels = values.reshape(-1, values.shape[-1])
        usable = np.flatnonzero(np.isfinite(pixels[:, self._input_channels]).all(1))
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
                self._models[channel] = model.fit(rows[seen][:, self._input_channels], rows[seen, channel])

    def predict(self, values: np.ndarray) -> np.ndarray:
        """The bands that the source lacks, [h, w, target band]; NaN in the others and where an input is missing."""
        predicted = self.nothing(values)
        inputs = values.reshape(-1, values.shape[-1])[:, self._source_channels]
        usable = np.isfinite(inputs).all(1)
        for channel, model in self._models.items():
            column = np.full(len(inputs), np.nan)
            if usable.any():
                column[usable] = model.predict(inputs[usable])
            predicted[..., channel] = column.reshape(values.shape[:2])
        return predicted
