"""Physical units <-> network units: subtract the mean, divide by the standard deviation, band by band."""

import numpy as np


def normalize(values: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Physical to network units, computed in float64 as the release does, then float32.

    Args:
      values: [..., band] in each band's unit (reflectance 1, brightness temperature K); NaN stays NaN.
      mean: [band], same unit.
      std: [band], same unit.

    Returns:
      float32 [..., band], dimensionless.
    """
    return ((np.asarray(values, np.float64) - mean) / std).astype(np.float32)


def denormalize(values: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Network to physical units, the inverse of `normalize`.

    Args:
      values: [..., band], dimensionless.
      mean: [band] in the band's unit.
      std: [band] in the band's unit.

    Returns:
      float64 [..., band] in each band's unit.
    """
    return np.asarray(values, np.float64) * std + mean
