"""How good one band is: streaming sums per band that can be merged, and the figures that follow from them.

Sums are kept as count, means and centred second moments in float64 and merged by Chan's update, so a score is the
same in one pass, in parts, or over an archive (tested to 1e-6). A pixel counts where both fields are finite.

Source: Chan, Golub and LeVeque, Am. Stat. 37 (1983), pairwise variance; Wang et al., IEEE TIP 13 (2004), SSIM with
its Gaussian window; Vandal et al., TGRS 2021, the ranges of PSNR.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import ndimage

from satxlate_jax.instruments import Band

# Ranges that PSNR and SSIM refer to, as published: reflectance 0 to 1.6, brightness temperature over 200 K.
DATA_RANGE = {"reflectance": 1.6, "brightness_temperature": 200.0}

FIGURES = ("n", "bias", "mae", "rmse", "psnr", "ssim", "correlation")
"""Those that count every pixel alike."""
AREA_FIGURES = tuple(f"{name}_area" for name in FIGURES[1:])
"""The same with every pixel weighted by its area."""

_SSIM_SIGMA = 1.5  # pixels; the window is cut at 11 x 11
_SSIM_RADIUS = 5
_SSIM_K1, _SSIM_K2 = 0.01, 0.03
_SSIM_WEIGHT = 0.5  # of its window that must be observed for a pixel to count


def data_range(band: Band) -> float:
    """The published range for PSNR and SSIM: 1.6 for reflectance, 200 K for brightness temperature."""
    return DATA_RANGE[band.kind]


@dataclass
class BandScore:
    """The sums of one band under one method, every pixel counted alike, and beside them those weighted by area.

    Attributes:
      data_range: what PSNR and SSIM refer to, in the band's unit.
      n: pixels counted; in `area` the sum of their areas.
      mean: [2], of prediction and truth, in the band's unit.
      moments: [2, 2], sums of centred products of prediction and truth, unit squared.
      absolute: sum of |prediction - truth|, in the band's unit.
      ssim_sum: sum of the structural similarity of the pixels that have one.
      ssim_n: how many have; in `area` the sum of their areas.
      area: the same sums weighted by the pixels' areas; None where these are not known.
    """

    data_range: float
    n: float = 0
    mean: np.ndarray = field(default_factory=lambda: np.zeros(2))
    moments: np.ndarray = field(default_factory=lambda: np.zeros((2, 2)))
    absolute: float = 0.0
    ssim_sum: float = 0.0
    ssim_n: float = 0
    area: "BandScore | None" = None

    def update(
        self,
        prediction: np.ndarray,
        truth: np.ndarray,
        where: np.ndarray | None = None,
        area: np.ndarray | None = None,
    ) -> "BandScore":
        """Counts one field in.

        Args:
          prediction: [h, w] in the band's unit, NaN where missing.
          truth: [h, w] in the band's unit, NaN where missing.
          where: [h, w] bool, the pixels to count; default all.
          area: of the pixels, as for `score_groups`.

        Returns:
          Itself.
        """
        groups = {"": np.ones(truth.shape, bool) if where is None else where}
        return self.merge(score_groups(prediction, truth, self.data_range, groups, area)[""])

    def merge(self, other: "BandScore") -> "BandScore":
        """Adds the sums of other pixels, in place; the order does not matter beyond rounding."""
        total = self.n + other.n
        if other.n:
            mine = self.area if self.n else BandScore(self.data_range)
            self.area = mine.merge(other.area) if mine and other.area else None
            step = other.mean - self.mean
            self.moments = self.moments + other.moments + np.outer(step, step) * (self.n * other.n / total)
            self.mean = self.mean + step * (other.n / total)
            self.n = total
            self.absolute += other.absolute
        self.ssim_sum += other.ssim_sum
        self.ssim_n += other.ssim_n
        return self

    def figures(self) -> dict[str, float]:
        """The scores, NaN where there was nothing to count.

        Returns:
          n; bias (prediction minus truth), mae and rmse in the band's unit; psnr in dB, from the rmse over all
          pixels; ssim, the mean over all pixels that have one; correlation (Pearson); then all but n weighted by area
          (`AREA_FIGURES`), NaN where areas are not known.
        """
        by_area = (self.area or BandScore(self.data_range))._figures()
        return self._figures() | {f"{name}_area": by_area[name] for name in FIGURES[1:]}

    def _figures(self) -> dict[str, float]:
        if not self.n:
            return {"n": 0} | dict.fromkeys(FIGURES[1:], float("nan"))
        bias = float(self.mean[0] - self.mean[1])
        spread = (self.moments[0, 0] + self.moments[1, 1] - 2 * self.moments[0, 1]) / self.n
        rmse = float(np.sqrt(max(spread, 0.0) + bias**2))
        scale = float(np.sqrt(self.moments[0, 0] * self.moments[1, 1]))
        # a constant field has no correlation; its moments are rounding, not variance
        varies = min(self.moments[0, 0], self.moments[1, 1]) > 1e-12 * self.n * self.data_range**2
        return {
            "n": self.n,
            "bias": bias,
            "mae": self.absolute / self.n,
            "rmse": rmse,
            "psnr": float(20 * np.log10(self.data_range / rmse)) if rmse > 0 else float("inf"),
            "ssim": self.ssim_sum / self.ssim_n if self.ssim_n else float("nan"),
            "correlation": float(np.clip(self.moments[0, 1] / scale, -1, 1)) if varies else float("nan"),
        }


def score_groups(
    prediction: np.ndarray,
    truth: np.ndarray,
    range_: float,
    groups: Mapping[str, np.ndarray],
    area: np.ndarray | None = None,
) -> dict[str, BandScore]:
    """Scores one field in several groups of pixels at once; the structural similarity is computed only once.

    Args:
      prediction: [h, w] in the band's unit, NaN where missing.
      truth: [h, w] in the band's unit, NaN where missing.
      range_: what PSNR and SSIM refer to, in the band's unit.
      groups: name -> [h, w] bool, the pixels to count.
      area: of the pixels, [h, w] or [h, 1], in any unit; None: not known, then there are no sums weighted by it.

    Returns:
      The sums of each group.
    """
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction {prediction.shape} and truth {truth.shape} differ in shape")
    seen = np.isfinite(prediction) & np.isfinite(truth)
    similarity = structural_similarity(prediction, truth, range_)
    scores = {}
    for name, where in groups.items():
        counted = seen & where
        if not counted.any():
            scores[name] = BandScore(range_)
            continue
        values = np.stack([prediction[counted], truth[counted]]).astype(np.float64)
        scores[name] = _weighted_sums(values, similarity[counted], np.ones(values.shape[1]), range_)
        scores[name].n, scores[name].ssim_n = values.shape[1], int(scores[name].ssim_n)
        if area is not None:
            weights = np.broadcast_to(area, truth.shape)[counted]
            scores[name].area = _weighted_sums(values, similarity[counted], weights, range_)
    return scores


def _weighted_sums(values: np.ndarray, similarity: np.ndarray, weights: np.ndarray, range_: float) -> BandScore:
    """Sums over pixels: values [2, pixel] of prediction and truth, similarity [pixel] or NaN, weights [pixel]."""
    n = float(weights.sum())
    mean = (values * weights).sum(1) / n
    centred = values - mean[:, None]
    absolute = float((np.abs(values[0] - values[1]) * weights).sum())
    similar = np.isfinite(similarity)
    ssim_sum = float((similarity[similar] * weights[similar]).sum())
    moments = (centred * weights) @ centred.T
    return BandScore(range_, n, mean, moments, absolute, ssim_sum, float(weights[similar].sum()))


def structural_similarity(prediction: np.ndarray, truth: np.ndarray, range_: float) -> np.ndarray:
    """SSIM at every pixel (Wang et al. 2004: Gaussian window of 1.5 pixels cut at 11 x 11, K1 0.01, K2 0.03).

    Missing pixels have no weight in their neighbours' windows; without any it is the usual SSIM.

    Args:
      prediction: [h, w] in the band's unit, NaN where missing.
      truth: [h, w] in the band's unit, NaN where missing.
      range_: the data range L, in the band's unit.

    Returns:
      float64 [h, w]; NaN on the border of 5 pixels, where either field is missing, and where less than half of the
      window's weight is observed.
    """
    seen = np.isfinite(prediction) & np.isfinite(truth)
    similarity = np.full(truth.shape, np.nan)
    inner = (slice(_SSIM_RADIUS, -_SSIM_RADIUS),) * 2
    if min(truth.shape) <= 2 * _SSIM_RADIUS or not seen.any():
        return similarity
    # centred, so that the differences of squares below do not cancel
    centre = float(np.mean(truth, where=seen, dtype=np.float64))
    x = np.where(seen, prediction, centre).astype(np.float64) - centre
    y = np.where(seen, truth, centre).astype(np.float64) - centre
    complete = bool(seen.all())
    weight: Any = None if complete else np.maximum(_window_mean(seen.astype(np.float64)), 1e-12)

    def local(values: np.ndarray) -> np.ndarray:
        return _window_mean(values) if complete else _window_mean(np.where(seen, values, 0.0)) / weight

    mean_x, mean_y = local(x), local(y)
    variance_x, variance_y = local(x * x) - mean_x**2, local(y * y) - mean_y**2
    covariance = local(x * y) - mean_x * mean_y
    mean_x, mean_y = mean_x + centre, mean_y + centre
    c1, c2 = (_SSIM_K1 * range_) ** 2, (_SSIM_K2 * range_) ** 2
    full = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    full /= (mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)
    counted = seen if complete else seen & (weight >= _SSIM_WEIGHT)
    similarity[inner] = np.where(counted, full, np.nan)[inner]
    return similarity


def _window_mean(values: np.ndarray) -> np.ndarray:
    return ndimage.gaussian_filter(values, _SSIM_SIGMA, radius=_SSIM_RADIUS, mode="reflect")
