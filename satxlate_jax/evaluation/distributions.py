"""Distributions of one band's errors, as sums over files: joint histograms, power spectra, changes, calibration.

Sources: Ballarotta et al., Ocean Sci. 15 (2019), 1091-1109, the effective resolution.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from typing import Self

import numpy as np
from scipy import fft, special

from satxlate_jax.instruments import Band


class _Summed:
    """A dataclass whose fields are all sums."""

    def merge(self, other: Self) -> Self:
        """Add another's sums, in place."""
        for entry in fields(self):  # type: ignore[arg-type]
            setattr(self, entry.name, getattr(self, entry.name) + getattr(other, entry.name))
        return self


BINS = {"reflectance": (-0.05, 1.65, 0.005), "brightness_temperature": (150.0, 420.0, 0.5)}
"""Kind -> lowest value, highest value, width of a histogram's bin, in the band's unit; the outermost hold the rest."""


@dataclass
class JointHistogram(_Summed):
    """Counts [prediction bin, truth bin]; bins begin at `low` and have a `width`, in the band's unit."""

    low: float
    width: float
    counts: np.ndarray

    @classmethod
    def of(cls, band: Band) -> Self:
        """An empty one with the bins of a band's kind."""
        low, high, width = BINS[band.kind]
        n = round((high - low) / width)
        return cls(low, width, np.zeros((n, n), np.int64))

    @property
    def edges(self) -> np.ndarray:
        """Edges of the bins of either axis, [n + 1], in the band's unit."""
        return self.low + self.width * np.arange(len(self.counts) + 1)

    def bins(self, values: np.ndarray) -> np.ndarray:
        """The bins of values in the band's unit."""
        return np.clip((values.astype(np.float64) - self.low) / self.width, 0, len(self.counts) - 1).astype(np.int64)

    def count_pairs(self, predicted: np.ndarray, true: np.ndarray) -> Self:
        """Count pairs of bins, of any shape, in a histogram of its own."""
        n = len(self.counts)
        counts = np.bincount((predicted * n + true).ravel(), minlength=n * n)
        return replace(self, counts=counts.reshape(n, n))

    def errors(self) -> tuple[np.ndarray, np.ndarray]:
        """Errors (prediction minus truth) [2 n - 1] in the band's unit, ascending, and how often each occurred."""
        n = len(self.counts)
        offsets = np.arange(-(n - 1), n)
        return offsets * self.width, np.array([np.trace(self.counts, -offset) for offset in offsets])

    def error_percentiles(self, levels: Sequence[float]) -> list[float]:
        """Absolute errors below which so many percent of the pixels lie, to the width of a bin."""
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

    def merge(self, other: Self) -> Self:
        """Add another's counts, in place; its bins may begin elsewhere (before 0.2 they began at 180 K)."""
        if (other.low, other.width, len(other.counts)) == (self.low, self.width, len(self.counts)):
            self.counts += other.counts
            return self
        shift = (other.low - self.low) / self.width
        if other.width != self.width or abs(shift - round(shift)) > 1e-6:
            raise ValueError(f"bins from {other.low} by {other.width} do not fit those from {self.low} by {self.width}")
        below = max(0, -round(shift))
        parts = ((self.counts, below), (other.counts, below + round(shift)))
        n = max(begin + len(counts) for counts, begin in parts)
        self.low -= below * self.width
        self.counts = sum(np.pad(counts, (begin, n - begin - len(counts))) for counts, begin in parts)  # type: ignore[assignment]
        return self


EDGES_KM = 4 * 160 ** (np.arange(-9, 31) / 30)
"""Edges of the bins of wavelength, km: from two pixels of 0.5 km to a tile; two of 2 km begin with the tenth."""
_SHORTEST = 200.0  # km of a pixel's degrees: two pixels of the grid, as 0.02 degrees are taken for 2 km
_CENTRES_KM = np.sqrt(EDGES_KM[1:] * EDGES_KM[:-1])
_DEGREE_KM = 111.32
_MOST_MISSING = 0.02  # of a tile's pixels; a tile with more does not count
_BELOW_KM = 20.0  # what a spectral power ratio and a coherence are of, where nothing else is said
_HALF = 0.5


@dataclass
class PowerSpectrum(_Summed):
    """Sums by bin of wavelength: power [3, bin] of truth, prediction and error (unit squared), modes, and tiles."""

    power: np.ndarray = field(default_factory=lambda: np.zeros((3, len(_CENTRES_KM))))
    n: np.ndarray = field(default_factory=lambda: np.zeros(len(_CENTRES_KM)))
    tiles: int = 0

    def __post_init__(self) -> None:
        """Add the bins of finer grids to sums of before there were any."""
        if absent := len(_CENTRES_KM) - len(self.n):
            self.power, self.n = np.pad(self.power, ((0, 0), (absent, 0))), np.pad(self.n, (absent, 0))

    def add(self, modes: "Modes", prediction: np.ndarray | None, truth: np.ndarray | None) -> None:
        """Add a tile's modes, as `Modes.transform` gives them; None is passed over."""
        if prediction is None or truth is None:
            return
        self.power += [modes.power(values) for values in (truth, prediction, prediction - truth)]
        self.n += modes.counts
        self.tiles += 1

    @property
    def wavelengths(self) -> np.ndarray:
        """Centres of the bins that hold anything, km, ascending."""
        return _CENTRES_KM[self.n > 0]

    def over_truth(self) -> tuple[np.ndarray, np.ndarray]:
        """Power of the prediction (below 1 is too smooth) and of the error over that of the truth, by `wavelengths`."""
        truth, prediction, error = self.power[:, self.n > 0]
        return prediction / np.maximum(truth, 1e-30), error / np.maximum(truth, 1e-30)

    def coherence(self) -> np.ndarray:
        """Coherence of prediction and truth by `wavelengths`: the correlation of their modes, 1 where they agree."""
        return _coherence(*self.power[:, self.n > 0])

    def coherence_below(self) -> float:
        """The same of all wavelengths below 20 km together; NaN without a tile."""
        return float(_coherence(*self.power[:, _BELOW_KM > _CENTRES_KM].sum(1))) if self.tiles else float("nan")

    def power_ratio(self, below_km: float = _BELOW_KM) -> float:
        """Power of the prediction over that of the truth in all wavelengths below so many km; NaN without a tile."""
        truth, prediction, _ = self.power[:, below_km > _CENTRES_KM].sum(1)
        return round(float(prediction / truth), 9) if truth > 0 else float("nan")

    def finest(self) -> float:
        """The power ratio of the finest octave of wavelengths, down to two pixels; NaN without a tile."""
        return self.power_ratio(2 * self.wavelengths[0]) if self.tiles else float("nan")

    def effective_resolution(self) -> float:
        """The shortest wavelength, km, down to which the error has less than half the truth's power; NaN where none."""
        wavelengths, (_, noise) = self.wavelengths, self.over_truth()
        bad = np.flatnonzero(noise >= _HALF)
        if not self.tiles or not len(noise) or (bad.size and bad[-1] == len(noise) - 1):
            return float("nan")
        if not bad.size:
            return float(wavelengths[0])
        ends = slice(bad[-1], bad[-1] + 2)  # the power falls through one half between these two
        return float(np.exp(np.interp(-np.log(_HALF), -np.log(noise[ends]), np.log(wavelengths[ends]))))


@dataclass
class Modes:
    """Modes of images of one size and place: window [h, w], places of the modes by bin, and how many each bin has."""

    window: np.ndarray
    order: np.ndarray
    counts: np.ndarray

    @classmethod
    @lru_cache(maxsize=8)
    def of(cls, shape: tuple[int, int], latitude: float, pixel_degrees: float) -> Self:
        """Those of images [h, w] whose mean latitude is given in degrees."""
        north = np.fft.fftfreq(shape[0], pixel_degrees * _DEGREE_KM)
        east = np.fft.rfftfreq(shape[1], pixel_degrees * _DEGREE_KM * np.cos(np.radians(latitude)))
        with np.errstate(divide="ignore"):
            wavelengths = (1 / np.hypot(north[:, None], east[None])).ravel()
        bins = np.digitize(wavelengths, EDGES_KM) - 1
        inside = np.flatnonzero((wavelengths >= _SHORTEST * pixel_degrees) & (bins < len(_CENTRES_KM)))
        order = inside[np.argsort(bins[inside], kind="stable")]
        counts = np.bincount(bins[inside], minlength=len(_CENTRES_KM))
        return cls(np.hanning(shape[0])[:, None] * np.hanning(shape[1])[None], order, counts)

    def transform(self, values: np.ndarray, seen: np.ndarray) -> np.ndarray | None:
        """The modes [mode] of an image, its mean where it is not seen; None where too little is."""
        if seen.mean() < 1 - _MOST_MISSING:
            return None
        offsets = values.astype(np.float64) - values.flat[np.argmax(seen)]  # a constant's are 0, without rounding
        if not seen.all():
            offsets = np.where(seen, offsets, offsets[seen].mean())
        if not offsets.any():
            return np.zeros(len(self.order), complex)
        return fft.rfft2((offsets - offsets.mean()) * self.window).ravel()[self.order]

    def power(self, modes: np.ndarray) -> np.ndarray:
        """Power by bin."""
        power, filled = np.zeros(len(self.counts)), self.counts > 0
        begins = (np.cumsum(self.counts) - self.counts)[filled]
        power[filled] = np.add.reduceat(modes.real**2 + modes.imag**2, begins)
        return power


def _coherence(truth: np.ndarray, prediction: np.ndarray, error: np.ndarray) -> np.ndarray:
    """From powers: as |p - t|^2 = |p|^2 + |t|^2 - 2 Re(p t*), that of the error holds the cross-spectrum."""
    return (truth + prediction - error) / 2 / np.sqrt(np.maximum(truth * prediction, 1e-60))


@dataclass
class Flicker(_Summed):
    """Sums over pixels of changes from one time to the next: pixels, squares of the prediction's, truth's, error's."""

    sums: np.ndarray = field(default_factory=lambda: np.zeros(4))

    def update(self, prediction: np.ndarray, truth: np.ndarray) -> None:
        """Add two times; both [time, ...] in the band's unit, NaN where missing."""
        made, seen = (np.diff(values, axis=0).astype(np.float64) for values in (prediction, truth))
        both = np.isfinite(made) & np.isfinite(seen)
        self.sums += [both.sum(), *(np.sum(change**2, where=both) for change in (made, seen, made - seen))]

    def change_ratio(self) -> float:
        """Root mean square of the prediction's changes over that of the truth's; NaN where nothing changes."""
        _, made, seen, _ = self.sums
        return float(np.sqrt(made / seen)) if seen else float("nan")

    def change_rmse(self) -> float:
        """Root mean square of the difference of both changes, in the band's unit; NaN without pixels."""
        return float(np.sqrt(self.sums[3] / self.sums[0])) if self.sums[0] else float("nan")


_STD_EDGES = np.geomspace(1e-4, 1e2, 61)  # of the bins of standard deviation, in the band's unit
_RATIO_EDGES = np.linspace(0, 4, 41)  # of the bins of error over standard deviation; the last holds all beyond


@dataclass
class Calibration(_Summed):
    """Calibration of a standard deviation against the error of what it belongs to, of one band.

    By bins of standard deviation, [3, bin], sums of pixels, squared errors and variances; pixels inside one and two
    standard deviations; pixels by bins of the ratio of error and standard deviation, none of before they were kept.
    """

    sums: np.ndarray = field(default_factory=lambda: np.zeros((3, len(_STD_EDGES) - 1)))
    inside: np.ndarray = field(default_factory=lambda: np.zeros(2))
    ratios: np.ndarray = field(default_factory=lambda: np.zeros(len(_RATIO_EDGES)))

    def update(self, prediction: np.ndarray, std: np.ndarray, truth: np.ndarray) -> None:
        """Add a field; all [...] in the band's unit, NaN where missing."""
        seen = np.isfinite(prediction) & np.isfinite(truth) & np.isfinite(std)
        error, width = np.abs(prediction - truth)[seen].astype(np.float64), std[seen].astype(np.float64)
        bins = np.clip(np.digitize(width, _STD_EDGES) - 1, 0, len(_STD_EDGES) - 2)
        for row, weights in enumerate((np.ones_like(error), error**2, width**2)):
            self.sums[row] += np.bincount(bins, weights, minlength=len(_STD_EDGES) - 1)
        self.inside += [(error <= width).sum(), (error <= 2 * width).sum()]
        ratio = np.digitize(error / np.maximum(width, 1e-9), _RATIO_EDGES) - 1
        self.ratios += np.bincount(ratio, minlength=len(_RATIO_EDGES))

    def scores(self) -> dict[str, float]:
        """'within_1' and 'within_2' (shares of pixels), 'std_to_error' (root mean squares; below 1 is too sure)."""
        n, errors, variances = self.sums.sum(1)
        with np.errstate(divide="ignore", invalid="ignore"):
            values = (*(self.inside / n), np.sqrt(variances / errors) if n else np.nan)
        return dict(zip(("within_1", "within_2", "std_to_error"), map(float, values), strict=True))

    def reliability(self) -> tuple[np.ndarray, np.ndarray]:
        """Share of pixels within k standard deviations, k from 0 to 4, of a Gaussian and as found."""
        found = np.cumsum(self.ratios[:-1]) / max(self.ratios.sum(), 1)
        return 2 * special.ndtr(_RATIO_EDGES) - 1, np.concatenate([[0.0], found])

    def error_by_std(self) -> tuple[np.ndarray, np.ndarray]:
        """Root mean square of standard deviation and error, of each bin with at least 100 pixels."""
        n, errors, variances = self.sums[:, self.sums[0] >= 100]
        return np.sqrt(variances / n), np.sqrt(errors / n)
