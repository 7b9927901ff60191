"""How predictions and truth are distributed together: a joint histogram per band that can be merged."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from satxlate_jax.instruments import Band

# kind -> (lowest value, highest value, width of a bin), in the band's unit; what lies outside counts in the last bin
BINS = {"reflectance": (-0.05, 1.65, 0.005), "brightness_temperature": (150.0, 420.0, 0.5)}


@dataclass
class JointHistogram:
    """Counts of (prediction, truth) pairs.

    Attributes:
      low: lower edge of the first bin, in the band's unit.
      width: of a bin, in the band's unit.
      counts: int64 [prediction bin, truth bin].
    """

    low: float
    width: float
    counts: np.ndarray

    @classmethod
    def of(cls, band: Band) -> "JointHistogram":
        """An empty one with the bins of that band's kind."""
        low, high, width = BINS[band.kind]
        n = round((high - low) / width)
        return cls(low, width, np.zeros((n, n), np.int64))

    @property
    def edges(self) -> np.ndarray:
        """Edges of the bins, [n + 1], in the band's unit; the same for both axes."""
        return self.low + self.width * np.arange(len(self.counts) + 1)

    def update(self, prediction: np.ndarray, truth: np.ndarray) -> None:
        """Counts pairs in; both [...], in the band's unit; a pair with NaN is passed over."""
        seen = np.isfinite(prediction) & np.isfinite(truth)
        n = len(self.counts)
        rows, columns = (
            np.clip((values[seen].astype(np.float64) - self.low) / self.width, 0, n - 1).astype(np.int64)
            for values in (prediction, truth)
        )
        self.counts += np.bincount(rows * n + columns, minlength=n * n).reshape(n, n)

    def errors(self) -> tuple[np.ndarray, np.ndarray]:
        """How often each error occurred, to the width of a bin.

        Returns:
          Errors (prediction minus truth) [2 n - 1] in the band's unit, ascending, and their counts.
        """
        n = len(self.counts)
        offsets = np.arange(-(n - 1), n)
        counts = np.array([np.trace(self.counts, -offset) for offset in offsets])
        return offsets * self.width, counts

    def error_percentiles(self, levels: Sequence[float]) -> list[float]:
        """Sizes of the error below which so many percent of the pixels lie, to the width of a bin."""
        errors, counts = self.errors()
        n = len(self.counts)
        sizes = counts[n - 1 :].copy()
        sizes[1:] += counts[n - 2 :: -1]
        share = 100 * sizes.cumsum() / max(sizes.sum(), 1)
        return [float(errors[n - 1 :][np.searchsorted(share, level)]) for level in levels]

    def distance(self) -> float:
        """First Wasserstein distance of the two distributions, in the band's unit, to the width of a bin."""
        total = max(self.counts.sum(), 1)
        predicted, truth = self.counts.sum(1).cumsum() / total, self.counts.sum(0).cumsum() / total
        return float(np.abs(predicted - truth).sum() * self.width)

    def merge(self, other: "JointHistogram") -> "JointHistogram":
        """Adds another's counts, in place; the bins of either may begin lower (before 0.2 they began at 180 K).

        Raises:
          ValueError: the edges of the bins do not coincide.
        """
        shift = (other.low - self.low) / self.width
        if other.width != self.width or abs(shift - round(shift)) > 1e-6:
            raise ValueError(f"bins from {other.low} by {other.width} do not fit those from {self.low} by {self.width}")
        below = max(0, -round(shift))
        begin = below + round(shift)
        n = max(below + len(self.counts), begin + len(other.counts))
        counts = np.zeros((n, n), np.int64)
        for histogram, first in ((self, below), (other, begin)):
            end = first + len(histogram.counts)
            counts[first:end, first:end] += histogram.counts
        self.low, self.counts = self.low - below * self.width, counts
        return self
