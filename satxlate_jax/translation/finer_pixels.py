"""A spectral flow on pixels finer than those it was fitted on.

The 2 km translation y of the pixels' means is interpolated, and the regression per pixel b tells what is finer:

    b + interpolated(y - means of b)

Bands that the target has at 2 km only are repeated, as `read_tile` repeats them. The variance of details is
extrapolated: what means over 2 x 2 pixels lose of it grows from each octave to the next finer one by the factor that
it grows by between the two finest octaves that the flow was fitted on.
"""

import jax
import numpy as np
import scipy  # its parts are imported on first use
import xarray as xr

from satxlate_jax.geometry import PIXELS, TILE_DEGREES
from satxlate_jax.instruments import get_satellite
from satxlate_jax.models import wavelet
from satxlate_jax.models.spectral_flow import SpectralFlow, name_pattern
from satxlate_jax.translation.inference import Drawn, FlowProgram, Predicted

FITTED_KM = 2.0


def finer_by(tile: xr.Dataset) -> int:
    """How many of a tile's pixels lie along one of 2 km, by its latitudes: 2 or 4; else 1."""
    latitude = tile.coords.get("lat")
    if latitude is None or latitude.ndim != 1 or latitude.size < 2:
        return 1
    pixels = TILE_DEGREES / abs(float(latitude[1] - latitude[0]))
    found = [size // PIXELS[FITTED_KM] for size in PIXELS.values() if abs(size - pixels) < 0.01 * size]
    return found[0] if found else 1


def _means(x: np.ndarray, factor: int) -> np.ndarray:
    """Means over factor x factor pixels of images [n, h, w, channel]; sides are multiples of it."""
    n, h, w, channels = x.shape
    return x.reshape(n, h // factor, factor, w // factor, factor, channels).mean((2, 4))


def _repeat(x: np.ndarray, factor: int) -> np.ndarray:
    return x.repeat(factor, 1).repeat(factor, 2)


def _interpolate(x: np.ndarray, factor: int) -> np.ndarray:
    return scipy.ndimage.zoom(x, (1, factor, factor, 1), order=1, mode="nearest", grid_mode=True)


class FinerProgram:
    """A `FlowProgram` for pixels of which `factor` lie along one of 2 km; methods as there."""

    def __init__(self, program: FlowProgram, factor: int):
        self._program, self._factor = program, factor

    def distribution(self, x: np.ndarray, source: str, target: str) -> Predicted:
        """Mean, standard deviation and `extrapolated`."""
        return self._predicted(x, *self._program.distribution(self._coarse(x), source, target), source, target)

    def draw(self, x: np.ndarray, source: str, target: str, seed: int, member: int, places: np.ndarray) -> Drawn:
        """One sample beside the distribution; its details, too, depend on seed, member and place."""
        draw, mean, std, far = self._program.draw(self._coarse(x), source, target, seed, member, places)
        (made, fine), factor = self._detail(x, draw, source, target), self._factor
        shape = (*(factor * side for side in std.shape[1:3]), len(fine))
        for index, place in enumerate(places):
            noise = np.random.default_rng((seed, member, place)).standard_normal(shape, np.float32)[None]
            noise -= _repeat(_means(noise, factor), factor)
            noise *= np.sqrt(self._variance(source, target, fine) / (1 - 1 / factor**2))
            noise *= _interpolate(std[[index]][..., fine], factor)
            made[index][..., fine] += noise[0, : x.shape[1], : x.shape[2]]
        return made, *self._predicted(x, mean, std, far, source, target)

    def _predicted(
        self, x: np.ndarray, mean: np.ndarray, std: np.ndarray, far: np.ndarray, source: str, target: str
    ) -> Predicted:
        """Those of 2 km on the pixels of x, with details."""
        made, fine = self._detail(x, mean, source, target)
        spread = _repeat(std, self._factor)
        spread[..., fine] = _interpolate(std[..., fine], self._factor) * np.sqrt(
            1 + self._variance(source, target, fine)
        )
        rows, columns = x.shape[1:3]
        flags = _repeat(far[..., None], self._factor)[..., 0]
        return made, spread[:, :rows, :columns], flags[:, :rows, :columns]

    def _coarse(self, x: np.ndarray) -> np.ndarray:
        return _means(self._padded(x), self._factor)

    def _padded(self, x: np.ndarray) -> np.ndarray:
        sides = [(0, -side % self._factor) for side in x.shape[1:3]]
        return np.pad(x, ((0, 0), *sides, (0, 0)), mode="edge")

    def _detail(self, x: np.ndarray, coarse: np.ndarray, source: str, target: str) -> tuple[np.ndarray, list[int]]:
        """A coarse translation on the pixels of x, and positions of the bands that have details."""
        flow, factor = self._program.flow, self._factor
        passed = {theirs for _, theirs in flow.copied(source, target)}
        resolutions = [get_satellite(target).band(number).native_resolution_km for number in flow.bands[target]]
        fine = [place for place, km in enumerate(resolutions) if km < FITTED_KM and place not in passed]
        made = _repeat(coarse, factor)
        if fine:
            base = self._program.base(self._smooth(self._padded(x), source), source, target)[..., fine]
            made[..., fine] = base + _interpolate(coarse[..., fine] - _means(base, factor), factor)
        return made[:, : x.shape[1], : x.shape[2]], fine

    def _smooth(self, x: np.ndarray, source: str) -> np.ndarray:
        """Images whose bands of coarser pixels are interpolated, where the reader repeated them."""
        x = x.copy()
        for place, number in enumerate(self._program.flow.bands[source]):
            copies = round(get_satellite(source).band(number).native_resolution_km * self._factor / FITTED_KM)
            if copies > 1:
                x[..., [place]] = _interpolate(_means(x[..., [place]], copies), copies)
        return x

    def _variance(self, source: str, target: str, fine: list[int]) -> np.ndarray:
        """The variance of details over that of a 2 km pixel, of some of the target's bands."""
        flow = self._program.flow
        channels = np.array(flow.axis.of_satellite(target))[fine]
        name = name_pattern(flow.axis.given(source, target))
        parts = (self._program.params[part][name]["sigma"] for part in ("base", "calibration"))
        variance = np.prod([np.asarray(part, np.float64)[:, channels] ** 2 for part in parts], 0)
        every, finest, next_finest = octaves(flow, variance)
        growth = finest / next_finest
        return finest / every * sum(growth**octave for octave in range(1, self._factor.bit_length()))


def octaves(flow: SpectralFlow, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Variance [channel] of pixels, what of it means over 2 x 2 lack, and what means over 4 x 4 lack beside.

    `variance` [subband, channel] is that of coefficients.
    """
    size = 2 * flow.alignment
    images = np.zeros((size, size, variance.shape[1]), np.float32)
    for band, values in zip(wavelet.subbands((size, size), flow.levels), variance, strict=True):
        images[band.rows, band.columns] = values
    pixel_variance = jax.jit(wavelet.pixel_variance, static_argnums=(1, 2))
    left = [np.asarray(pixel_variance(images, flow.levels, side)).mean((0, 1)) for side in (1, 2, 4)]
    return left[0], left[0] - left[1], left[1] - left[2]
