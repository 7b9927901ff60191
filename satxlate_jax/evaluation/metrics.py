"""Metrics of one band, from sums accumulated over pixels, files and parts of an archive.

The sums of prediction and truth (`band_sums`) are rows of a table; `merge_sums` adds rows of equal labels by Chan's
update, so that a score is the same in one pass, in parts, or over an archive; `band_scores` turns rows into scores.
A pixel counts where both fields are finite.

Sources: Chan, Golub and LeVeque, Am. Stat. 37 (1983), pairwise variance; Wang et al., IEEE TIP 13 (2004), SSIM with
its Gaussian window; Vandal et al., TGRS 2021, the ranges of PSNR; Gneiting & Raftery, J. Am. Stat.
Assoc. 102 (2007), 359-378, the CRPS of a Gaussian.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from scipy import special

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
_SSIM_WINDOW = np.exp(-0.5 * (np.arange(-_SSIM_RADIUS, _SSIM_RADIUS + 1) / _SSIM_SIGMA) ** 2)
_SSIM_WINDOW /= _SSIM_WINDOW.sum()
_SSIM_K1, _SSIM_K2 = 0.01, 0.03
_SSIM_WEIGHT = 0.5  # of its window that must be observed for a pixel to count


class Regions:
    """Groups of an image's pixels, whose sums are taken all at once.

    Pixels of one row, which have one area, and of the same groups make a cell: `order` are the pixels, cell by cell,
    `cells` is the cell of each; `weights` [cell, group, 1 or 2] count them by pixel and, where known, by area.
    """

    def __init__(self, groups: Mapping[str, np.ndarray], area: np.ndarray | None = None):
        """From name -> bool [h, w] and the area of a row's pixels, [h, 1], in any unit; None: not known."""
        self.names, masks = list(groups), np.stack(list(groups.values()))
        height, width = masks.shape[1:]
        masks, number = masks.reshape(len(masks), -1), np.repeat(np.arange(height), width)
        for byte in np.packbits(masks, axis=0):
            number = number * 256 + byte
        self.order = np.argsort(number, kind="stable")
        begins = np.diff(number[self.order], prepend=-1) > 0
        self.cells, first = np.cumsum(begins) - 1, self.order[begins]
        areas = [np.ones(len(first))] + ([] if area is None else [area[first // width, 0]])
        self.weights = masks[:, first].T[..., None] * np.stack(areas, -1)[:, None]


class BandTruth:
    """The truth of one band of an image, which all methods are scored against on the same pixels, its `values`."""

    def __init__(self, truth: np.ndarray, seen: np.ndarray, regions: Regions, data_range: float):
        """From [h, w] in the band's unit, and the pixels that count, bool [h, w], at least one."""
        picked = seen.ravel()[regions.order]
        self._order, cells, self._range = regions.order[picked], regions.cells[picked], data_range
        self._starts = np.flatnonzero(np.diff(cells, prepend=-1))
        self._weights = regions.weights[cells[self._starts]]
        self.values = self.pick(truth)
        self._centre = float(self.values.mean())
        self._centred = self.values - self._centre
        self.similarity, compared = similarity_to(truth, seen, data_range)
        self._sums = self._add(np.ones(len(cells)), self._centred, self._centred**2, self.pick(compared))

    def pick(self, field: np.ndarray) -> np.ndarray:
        """The pixels of a field [h, w] that count, [pixel], float64."""
        return field.ravel()[self._order].astype(np.float64, copy=False)

    def _add(self, *values: np.ndarray) -> np.ndarray:
        """Sums [quantity, group, 1 or 2] of quantities [pixel]."""
        return np.tensordot(np.stack([np.add.reduceat(each, self._starts) for each in values]), self._weights, 1)

    def sums(self, p: np.ndarray, similarity: np.ndarray, std: np.ndarray | None = None) -> np.ndarray:
        """Sums of a prediction [group, column of `SUMS`], from its values and its similarity, both picked.

        `std` [h, w] is its standard deviation, NaN where it has none.
        """
        error, p0 = np.abs(p - self.values), p - self._centre
        similarity[np.isnan(similarity)] = 0
        n, t, tt, ssim_n = self._sums
        p, pp, pt, absolute, ssim = self._add(p0, p0 * p0, p0 * self._centred, error, similarity)
        k = np.maximum(n, 1e-30)
        means, products = (p / k + self._centre, t / k + self._centre), (pp - p * p / k, pt - p * t / k, tt - t * t / k)
        columns = np.full_like(n, self._range), n, *means, *products[:2], *products[1:], absolute, ssim, ssim_n
        rows = np.full((len(n), len(SUMS)), np.nan)
        rows[:, : len(_SUMS) * n.shape[1]] = np.stack(columns, -1).reshape(len(n), -1)
        rows[:, _MOMENTS:] = 0
        rows[:, _MOMENTS] = absolute[:, 0]
        if std is not None:
            rows[:, _MOMENTS:] = self._add(*_spread_terms(error, self.pick(std)))[..., 0].T
        return rows


def band_sums(
    prediction: np.ndarray,
    truth: np.ndarray,
    data_range: float,
    groups: Mapping[str, np.ndarray] | None = None,
    area: np.ndarray | None = None,
    std: np.ndarray | None = None,
) -> pd.DataFrame:
    """Sums of one field [h, w]: a row with the columns `SUMS` for each group that has a pixel to count, by its name.

    Prediction, truth, standard deviation and the range that PSNR and SSIM refer to are in the band's unit, NaN where
    missing; the default is one group 'all'. `area` is that of a row's pixels, [h, 1], in any unit.
    """
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction {prediction.shape} and truth {truth.shape} differ in shape")
    seen = np.isfinite(prediction) & np.isfinite(truth)
    regions = Regions({"all": np.ones(truth.shape, bool)} if groups is None else groups, area)
    rows = np.zeros((len(regions.names), len(SUMS)))
    if seen.any():
        scored = BandTruth(truth, seen, regions, data_range)
        rows = scored.sums(scored.pick(prediction), scored.pick(scored.similarity(prediction)), std)
    table = pd.DataFrame(rows, regions.names, list(SUMS))
    return table[table["n"] > 0]


def _spread_terms(error: np.ndarray, std: np.ndarray) -> tuple[np.ndarray, ...]:
    """What the last columns of `SUMS` are sums of, from absolute errors and standard deviations [pixel]."""
    spread = np.maximum(std, 1e-9)
    z = error / spread
    gaussian = spread * (z * (2 * special.ndtr(z) - 1) + np.sqrt(2 / np.pi) * np.exp(-(z**2) / 2) - 1 / np.sqrt(np.pi))
    return np.where(np.isnan(std), error, gaussian), error <= std, error <= 2 * std, np.isfinite(std)


def merge_sums(table: pd.DataFrame) -> pd.DataFrame:
    """Add up the rows of equal labels; the order of the labels is that of their first rows.

    Sums by area, or for CRPS and coverage, stay known only where they are known in all rows that hold a pixel.
    """
    table = table[table["n"] > 0]
    codes, index = table.index.factorize()

    def added(values: np.ndarray) -> np.ndarray:
        total = np.zeros((len(index), *values.shape[1:]))
        np.add.at(total, codes, values)
        return total

    rows, spread = np.split(table.to_numpy(), [_MOMENTS], axis=1)
    rows = rows.reshape(-1, 2, len(_SUMS))
    total, n, mean = added(rows), rows[..., 1, None], rows[..., 2:4]
    total[codes, :, 0] = rows[..., 0]
    total[..., 2:4] = added(mean * n) / np.where(total[..., 1] == 0, 1, total[..., 1])[..., None]
    step = mean - total[codes, :, 2:4]
    between = n[..., None] * step[..., :, None] * step[..., None, :]
    total[..., 4:8] = added(rows[..., 4:8] + between.reshape(-1, 2, 4))
    columns = np.hstack([total.reshape(-1, _MOMENTS), added(spread)])
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


def similarity_to(
    truth: np.ndarray, seen: np.ndarray, data_range: float
) -> tuple[Callable[[np.ndarray], np.ndarray], np.ndarray]:
    """SSIM with one truth at every pixel (Wang et al. 2004: Gaussian window of 1.5 pixels cut at 11 x 11).

    Missing pixels, those that are not `seen`, have no weight in their neighbours' windows; without any it is the usual
    SSIM.

    Returns:
      The SSIM of a prediction as a function, [h, w], NaN where there is none: on the border of 5 pixels, where either
      is missing, and where less than half of the window's weight is observed; and the pixels that have one.
    """
    # centred, so that the differences of squares do not cancel
    centre = float(truth[seen].mean(dtype=np.float64))
    if min(truth.shape) <= 2 * _SSIM_RADIUS:
        return lambda prediction: np.full(truth.shape, np.nan), np.zeros(truth.shape, bool)
    constants = tuple((k * data_range) ** 2 for k in (_SSIM_K1, _SSIM_K2))
    with _in_double_precision():
        described = _describe_truth(truth, seen, centre)

    def similarity(prediction: np.ndarray) -> np.ndarray:
        with _in_double_precision():
            return np.asarray(_similarity(prediction, centre, described, constants))

    return similarity, np.asarray(described["compared"])


@contextmanager
def _in_double_precision() -> Iterator[None]:
    """Compute in float64 on the host's processors, as not every accelerator knows it."""
    try:
        host = jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # JAX_PLATFORMS names accelerators only
        host = None
    with jax.enable_x64(True), jax.default_device(host):
        yield


@jax.jit
def _describe_truth(truth: jax.Array, seen: jax.Array, centre: float) -> dict[str, jax.Array]:
    """The truth, centred, its mean and variance in each window [h - 10, w - 10], the window's weight, and masks."""
    weight = jnp.maximum(_window_mean(seen.astype(jnp.float64)), 1e-12)
    y = jnp.where(seen, truth.astype(jnp.float64) - centre, 0)
    mean, inner = _window_mean(y) / weight, (slice(_SSIM_RADIUS, -_SSIM_RADIUS),) * 2
    variance = _window_mean(y * y) / weight - mean**2
    compared = jnp.pad(seen[inner] & (weight >= _SSIM_WEIGHT), _SSIM_RADIUS)
    return {"y": y, "mean": mean, "variance": variance, "weight": weight, "seen": seen, "compared": compared}


@jax.jit
def _similarity(prediction: jax.Array, centre: float, truth: Mapping[str, jax.Array], constants: Any) -> jax.Array:
    """SSIM [h, w] with a truth that is described, NaN where there is none."""
    x, (c1, c2) = jnp.where(truth["seen"], prediction.astype(jnp.float64) - centre, 0), constants
    mean_x, mean_y = _window_mean(x) / truth["weight"], truth["mean"]
    variance_x = _window_mean(x * x) / truth["weight"] - mean_x**2
    covariance = _window_mean(x * truth["y"]) / truth["weight"] - mean_x * mean_y
    full_x, full_y = mean_x + centre, mean_y + centre
    values = (2 * full_x * full_y + c1) * (2 * covariance + c2)
    values /= (full_x**2 + full_y**2 + c1) * (variance_x + truth["variance"] + c2)
    return jnp.where(truth["compared"], jnp.pad(values, _SSIM_RADIUS), jnp.nan)


def _window_mean(values: jax.Array) -> jax.Array:
    """Means in windows inside the image: [h, w] -> [h - 10, w - 10]."""
    x, numbers = values[None, :, :, None], ("NHWC", "HWIO", "NHWC")
    for shape in ((-1, 1, 1, 1), (1, -1, 1, 1)):
        x = jax.lax.conv_general_dilated(x, _SSIM_WINDOW.reshape(shape), (1, 1), "VALID", dimension_numbers=numbers)
    return x[0, :, :, 0]
