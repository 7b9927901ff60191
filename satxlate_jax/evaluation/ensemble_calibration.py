"""Whether the spread over draws of the latent noise says how wrong the mean is.

A calibrated Gaussian spread covers the truth within one spread in 68 % and within two in 95 % of pixels, its mean
square equals the mean square error, and larger spreads go with larger errors. The latent noise is what training added,
not a model of what is unknown: nothing makes it calibrated, so it is measured here.
"""

from dataclasses import dataclass, field

import numpy as np

EDGES = np.geomspace(1e-4, 1e2, 61)
"""Edges of the bins of spread, in the band's unit."""

IDEAL = {"within_1": 0.6827, "within_2": 0.9545, "spread_to_error": 1.0}


@dataclass
class Calibration:
    """Sums of one band.

    Attributes:
      sums: [3, bin]: pixels, sum of squared errors, sum of squared spreads, by bins of spread.
      inside: pixels whose error is within one and within two spreads.
    """

    sums: np.ndarray = field(default_factory=lambda: np.zeros((3, len(EDGES) - 1)))
    inside: np.ndarray = field(default_factory=lambda: np.zeros(2))

    def update(self, prediction: np.ndarray, spread: np.ndarray, truth: np.ndarray) -> None:
        """Adds a field; all [...] in the band's unit, NaN where missing."""
        seen = np.isfinite(prediction) & np.isfinite(truth) & np.isfinite(spread)
        error, width = np.abs(prediction - truth)[seen].astype(np.float64), spread[seen].astype(np.float64)
        bins = np.clip(np.digitize(width, EDGES) - 1, 0, len(EDGES) - 2)
        for row, weights in enumerate((np.ones_like(error), error**2, width**2)):
            self.sums[row] += np.bincount(bins, weights, minlength=len(EDGES) - 1)
        self.inside += [(error <= width).sum(), (error <= 2 * width).sum()]

    def merge(self, other: "Calibration") -> "Calibration":
        """Adds another's sums, in place."""
        self.sums += other.sums
        self.inside += other.inside
        return self

    def figures(self) -> dict[str, float]:
        """'within_1' and 'within_2' (shares of pixels), 'spread_to_error' (root mean squares; below 1 is too sure)."""
        n, errors, spreads = self.sums.sum(1)
        if not n:
            return dict.fromkeys(IDEAL, float("nan"))
        ratio = float(np.sqrt(spreads / errors)) if errors else float("inf")
        return {"within_1": self.inside[0] / n, "within_2": self.inside[1] / n, "spread_to_error": ratio}

    def spread_and_skill(self, least: int = 100) -> tuple[np.ndarray, np.ndarray]:
        """Root mean square spread and error of each bin with at least so many pixels, in the band's unit."""
        kept = self.sums[0] >= least
        n, errors, spreads = self.sums[:, kept]
        return np.sqrt(spreads / n), np.sqrt(errors / n)
