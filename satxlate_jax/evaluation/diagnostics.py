"""Diagnostics next to the scores: classes of pixels, and the model's cycle and latent consistency."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from satxlate_jax.evaluation.composites import Fields, find_band, infrared_band
from satxlate_jax.evaluation.metrics import DATA_RANGE, SUMS, band_sums, merge_sums
from satxlate_jax.geometry import DAY_ENDS, NIGHT_BEGINS, view_angles
from satxlate_jax.instruments import get_satellite
from satxlate_jax.regression import Moments
from satxlate_jax.translation.translate import TileTranslator

ALL = "all"
FLAGS = ("extrapolated", "not extrapolated")
"""Groups of pixels that a translation flags as outside of what it has learned from, and the others."""
_APART = ("view zeniths less than 5 degrees apart", "5 to 20 degrees apart", "more than 20 degrees apart")
_PARALLAX = ("parallax below a pixel", "parallax of a pixel or more")
_CLASSES = ("day", "twilight", "night", "cold or bright", "warm and dark", "water", "vegetation", "bare", "snow-like")
GROUPS = (ALL, *_CLASSES, *_APART, *_PARALLAX, *FLAGS)
"""All groups in the order of tables."""
_REFLECTIVE, _WINDOW = (0.64, 0.865, 1.61), 10.4  # um
_COLD = 280.0  # K in an atmospheric window
_BRIGHT = 0.35  # reflectance at 0.64 um
_VEGETATION, _SNOW, _WATER = 0.3, 0.4, 0.12  # normalised differences; reflectance at 0.865 um
_ZENITHS_APART = (5.0, 20.0)  # degrees
_LAPSE_RATE, _GROUND_PERCENTILE = 6.5, 99  # K/km; of the window's temperatures in a tile, which is its ground's
_PIXEL_KM = 2.0


def grouping_bands(satellite: str) -> list[int]:
    """The bands by which pixels are told apart, 1-based; worth reading also where no network needs them."""
    every = [band.number for band in get_satellite(satellite).bands]
    found = (find_band(satellite, wavelength, every) for wavelength in (*_REFLECTIVE, _WINDOW))
    return [number for number in found if number is not None]


def pixel_groups(satellite: str, fields: Fields, solar_zenith: np.ndarray | None) -> dict[str, np.ndarray]:
    """Groups of pixels by sun, clouds and surface; the solar zenith angle, [h, w] degrees, may be unknown.

    Returns:
      Name -> bool [h, w], without those that have no pixel: 'all'; 'day', 'twilight' and 'night'; 'cold or bright'
      (mostly cloud) and 'warm and dark' (mostly clear); by day, of the latter, 'water', 'vegetation' and 'bare'; by day
      'snow-like' (bright in the visible and dark at 1.6 um: snow and ice clouds). A pixel may be in several.
    """
    shape = next(iter(fields.values())).shape
    groups = {ALL: np.ones(shape, bool)}
    day = np.zeros(shape, bool)
    if solar_zenith is not None:
        day, night = solar_zenith < DAY_ENDS, solar_zenith >= NIGHT_BEGINS
        groups |= {"day": day, "twilight": ~day & ~night & np.isfinite(solar_zenith), "night": night}
    numbers = (find_band(satellite, wavelength, fields) for wavelength in _REFLECTIVE)
    # a band that is not there is NaN, which is in no group
    absent = np.full(shape, np.nan)
    red, vegetation, near_infrared = (absent if number is None else fields[number] for number in numbers)
    window = infrared_band(satellite, fields)
    if window is not None:
        cold = (fields[window] < _COLD) | (day & (red > _BRIGHT))
        clear = ~cold & np.isfinite(fields[window])
        groups |= {"cold or bright": cold & np.isfinite(fields[window]), "warm and dark": clear}
        seen = clear & day & np.isfinite(red) & np.isfinite(vegetation)
        green = _normalized_difference(vegetation, red) > _VEGETATION
        water = (vegetation < _WATER) & ~green
        groups |= {"water": seen & water, "vegetation": seen & green, "bare": seen & ~water & ~green}
    groups["snow-like"] = day & (_normalized_difference(red, near_infrared) > _SNOW) & (red > 0.2)
    return {name: mask for name, mask in groups.items() if mask.any()}


def view_groups(seen: Mapping[str, Fields], lat: np.ndarray, lon: np.ndarray) -> dict[str, np.ndarray]:
    """Groups of pixels, bool [h, w], by how differently two satellites look at them; lat [h] and lon [w] in degrees.

    The parallax is that of the higher of the cloud tops that the two see there: as high as the 10.4 um temperature
    lies below the tile's warm 99th percentile at 6.5 K/km, times the difference of the tangents of both views, as
    vectors, against a pixel of 2 km. Without such a band there are no groups of it.
    """
    views = [np.radians(view_angles(get_satellite(name).longitude, lat[:, None], lon[None])) for name in seen]
    (low, high), apart = _ZENITHS_APART, np.degrees(np.abs(views[0][0] - views[1][0]))
    groups = dict(zip(_APART, (apart < low, (apart >= low) & (apart <= high), apart > high), strict=True))
    found = ((fields, find_band(name, _WINDOW, fields)) for name, fields in seen.items())
    windows = [fields[number] for fields, number in found if number is not None and np.isfinite(fields[number]).any()]
    if windows:
        depths = [np.nanpercentile(window, _GROUND_PERCENTILE) - window for window in windows]
        tangents = [np.tan(zenith) * np.exp(1j * azimuth) for zenith, azimuth in views]
        parallax = np.maximum(np.max(depths, axis=0), 0) / _LAPSE_RATE * np.abs(tangents[0] - tangents[1])
        groups |= dict(zip(_PARALLAX, (parallax < _PIXEL_KM, parallax >= _PIXEL_KM), strict=True))
    return groups


def _normalized_difference(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    total = first + second
    return np.where(total > 0.02, (first - second) / np.where(total > 0.02, total, 1), 0)


@dataclass
class Consistency:
    """Cycle and latent consistency of the model, summed over cases.

    The first are sums of source -> target -> source against the source, by the source's band, see `metrics.band_sums`;
    the second moments [channel, 2] of the latent fields of two satellites' coincident tiles; None without any.
    """

    cycle: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(SUMS), dtype=np.float64))
    latent: Moments | None = None

    def add_cycle(self, translator: TileTranslator, x: np.ndarray, source: str, target: str) -> None:
        """Add a tile [h, w, source band], physical units, NaN where missing: to the target and back."""
        if not translator.can_translate(target, source):
            return
        back = translator.translate(translator.translate(x, target, source=source), source, source=target)
        rows = [
            band_sums(back[..., channel], x[..., channel], DATA_RANGE[band.kind]).rename({ALL: band.number})
            for channel, band in enumerate(translator.bands(source))
        ]
        self.cycle = merge_sums(pd.concat([self.cycle, *rows]))

    def add_latent(self, first: np.ndarray, second: np.ndarray) -> None:
        """Add the latent fields of two satellites' coincident tiles, [h, w, channel] each.

        They are of the channels that take noise in training: measurements on the spectral path agree in any case.
        """
        self.latent = self.latent or Moments(first.shape[-1], 2)
        self.latent.add(np.stack([x.reshape(-1, x.shape[-1]).T.astype(np.float64) for x in (first, second)], axis=-1))

    def latent_agreement(self) -> dict[str, float] | None:
        """Agreement of the two satellites' latent fields; None where no coincident files were encoded.

        Returns:
          'correlation': median over channels; 'difference': root mean square of the difference over that of the fields
          (0 is the same, 1.4 is unrelated); 'size': root mean square of the fields, against unit noise in training.
        """
        if self.latent is None:
            return None
        mean, covariance = self.latent.mean, self.latent.covariance
        first, second, product = covariance[:, 0, 0], covariance[:, 1, 1], covariance[:, 0, 1]
        difference = first + second - 2 * product + (mean[:, 0] - mean[:, 1]) ** 2
        size = (first + second + (mean**2).sum(-1)) / 2
        return {
            "correlation": float(np.median(product / np.sqrt(np.maximum(first * second, 1e-30)))),
            "difference": float(np.sqrt(difference.mean() / size.mean())),
            "size": float(np.sqrt(size.mean())),
        }
