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
from satxlate_jax.models.spectral_flow import Distribution, SpectralFlow, name_pattern
from satxlate_jax.translation.inference import FlowProgram

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

    def distribution(
        self, x: np.ndarray, source: str, target: str, places: np.ndarray | None = None, seed: int = 0, member: int = 0
    ) -> Distribution:
        """As there; details of a sample, too, depend on seed, member and place."""
        flow, factor, (height, width) = self._program.flow, self._factor, x.shape[1:3]
        padded = np.pad(x, ((0, 0), (0, -height % factor), (0, -width % factor), (0, 0)), mode="edge")
        found = self._program.distribution(_means(padded, factor), source, target, places, seed, member)
        made = jax.tree.map(lambda part: _repeat(part, factor), found)
        passed = {theirs for _, theirs in flow.copied(source, target)}
        resolutions = [get_satellite(target).band(number).native_resolution_km for number in flow.bands[target]]
        fine = [place for place, km in enumerate(resolutions) if km < FITTED_KM and place not in passed]
        if fine:
            base = self._program.base(self._smooth(padded, source), source, target)[..., fine]
            for field, coarse in ((made.mean, found.mean), (made.sample, found.sample)):
                if field is not None:
                    field[..., fine] = base + _interpolate(coarse[..., fine] - _means(base, factor), factor)
            variance, std = self._variance(source, target, fine), _interpolate(found.std[..., fine], factor)
            made.std[..., fine] = std * np.sqrt(1 + variance)
            for index, place in enumerate(() if places is None else places):
                noise = np.random.default_rng((seed, member, place)).standard_normal(std.shape[1:], np.float32)[None]
                noise -= _repeat(_means(noise, factor), factor)
                noise *= np.sqrt(variance / (1 - 1 / factor**2))
                noise *= std[index]
                made.sample[index][..., fine] += noise[0]
        return jax.tree.map(lambda part: part[:, :height, :width], made)

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
