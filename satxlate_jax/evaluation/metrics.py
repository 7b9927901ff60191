"""Metrics of one band, from sums accumulated over pixels, files and parts of an archive.

The sums of prediction and truth (`band_sums`) are rows of a table; `merge_sums` adds rows of equal labels by Chan's
update, so that a score is the same in one pass, in parts, or over an archive; `band_scores` turns rows into scores.
Histograms, power spectra and ensemble calibration add up as well. A pixel counts where both fields are finite.

Sources: Chan, Golub and LeVeque, Am. Stat. 37 (1983), pairwise variance; Wang et al., IEEE TIP 13 (2004), SSIM with
its Gaussian window; Vandal et al., TGRS 2021, the ranges of PSNR; Ballarotta et al., Ocean Sci. 15 (2019), 1091-1109,
the effective resolution; Gneiting & Raftery, J. Am. Stat. Assoc. 102 (2007), 359-378, the CRPS of a Gaussian.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Self

import numpy as np
import pandas as pd
from scipy import ndimage, special

from satxlate_jax.instruments import Band

DATA_RANGE = {"reflectance": 1.6, "brightness_temperature": 200.0}
"""Ranges that PSNR and SSIM refer to, as published: reflectance 0 to 1.6, brightness temperature over 200 K."""

METRICS = ("n", "bias", "mae", "rmse", "psnr", "ssim", "correlation")
"""Those that count every pixel alike."""
AREA_METRICS = tuple(f"{name}_area" for name in METRICS[1:])
"""The same with every pixel weighted by its area."""
SPREAD_METRICS = ("crps", "coverage_1sd", "coverage_2sd")
"""CRPS in the band's unit, the MAE of a method without a standard deviation; share of pixels whose error is within one
and two standard deviations, NaN without."""

_SUMS = ("data_range", "n", "mean_p", "mean_t", "pp", "pt", "tp", "tt", "absolute", "ssim_sum", "ssim_n")
_MOMENTS = 2 * len(_SUMS)
SUMS = (*_SUMS, *(f"{name}_area" for name in _SUMS), "crps", "within_1", "within_2", "std_n")
"""The columns of a table of sums: data range, pixels, means of prediction and truth, their centred products, the sum of
absolute errors, the sum of SSIM and its pixels; all again weighted by area, NaN where areas are not known; the sum of
CRPS, pixels within one and two standard deviations and those that have one, NaN in sums of before they were kept."""

_SSIM_SIGMA, _SSIM_RADIUS = 1.5, 5  # pixels; the window is cut at 11 x 11
_SSIM_K1, _SSIM_K2 = 0.01, 0.03
_SSIM_WEIGHT = 0.5  # of its window that must be observed for a pixel to count


def merge_moments(
    n: np.ndarray, mean: np.ndarray, products: np.ndarray, groups: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Merges sets of moments: n [set, ...], mean [set, ..., variable], centred products [set, ..., variable, variable].

    Set i goes to result groups[i] of `count`; [count] stands in the place of [set] in what is returned.
    """
    totals = total_n, total_mean, total_products = [np.zeros((count, *x.shape[1:])) for x in (n, mean, products)]
    np.add.at(total_n, groups, n)
    np.add.at(total_mean, groups, mean * n[..., None])
    total_mean /= np.where(total_n == 0, 1, total_n)[..., None]
    step = mean - total_mean[groups]
    np.add.at(total_products, groups, products + n[..., None, None] * step[..., :, None] * step[..., None, :])
    return totals[0], totals[1], totals[2]


def band_sums(
    prediction: np.ndarray,
    truth: np.ndarray,
    data_range: float,
    groups: Mapping[str, np.ndarray] | None = None,
    area: np.ndarray | None = None,
    std: np.ndarray | None = None,
) -> pd.DataFrame:
    """Sums of one field over groups of pixels; the structural similarity is computed only once.

    Args:
      prediction: [h, w] in the band's unit, NaN where missing.
      truth: likewise.
      data_range: range that PSNR and SSIM refer to, in the band's unit.
      groups: name -> [h, w] bool, the pixels to count; default one group 'all' of every pixel.
      area: of the pixels, [h, w] or [h, 1], in any unit; None: not known.
      std: standard deviation of the prediction, [h, w], NaN where it has none; None: nowhere.

    Returns:
      A table with the columns `SUMS` and a row for each group that has a pixel to count, by its name.
    """
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction {prediction.shape} and truth {truth.shape} differ in shape")
    seen = np.isfinite(prediction) & np.isfinite(truth)
    similarity = structural_similarity(prediction, truth, data_range)
    std = np.full(truth.shape, np.nan) if std is None else std
    rows = {}
    for name, where in ({"all": np.array(True)} if groups is None else groups).items():
        counted = seen & where
        if counted.any():
            values = np.stack([prediction[counted], truth[counted]]).astype(np.float64)
            weights = [np.ones(values.shape[1])]
            weights += [] if area is None else [np.broadcast_to(area, truth.shape)[counted]]
            rows[name] = np.full(len(SUMS), np.nan)
            parts = [_weighted_sums(values, similarity[counted], weight, data_range) for weight in weights]
            rows[name][: len(_SUMS) * len(parts)] = np.concatenate(parts)
            rows[name][_MOMENTS:] = _spread_sums(np.abs(values[0] - values[1]), std[counted].astype(np.float64))
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(SUMS), dtype=np.float64)


def _weighted_sums(values: np.ndarray, similarity: np.ndarray, weights: np.ndarray, data_range: float) -> np.ndarray:
    """[11] from values [2, pixel] of prediction and truth, similarity [pixel] or NaN, weights [pixel]."""
    n = weights.sum()
    mean = (values * weights).sum(1) / n
    centred = values - mean[:, None]
    absolute = (np.abs(values[0] - values[1]) * weights).sum()
    similar = np.isfinite(similarity)
    ssim = (similarity[similar] * weights[similar]).sum(), weights[similar].sum()
    return np.array([data_range, n, *mean, *((centred * weights) @ centred.T).ravel(), absolute, *ssim])


def _spread_sums(error: np.ndarray, std: np.ndarray) -> list[float]:
    """The last columns of `SUMS` from absolute errors and standard deviations [pixel]."""
    spread = np.maximum(std, 1e-9)
    z = error / spread
    gaussian = spread * (z * (2 * special.ndtr(z) - 1) + np.sqrt(2 / np.pi) * np.exp(-(z**2) / 2) - 1 / np.sqrt(np.pi))
    crps = np.where(np.isnan(std), error, gaussian)
    return [crps.sum(), (error <= std).sum(), (error <= 2 * std).sum(), np.isfinite(std).sum()]


def merge_sums(table: pd.DataFrame) -> pd.DataFrame:
    """Adds up the rows of equal labels; the order of the labels is that of their first rows.

    Sums by area, or for CRPS and coverage, stay known only where they are known in all rows that hold a pixel.
    """
    table = table[table["n"] > 0]
    codes, index = table.index.factorize()
    rows, spread = np.split(table.to_numpy(), [_MOMENTS], axis=1)
    rows = rows.reshape(-1, 2, len(_SUMS))
    total, total_spread = np.zeros((len(index), 2, len(_SUMS))), np.zeros((len(index), spread.shape[1]))
    np.add.at(total, codes, rows)
    np.add.at(total_spread, codes, spread)
    total[codes, :, 0] = rows[..., 0]
    products = rows[..., 4:8].reshape(-1, 2, 2, 2)
    _, total[..., 2:4], products = merge_moments(rows[..., 1], rows[..., 2:4], products, codes, len(index))
    total[..., 4:8] = products.reshape(-1, 2, 4)
    columns = np.hstack([total.reshape(-1, _MOMENTS), total_spread])
    return pd.DataFrame(columns, index, list(SUMS)).rename_axis(table.index.names)


def band_scores(table: pd.DataFrame) -> pd.DataFrame:
    """Scores from a table of sums: the same rows with the columns `METRICS`, `AREA_METRICS` and `SPREAD_METRICS`.

    These are n; bias (prediction minus truth), mae and rmse in the band's unit; psnr in dB, from the rmse over all
    pixels; ssim, the mean over all pixels that have one; correlation (Pearson); NaN where there is nothing to count.
    """
    rows = table.to_numpy(np.float64)[:, :_MOMENTS].reshape(-1, 2, len(_SUMS))
    scores = pd.DataFrame(_scores(rows[:, 0]), table.index).astype({"n": int})
    spread = {"crps": table["crps"] / table["n"]}
    spread |= {f"coverage_{k}sd": table[f"within_{k}"] / table["std_n"].replace(0, np.nan) for k in (1, 2)}
    by_area = pd.DataFrame(_scores(rows[:, 1]), table.index).drop(columns="n").add_suffix("_area")
    return scores.join(by_area).assign(**spread)


def _scores(rows: np.ndarray) -> dict[str, np.ndarray]:
    range_, n, mean_p, mean_t, pp, pt, _, tt, absolute, ssim_sum, ssim_n = rows.T
    # a constant field has no correlation; its moments are rounding, not variance
    varies = np.minimum(pp, tt) > 1e-12 * n * range_**2
    with np.errstate(divide="ignore", invalid="ignore"):
        bias = np.where(n > 0, mean_p - mean_t, np.nan)
        rmse = np.sqrt(np.maximum((pp + tt - 2 * pt) / n, 0) + bias**2)
        return {
            "n": n,
            "bias": bias,
            "mae": absolute / n,
            "rmse": rmse,
            "psnr": 20 * np.log10(range_ / rmse),
            "ssim": ssim_sum / ssim_n,
            "correlation": np.where(varies, np.clip(pt / np.sqrt(pp * tt), -1, 1), np.nan),
        }


def structural_similarity(prediction: np.ndarray, truth: np.ndarray, data_range: float) -> np.ndarray:
    """SSIM at every pixel (Wang et al. 2004: Gaussian window of 1.5 pixels cut at 11 x 11, K1 0.01, K2 0.03).

    Missing pixels have no weight in their neighbours' windows; without any it is the usual SSIM. The arguments are as
    for `band_sums`; the result [h, w] is NaN on the border of 5 pixels, where either field is missing, and where less
    than half of the window's weight is observed.
    """
    seen = np.isfinite(prediction) & np.isfinite(truth)
    similarity = np.full(truth.shape, np.nan)
    inner = (slice(_SSIM_RADIUS, -_SSIM_RADIUS),) * 2
    if min(truth.shape) <= 2 * _SSIM_RADIUS or not seen.any():
        return similarity
    # centred, so that the differences of squares below do not cancel
    centre = float(np.mean(truth, where=seen, dtype=np.float64))
    x, y = (np.where(seen, values, centre).astype(np.float64) - centre for values in (prediction, truth))
    complete = bool(seen.all())
    weight: Any = 1.0 if complete else np.maximum(_window_mean(seen.astype(np.float64)), 1e-12)

    def local(values: np.ndarray) -> np.ndarray:
        return _window_mean(values) if complete else _window_mean(np.where(seen, values, 0.0)) / weight

    mean_x, mean_y = local(x), local(y)
    variance_x, variance_y = local(x * x) - mean_x**2, local(y * y) - mean_y**2
    covariance = local(x * y) - mean_x * mean_y
    mean_x, mean_y = mean_x + centre, mean_y + centre
    c1, c2 = (_SSIM_K1 * data_range) ** 2, (_SSIM_K2 * data_range) ** 2
    full = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    full /= (mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)
    similarity[inner] = np.where(seen & (weight >= _SSIM_WEIGHT), full, np.nan)[inner]
    return similarity


def _window_mean(values: np.ndarray) -> np.ndarray:
    return ndimage.gaussian_filter(values, _SSIM_SIGMA, radius=_SSIM_RADIUS, mode="reflect")


class _Summed:
    """A dataclass whose fields are all sums."""

    def merge(self, other: Self) -> Self:
        """Adds another's sums, in place."""
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
        """Adds another's counts, in place; its bins may begin elsewhere (before 0.2 they began at 180 K).

        Raises:
          ValueError: the edges of the bins do not coincide.
        """
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
_HALF = 0.5


@dataclass
class PowerSpectrum(_Summed):
    """Sums by bin of wavelength: power [3, bin] of truth, prediction and error (unit squared), modes, and tiles."""

    power: np.ndarray = field(default_factory=lambda: np.zeros((3, len(_CENTRES_KM))))
    n: np.ndarray = field(default_factory=lambda: np.zeros(len(_CENTRES_KM)))
    tiles: int = 0

    def __post_init__(self) -> None:
        """Adds the bins of finer grids to sums of before there were any."""
        absent = len(_CENTRES_KM) - len(self.n)
        self.power, self.n = np.pad(self.power, ((0, 0), (absent, 0))), np.pad(self.n, (absent, 0))

    def update(self, prediction: np.ndarray, truth: np.ndarray, lat: np.ndarray, pixel_degrees: float) -> None:
        """Adds a tile unless more than 2 % of it is missing; missing pixels are set to its mean.

        Prediction and truth are [h, w] in the band's unit, NaN where missing; `lat` is [h] degrees north.
        """
        seen = np.isfinite(prediction) & np.isfinite(truth)
        if seen.mean() < 1 - _MOST_MISSING:
            return
        window = np.hanning(truth.shape[0])[:, None] * np.hanning(truth.shape[1])[None]
        tapered = []
        for values in (truth, prediction):
            mean = float(np.mean(values, where=seen, dtype=np.float64))
            tapered.append(np.where(seen, values - mean, 0.0) * window)
        tapered.append(tapered[1] - tapered[0])
        north = np.fft.fftfreq(truth.shape[0], pixel_degrees * _DEGREE_KM)
        east = np.fft.rfftfreq(truth.shape[1], pixel_degrees * _DEGREE_KM * np.cos(np.radians(np.mean(lat))))
        with np.errstate(divide="ignore"):
            wavelengths = 1 / np.hypot(north[:, None], east[None])
        bins = np.digitize(wavelengths, EDGES_KM) - 1
        inside = (wavelengths >= _SHORTEST * pixel_degrees) & (bins < len(self.n))
        for row, values in enumerate(tapered):
            power = np.abs(np.fft.rfft2(values)) ** 2
            self.power[row] += np.bincount(bins[inside], power[inside], minlength=len(self.n))
        self.n += np.bincount(bins[inside], minlength=len(self.n))
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

    def coherence_below(self, km: float = 20.0) -> float:
        """The same of all wavelengths below so many km together; NaN without a tile."""
        return float(_coherence(*self.power[:, km > _CENTRES_KM].sum(1))) if self.tiles else float("nan")

    def power_ratio(self, below_km: float = 20.0) -> float:
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


def _coherence(truth: np.ndarray, prediction: np.ndarray, error: np.ndarray) -> np.ndarray:
    """From powers: as |p - t|^2 = |p|^2 + |t|^2 - 2 Re(p t*), that of the error holds the cross-spectrum."""
    return (truth + prediction - error) / 2 / np.sqrt(np.maximum(truth * prediction, 1e-60))


@dataclass
class Flicker(_Summed):
    """Sums over pixels of changes from one time to the next: pixels, squares of the prediction's, truth's, error's."""

    sums: np.ndarray = field(default_factory=lambda: np.zeros(4))

    def update(self, prediction: np.ndarray, truth: np.ndarray) -> None:
        """Adds two times; both [time, ...] in the band's unit, NaN where missing."""
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

    A calibrated Gaussian standard deviation covers the truth within one in 68 % and within two in 95 % of pixels, its
    mean square equals the mean square error, and larger ones go with larger errors. An ensemble over the latent noise
    of training is not a model of what is unknown: nothing makes it calibrated, so it is measured here.

    Attributes:
      sums: [3, bin]: pixels, sum of squared errors, sum of variances, by bins of standard deviation.
      inside: pixels whose error is within one and within two standard deviations.
      ratios: pixels by bins of error over standard deviation; none of before they were kept.
    """

    sums: np.ndarray = field(default_factory=lambda: np.zeros((3, len(_STD_EDGES) - 1)))
    inside: np.ndarray = field(default_factory=lambda: np.zeros(2))
    ratios: np.ndarray = field(default_factory=lambda: np.zeros(len(_RATIO_EDGES)))

    def update(self, prediction: np.ndarray, std: np.ndarray, truth: np.ndarray) -> None:
        """Adds a field; all [...] in the band's unit, NaN where missing."""
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

    def error_by_std(self, least: int = 100) -> tuple[np.ndarray, np.ndarray]:
        """Root mean square of standard deviation and error, of each bin with at least so many pixels."""
        n, errors, variances = self.sums[:, self.sums[0] >= least]
        return np.sqrt(variances / n), np.sqrt(errors / n)
