"""Kinds of pixels that are scored apart: by the sun, by clouds, by surface; simple tests, named for what they test."""

import numpy as np

from satxlate_jax.evaluation.composites import Fields, find_band, infrared_band
from satxlate_jax.instruments import get_satellite

ALL = "all"
DAY_ENDS, NIGHT_BEGINS = 80.0, 96.0  # solar zenith, degrees; civil twilight ends at 96
_REFLECTIVE, _WINDOW = (0.64, 0.865, 1.61), 10.4  # um
_COLD = 280.0  # K in an atmospheric window
_BRIGHT = 0.35  # reflectance at 0.64 um
_VEGETATION, _SNOW, _WATER = 0.3, 0.4, 0.12  # normalised differences; reflectance at 0.865 um


def grouping_bands(satellite: str) -> list[int]:
    """The bands by which pixels are told apart, 1-based; worth reading also where no network needs them."""
    every = {band.number: np.empty(0) for band in get_satellite(satellite).bands}
    found = (find_band(satellite, wavelength, every) for wavelength in (*_REFLECTIVE, _WINDOW))
    return [number for number in found if number is not None]


def pixel_groups(satellite: str, fields: Fields, solar_zenith: np.ndarray | None) -> dict[str, np.ndarray]:
    """Which pixels belong to which group; a pixel may be in several or, beside 'all', in none.

    Args:
      satellite: that saw the fields.
      fields: band -> [h, w] in the band's unit, NaN where missing.
      solar_zenith: [h, w] degrees, or None where it is not known.

    Returns:
      Name -> bool [h, w]: 'all'; 'day' (solar zenith below 80 degrees), 'twilight' and 'night' (96 and above); 'cold or
      bright' (mostly cloud: window below 280 K, or red reflectance above 0.35 by day) and 'warm and dark' (mostly
      clear); by day, of the latter, 'water', 'vegetation' and 'bare'; by day 'snow-like' (bright in the visible and
      dark at 1.6 um: snow and ice clouds). Groups without a pixel are left out.
    """
    shape = next(iter(fields.values())).shape
    groups = {ALL: np.ones(shape, bool)}
    day = np.zeros(shape, bool)
    if solar_zenith is not None:
        day = solar_zenith < DAY_ENDS
        night = solar_zenith >= NIGHT_BEGINS
        groups |= {"day": day, "twilight": ~day & ~night & np.isfinite(solar_zenith), "night": night}
    numbers = (find_band(satellite, wavelength, fields) for wavelength in _REFLECTIVE)
    red, vegetation, near_infrared = (None if number is None else fields[number] for number in numbers)
    window = infrared_band(satellite, fields)
    if window is not None:
        cold = fields[window] < _COLD
        seen = np.isfinite(fields[window])
        if red is not None:
            cold = cold | (day & (red > _BRIGHT))
        groups |= {"cold or bright": cold & seen, "warm and dark": ~cold & seen}
        if red is not None and vegetation is not None:
            groups |= _surfaces(groups["warm and dark"] & day, red, vegetation)
    if red is not None and near_infrared is not None:
        snow = _normalized_difference(red, near_infrared) > _SNOW
        groups["snow-like"] = day & snow & (red > 0.2)
    return {name: mask for name, mask in groups.items() if mask.any()}


def _surfaces(clear: np.ndarray, red: np.ndarray, vegetation: np.ndarray) -> dict[str, np.ndarray]:
    green = _normalized_difference(vegetation, red) > _VEGETATION
    water = (vegetation < _WATER) & ~green
    seen = clear & np.isfinite(red) & np.isfinite(vegetation)
    return {"water": seen & water, "vegetation": seen & green, "bare": seen & ~water & ~green}


def _normalized_difference(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    total = first + second
    return np.where(total > 0.02, (first - second) / np.where(total > 0.02, total, 1), 0)
