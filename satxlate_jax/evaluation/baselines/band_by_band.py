"""Band by band: histogram matching (unpaired) and a line fitted on coincident files (paired, as SBAFs are)."""

import numpy as np

from satxlate_jax.evaluation.baselines.simple import Baseline, Task
from satxlate_jax.evaluation.joint_histogram import BINS
from satxlate_jax.instruments import get_satellite


class HistogramMatching(Baseline):
    """Maps each shared band so that the distribution over the source's tiles becomes that over the target's."""

    name, wants = "matching", ("target", "source")

    def __init__(self, task: Task):
        super().__init__(task)
        self._pairs = list(zip(*task.shared, strict=True))
        target = get_satellite(task.target)
        kinds = [target.band(task.target_bands[channel]).kind for _, channel in self._pairs]
        self._edges = [
            np.linspace(low, high, round((high - low) / width) + 1)
            for low, high, width in (BINS[kind] for kind in kinds)
        ]
        self._counts = [np.zeros((2, len(edges) - 1)) for edges in self._edges]
        self._maps: list[tuple[np.ndarray, np.ndarray] | None] = [None] * len(self._pairs)

    def _add(self, side: int, values: np.ndarray) -> None:
        for pair, edges, counts in zip(self._pairs, self._edges, self._counts, strict=True):
            field = values[..., pair[side]]
            counts[side] += np.histogram(np.clip(field[np.isfinite(field)], edges[0], edges[-1]), edges)[0]

    def fit_source(self, values: np.ndarray) -> None:
        """Counts a tile [h, w, source band]."""
        self._add(0, values)

    def fit_target(self, values: np.ndarray) -> None:
        """Counts a tile [h, w, target band]."""
        self._add(1, values)

    def finish(self) -> None:
        """Makes each band's map: values of equal rank in the two distributions."""
        for index, (edges, counts) in enumerate(zip(self._edges, self._counts, strict=True)):
            if counts.sum(1).min() > 0:
                ranks = np.concatenate([np.zeros((2, 1)), counts.cumsum(1) / counts.sum(1, keepdims=True)], axis=1)
                inside = np.flatnonzero((ranks[0] > 1e-4) & (ranks[0] < 1 - 1e-4))
                if inside.size > 1:
                    # strictly rising ranks, so that flat parts of the target's distribution have one inverse
                    rising = ranks[1] + 1e-12 * np.arange(ranks.shape[1])
                    self._maps[index] = edges[inside], np.interp(ranks[0][inside], rising, edges)

    def predict(self, values: np.ndarray) -> np.ndarray:
        """The shared bands, [h, w, target band]; beyond the source's distribution by the shift at its end."""
        predicted = self.nothing(values)
        for pair, mapped in zip(self._pairs, self._maps, strict=True):
            if mapped is not None:
                field = values[..., pair[0]].astype(np.float64)
                shift = mapped[1] - mapped[0]
                predicted[..., pair[1]] = field + np.interp(field, mapped[0], shift)
        return predicted


class PairedLine(Baseline):
    """A line per shared band, fitted on coincident files that are not scored: a spectral band adjustment (SBAF)."""

    name, wants = "sbaf", ("pairs",)

    def __init__(self, task: Task):
        super().__init__(task)
        self._pairs = list(zip(*task.shared, strict=True))
        self._sums = np.zeros((len(self._pairs), 5))  # n, mean x, mean y, sum of squares of x, of products
        self._lines = np.full((len(self._pairs), 2), np.nan)

    def fit_pair(self, source: np.ndarray, target: np.ndarray) -> None:
        """Adds coincident tiles [h, w, source band] and [h, w, target band]."""
        for sums, (source_channel, target_channel) in zip(self._sums, self._pairs, strict=True):
            x, y = source[..., source_channel].astype(np.float64), target[..., target_channel].astype(np.float64)
            seen = np.isfinite(x) & np.isfinite(y)
            n = int(seen.sum())
            if not n:
                continue
            x, y = x[seen], y[seen]
            total = sums[0] + n
            step_x, step_y = x.mean() - sums[1], y.mean() - sums[2]
            share = sums[0] * n / total
            sums[3] += ((x - x.mean()) ** 2).sum() + step_x**2 * share
            sums[4] += ((x - x.mean()) * (y - y.mean())).sum() + step_x * step_y * share
            sums[:3] = total, sums[1] + step_x * n / total, sums[2] + step_y * n / total

    def finish(self) -> None:
        """Solves for slope and offset; a band never seen in pairs has no answer."""
        for line, (n, mean_x, mean_y, squares, products) in zip(self._lines, self._sums, strict=True):
            if n > 1 and squares > 0:
                line[0] = products / squares
                line[1] = mean_y - line[0] * mean_x

    def predict(self, values: np.ndarray) -> np.ndarray:
        """The shared bands, [h, w, target band]; NaN in the others."""
        predicted = self.nothing(values)
        for (source_channel, target_channel), (slope, offset) in zip(self._pairs, self._lines, strict=True):
            predicted[..., target_channel] = slope * values[..., source_channel] + offset
        return predicted
