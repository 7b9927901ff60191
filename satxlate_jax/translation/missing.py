"""Missing and impossible values: filled before the network sees them, marked after.

A convolution spreads one NaN over its whole field of view (45 x 45 pixels in the released model, in all bands). With
the nearest observed value in its place a missing pixel costs only itself.
"""

from collections.abc import Sequence

import numpy as np
import scipy  # its parts are imported on first use

from satxlate_jax.instruments import Band

FLAGS = {"input_missing": 1, "night": 2, "limited": 4}
"""Meanings and bits of the quality variable."""


def fill_missing(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fill each band's missing pixels with its nearest observed value.

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
            rows, columns = scipy.ndimage.distance_transform_edt(holes, return_distances=False, return_indices=True)
            nearest[key] = rows[holes], columns[holes]
        filled[..., channel][holes] = values[..., channel][nearest[key]]
    return filled, missing.any(-1)


def limit(values: np.ndarray, bands: Sequence[Band]) -> tuple[np.ndarray, np.ndarray]:
    """Limit each band of [..., band] to its valid range, NaN stays; and say where that changed a value, bool."""
    low, high = np.array([band.valid_range for band in bands], np.float64).reshape(-1, 2).T
    limited = np.clip(values, low, high)
    return limited, np.isfinite(values) & (limited != values)
