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


def change_of_units(
    mean: np.ndarray, std: np.ndarray, other_mean: np.ndarray, other_std: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The map between two normalisations of the same bands.

    Args:
      mean: [band] of the first, in the band's unit.
      std: [band] of the first, same unit.
      other_mean: [band] of the second, same unit.
      other_std: [band] of the second, same unit.

    Returns:
      slope and offset [band]: x of the first is x * slope + offset of the second.
    """
    return std / other_std, (mean - other_mean) / other_std
