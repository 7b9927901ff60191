"""Bands -> what the eye can read: true colour by day, infrared at any time.

Sources: the natural-looking green for ABI is Bah, Gunshor and Schmit, Earth Space Sci. 5 (2018), 549-558:
0.45 red + 0.10 vegetation + 0.45 blue.
"""

from collections.abc import Mapping

import numpy as np

from satxlate_jax.observations.satellites import get_satellite

Fields = Mapping[int, np.ndarray]  # 1-based band -> [h, w] in the band's unit

DAY_ZENITH = 80.0
"""Solar zenith angle in degrees up to which a true-colour picture is worth looking at."""

_RED, _BLUE, _GREEN, _VEGETATION = 0.64, 0.47, 0.51, 0.865  # um
# windows first: they show clouds and surface; the others only where no window is there
_INFRARED_ORDER = (10.35, 11.2, 12.3, 8.5, 3.9, 13.3, 9.61, 7.34, 6.95, 6.19)
_GAMMA = 2.2


def find_band(satellite: str, wavelength: float, fields: Fields) -> int | None:
    """The band at a wavelength (um, within 2.5 %) that a satellite has and that is among the fields."""
    for band in get_satellite(satellite).bands:
        if abs(band.wavelength - wavelength) < 0.025 * wavelength and band.number in fields:
            return band.number
    return None


def formula_green(red: np.ndarray, vegetation: np.ndarray, blue: np.ndarray) -> np.ndarray:
    """The usual stand-in for ABI's missing green band, all reflectances (1)."""
    return 0.45 * red + 0.10 * vegetation + 0.45 * blue


def true_colour(satellite: str, fields: Fields) -> np.ndarray | None:
    """A true-colour picture; green is the 0.51 um band where there is one, else the usual formula.

    Args:
      satellite: whose bands these are.
      fields: its bands, reflectances (1), NaN where missing.

    Returns:
      float [h, w, 3] in [0, 1], NaN where missing; None where a band is not among the fields.
    """
    red, blue, green, vegetation = (
        find_band(satellite, wavelength, fields) for wavelength in (_RED, _BLUE, _GREEN, _VEGETATION)
    )
    if red is None or blue is None or (green is None and vegetation is None):
        return None
    middle = fields[green] if green is not None else formula_green(fields[red], fields[vegetation], fields[blue])
    picture = np.stack([fields[red], middle, fields[blue]], axis=-1)
    return np.clip(picture, 0, 1) ** (1 / _GAMMA)


def infrared_band(satellite: str, fields: Fields) -> int | None:
    """The best band for an infrared picture: the cleanest window among the fields."""
    for wavelength in _INFRARED_ORDER:
        number = find_band(satellite, wavelength, fields)
        if number is not None and np.isfinite(fields[number]).any():
            return number
    return None


def is_day(solar_zenith: np.ndarray | None) -> bool:
    """Whether most of a tile has the sun well up; without solar angles it is taken for night."""
    return solar_zenith is not None and bool(np.nanmedian(solar_zenith) < DAY_ZENITH)
