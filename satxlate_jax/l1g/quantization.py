"""Physical values <-> the uint16 codes in which prepared data sets store them, at half the bytes of float32.

One step is 0.01 K for brightness temperature and 1e-4 for reflectance, the steps of the L1G files that this project
writes, so that values which come straight from such a file survive unchanged; others are rounded to the nearest step.
"""

from collections.abc import Sequence

import numpy as np

from satxlate_jax.instruments import Band

MISSING = 65535
"""The code of a missing value (NaN)."""

# kind -> (step, value of code 0). Both offsets are whole steps. Reflectance begins below 0 because the noise of a
# dark scene goes there: -0.5 to 6.0; brightness temperature is 100 to 755.34 K.
_CODES = {"reflectance": (1e-4, -0.5), "brightness_temperature": (0.01, 100.0)}


def scale_and_offset(bands: Sequence[Band]) -> tuple[np.ndarray, np.ndarray]:
    """The line from codes to values: value = code * scale + offset.

    Args:
      bands: the bands in the order of the channels.

    Returns:
      scale and offset, float64 [band], in each band's unit.
    """
    codes = np.array([_CODES[band.kind] for band in bands], np.float64).reshape(-1, 2)
    return codes[:, 0], codes[:, 1]


def quantize(values: np.ndarray, bands: Sequence[Band]) -> np.ndarray:
    """Physical values to codes, rounded to the nearest step.

    Args:
      values: [..., band] in each band's unit (reflectance 1, brightness temperature K); not finite is missing.
      bands: the bands in the order of the last axis.

    Returns:
      uint16 [..., band]. Values beyond what the codes reach (far outside anything an imager sees) become the
      smallest or the largest code.
    """
    scale, offset = scale_and_offset(bands)
    codes = np.asarray(values, np.float32) - offset.astype(np.float32)
    codes *= (1.0 / scale).astype(np.float32)
    np.rint(codes, out=codes)
    missing = ~np.isfinite(codes)
    np.clip(codes, 0, MISSING - 1, out=codes)
    codes[missing] = MISSING
    return codes.astype(np.uint16)


def dequantize(codes: np.ndarray, bands: Sequence[Band]) -> np.ndarray:
    """Codes to physical values, the inverse of `quantize` to half a step.

    Args:
      codes: uint16 [..., band].
      bands: the bands in the order of the last axis.

    Returns:
      float32 [..., band] in each band's unit; NaN is missing.
    """
    scale, offset = scale_and_offset(bands)
    codes = np.asarray(codes)
    values = codes.astype(np.float32)
    values *= scale.astype(np.float32)
    values += offset.astype(np.float32)
    values[codes == MISSING] = np.nan
    return values
