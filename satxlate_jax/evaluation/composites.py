"""RGB and single-band images: true colour by day, infrared and water vapour at any time.

Sources of the green formulas: Bah, Gunshor and Schmit, Earth Space Sci. 5 (2018), 549-558 (CIMSS); the documentation
of satpy's SimulatedGreen (its own and EDC's weights).
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from satxlate_jax.instruments import get_satellite, is_same_wavelength

Fields = Mapping[int, np.ndarray]  # 1-based band -> [h, w] in the band's unit

_RED, _BLUE, _GREEN, _VEGETATION = 0.64, 0.47, 0.51, 0.865  # um
# um; windows first: they show clouds and surface; the others only where no window is there
_INFRARED = (10.35, 11.2, 12.3, 8.5, 3.9, 13.3, 9.61, 7.34, 6.95, 6.19)
WATER_VAPOUR = (6.19, 6.95, 7.34)
"""Wavelengths of the water-vapour bands, um; first the one that looks highest in the atmosphere."""
GAMMA = 2.2

GREEN_FORMULAS = {
    "CIMSS": (0.45, 0.45, 0.10),
    "satpy": (0.465, 0.465, 0.07),
    "EDC": (0.45706946, 0.48358168, 0.06038137),
}
"""Weights of blue (0.47 um), red (0.64 um) and vegetation (0.865 um) that stand in for ABI's missing green band."""


def find_band(satellite: str, wavelength: float, bands: Collection[int]) -> int | None:
    """The number of the band at a wavelength (um), if the satellite has one and it is among `bands`."""
    for band in get_satellite(satellite).bands:
        if is_same_wavelength(band.wavelength, wavelength) and band.number in bands:
            return band.number
    return None


def green_band(satellite: str) -> int | None:
    """The number of a satellite's green band (0.51 um), if its instrument has one."""
    return find_band(satellite, _GREEN, [band.number for band in get_satellite(satellite).bands])


def formula_green(satellite: str, fields: Fields, formula: str) -> np.ndarray | None:
    """Reflectance that stands in for ABI's green band by one of GREEN_FORMULAS; None where a band is not there."""
    numbers = [find_band(satellite, wavelength, fields) for wavelength in (_BLUE, _RED, _VEGETATION)]
    blue, red, vegetation = (None if number is None else fields[number] for number in numbers)
    if blue is None or red is None or vegetation is None:
        return None
    weights = GREEN_FORMULAS[formula]
    return weights[0] * blue + weights[1] * red + weights[2] * vegetation


def true_colour(
    satellite: str, fields: Fields, green: np.ndarray | None = None, formula: str = "CIMSS"
) -> np.ndarray | None:
    """A true-colour picture [h, w, 3] in [0, 1], NaN where missing; None where a band is not among the fields.

    Its green is the reflectance at 0.51 um handed in, such as a synthesised one, else the satellite's own band, else
    one of GREEN_FORMULAS.
    """
    red, blue, own = (find_band(satellite, wavelength, fields) for wavelength in (_RED, _BLUE, _GREEN))
    if green is None:
        green = formula_green(satellite, fields, formula) if own is None else fields[own]
    if red is None or blue is None or green is None:
        return None
    picture = np.stack([fields[red], green, fields[blue]], axis=-1)
    return np.clip(picture, 0, 1) ** (1 / GAMMA) if np.isfinite(picture).all(-1).any() else None


def infrared_band(satellite: str, fields: Fields, wavelengths: Sequence[float] = _INFRARED) -> int | None:
    """The band of the first wavelength (um) that has a value; by default the cleanest window among the fields."""
    for wavelength in wavelengths:
        number = find_band(satellite, wavelength, fields)
        if number is not None and np.isfinite(fields[number]).any():
            return number
    return None
