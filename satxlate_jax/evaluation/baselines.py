"""What a translation must beat: a constant, the copied band, a regression between the bands of one instrument.

'Unpaired' regression: no pair of the two satellites is needed. It is fitted on the TARGET satellite's own tiles,
inputs = its bands that the source's input bands share by wavelength, outputs = each of its bands, and then applied
to the bands that the SOURCE measured. Every fit streams over tiles: only sums are kept.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from satxlate_jax.observations.satellites import get_satellite, is_shared, shared_channels


@dataclass(frozen=True)
class Task:
    """What is to be predicted from what.

    Attributes:
      source: name of the satellite whose bands are given.
      source_bands: its 1-based bands, in the order of the arrays.
      target: name of the satellite whose bands are wanted.
      target_bands: its 1-based bands, in the order of the arrays.
    """

    source: str
    source_bands: tuple[int, ...]
    target: str
    target_bands: tuple[int, ...]

    @property
    def shared(self) -> tuple[list[int], list[int]]:
        """Channels of the source's array and of the target's that are the same band by wavelength."""
        return shared_channels(self.source, self.source_bands, self.target, self.target_bands)


class Baseline(Protocol):
    """A method without a network. `fit_tile` is called for tiles of the target, then `finish`, then `predict`."""

    name: str

    def fit_tile(self, values: np.ndarray) -> None:
        """Takes in a tile of the target satellite: [h, w, target band], physical units, NaN where missing."""

    def finish(self) -> None:
        """Ends the fit."""

    def predict(self, values: np.ndarray) -> np.ndarray:
        """From [h, w, source band] to float64 [h, w, target band], physical units; NaN where it has no answer."""


class Constant:
    """Each band's mean over the fitting tiles."""

    name = "constant"

    def __init__(self, task: Task):
        self._sum = np.zeros(len(task.target_bands))
        self._n = np.zeros(len(task.target_bands), np.int64)
        self._mean = np.full(len(task.target_bands), np.nan)

    def fit_tile(self, values: np.ndarray) -> None:
        """Adds a tile [h, w, target band] to the means."""
        seen = np.isfinite(values)
        self._sum += np.sum(values, axis=(0, 1), where=seen, dtype=np.float64)
        self._n += seen.sum((0, 1))

    def finish(self) -> None:
        """Divides; a band never seen stays NaN."""
        self._mean = np.where(self._n > 0, self._sum / np.maximum(self._n, 1), np.nan)

    def predict(self, values: np.ndarray) -> np.ndarray:
        """The means at every pixel, [h, w, target band]."""
        return np.broadcast_to(self._mean, values.shape[:2] + self._mean.shape)


class BandCopy:
    """The source's band of the same wavelength, where there is one."""

    name = "band_copy"

    def __init__(self, task: Task):
        self._channels = list(zip(*task.shared, strict=True))
        self._n_target = len(task.target_bands)

    def fit_tile(self, values: np.ndarray) -> None:
        """Nothing to fit."""

    def finish(self) -> None:
        """Nothing to fit."""

    def predict(self, values: np.ndarray) -> np.ndarray:
        """The shared bands as measured; NaN in bands the source has no partner for, [h, w, target band]."""
        copied = np.full(values.shape[:2] + (self._n_target,), np.nan)
        for source_channel, target_channel in self._channels:
            copied[..., target_channel] = values[..., source_channel]
        return copied


class LinearRegression:
    """Least squares from the shared bands to every target band, by streaming normal equations in float64.

    Each target band has its own sums, so that a pixel missing in one does not cost the others.
    """

    name = "linear"

    def __init__(self, task: Task):
        self._source_channels, self._input_channels = task.shared
        self._n_target = len(task.target_bands)
        size = len(self._input_channels) + 1
        self._n = np.zeros(self._n_target, np.int64)
        self._mean = np.zeros((self._n_target, size))  # of the inputs, then of the output
        self._moments = np.zeros((self._n_target, size, size))  # centred sums of products
        self.weights = np.full((size - 1, self._n_target), np.nan)
        self.offset = np.full(self._n_target, np.nan)

    def fit_tile(self, values: np.ndarray) -> None:
        """Adds a tile [h, w, target band] to the sums, pixels where all inputs and the output are there."""
        pixels = values.reshape(-1, values.shape[-1]).astype(np.float64)
        inputs = pixels[:, self._input_channels]
        usable = np.isfinite(inputs).all(1)
        inputs, pixels = inputs[usable], pixels[usable]
        for channel in range(self._n_target):
            seen = np.isfinite(pixels[:, channel])
            if seen.any():
                self._add(channel, np.concatenate([inputs[seen], pixels[seen, channel, None]], axis=1))

    def _add(self, channel: int, rows: np.ndarray) -> None:
        n, total = len(rows), len(rows) + self._n[channel]
        mean = rows.mean(0)
        centred = rows - mean
        step = mean - self._mean[channel]
        self._moments[channel] += centred.T @ centred + np.outer(step, step) * (self._n[channel] * n / total)
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
        return values[..., self._source_channels].astype(np.float64) @ self.weights + self.offset


BASELINES = (BandCopy, LinearRegression, Constant)


def make_baselines(task: Task) -> list[Baseline]:
    """All baselines, unfitted, in the order of the report."""
    return [baseline(task) for baseline in BASELINES]


def has_partner(task: Task, target_band: int) -> bool:
    """Whether a target band has the wavelength of one of the source's given bands."""
    source, wanted = get_satellite(task.source), get_satellite(task.target).band(target_band)
    return any(is_shared(source.band(number), wanted) for number in task.source_bands)
