"""What becomes of missing and impossible values: filled before the network sees them, marked after.

A convolution spreads one NaN over its whole field of view (45 x 45 pixels in the released model, in all bands).
Here a missing pixel is first filled with the nearest observed value of its band, so that its neighbours are translated
from plausible surroundings, and the output is missing only where an input was.
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from scipy import ndimage

from satxlate_jax.instruments import Band
from satxlate_jax.l1g.tile import solar_zenith

FLAGS = {"input_missing": 1, "night": 2, "limited": 4}
"""Meanings and bits of the quality variable."""

NIGHT_ZENITH = 90.0
"""Solar zenith angle in degrees from which reflectance means nothing."""


def fill_missing(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fills each band's missing pixels with its nearest observed one.

    Args:
      values: [h, w, band], NaN where missing; every band has at least one value.

    Returns:
      The filled copy [h, w, band], and where any band was missing, bool [h, w].
    """
    missing = ~np.isfinite(values)
    if not missing.any():
        return values, np.zeros(values.shape[:2], bool)
    filled = values.copy()
    nearest: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}  # bands of one sensor are mostly missing together
    for channel in np.flatnonzero(missing.any((0, 1))):
        holes = missing[..., channel]
        key = holes.tobytes()
        if key not in nearest:
            rows, columns = ndimage.distance_transform_edt(holes, return_distances=False, return_indices=True)
            nearest[key] = rows[holes], columns[holes]
        filled[..., channel][holes] = values[..., channel][nearest[key]]
    return filled, missing.any(-1)


def find_night(tile: xr.Dataset) -> np.ndarray | None:
    """Where the sun's centre is at or below the horizon, from the tile's own angles, else from its time and place.

    Args:
      tile: with `solar_zenith` (lat, lon) in degrees, or with the coordinates lat, lon and time;
        lat and lon of its rows and columns, or both of its pixels.

    Returns:
      bool [h, w], or None where the tile says neither.
    """
    zenith = solar_zenith(tile)
    return None if zenith is None else zenith >= NIGHT_ZENITH


def limit(values: np.ndarray, bands: Sequence[Band]) -> tuple[np.ndarray, np.ndarray]:
    """Limits each band to its valid range; NaN stays.

    Args:
      values: [..., band] in each band's unit.
      bands: the bands in the order of the last axis.

    Returns:
      The limited values, and where a value was limited, bool [..., band].
    """
    low, high = np.array([band.valid_range for band in bands], np.float64).reshape(-1, 2).T
    limited = np.clip(values, low, high)
    return limited, np.isfinite(values) & (limited != values)


def blank_impossible_temperatures(values: np.ndarray, bands: Sequence[Band]) -> np.ndarray:
    """The released code's rule: brightness temperatures below 180 K or above 350 K become NaN, the rest stays.

    Args:
      values: [..., band] in each band's unit.
      bands: the bands in the order of the last axis.
    """
    thermal = np.array([band.kind == "brightness_temperature" for band in bands])
    return np.where(thermal & ((values < 180.0) | (values > 350.0)), np.nan, values)
