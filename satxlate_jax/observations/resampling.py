"""One tile's band from the pixels of its file to the pixels of the grid."""

from typing import Literal

import numpy as np

Method = Literal["area", "bilinear"]
METHODS = ("area", "bilinear")


def resample(numbers: np.ndarray, missing: np.ndarray | None, size: int, method: Method) -> np.ndarray:
    """Resamples a square band.

    Args:
      numbers: [n, n] integers of 16 bits.
      missing: bool [n, n], what not to use; None where all is valid.
      size: pixels along a side of the result; n must be a multiple of it, or it of n.
      method: 'area', the mean over the valid pixels of each new pixel's area (a copy of the pixel where the new ones
        are smaller); or 'bilinear' between the four nearest with the corners' centres aligned, where a missing
        neighbour makes the result missing. The latter aliases; it is the release's.

    Returns:
      float32 (area) or float64 (bilinear) [size, size], NaN where missing.
    """
    if method == "bilinear" and len(numbers) != size:
        values = numbers.astype(np.float64)
        if missing is not None:
            values[missing] = np.nan
        return interpolate(values, np.arange(size) * (len(values) - 1) / (size - 1))
    if len(numbers) > size:
        return _area_mean(numbers, missing, size)
    values = numbers.astype(np.float32)
    if missing is not None:
        values[missing] = np.nan
    copies = size // len(values)
    return values if copies == 1 else values.repeat(copies, axis=0).repeat(copies, axis=1)


def _area_mean(numbers: np.ndarray, missing: np.ndarray | None, size: int) -> np.ndarray:
    factor = len(numbers) // size
    if missing is None:
        return _block_sum(numbers, factor) * np.float32(1 / factor**2)
    count = _block_sum(~missing, factor)
    total = _block_sum(np.where(missing, numbers.dtype.type(0), numbers), factor)
    mean = np.full((size, size), np.nan, np.float32)
    return np.divide(total, count, out=mean, where=count > 0)


def _block_sum(values: np.ndarray, factor: int) -> np.ndarray:
    # Rows first: they lie together in memory. Sums of 16 numbers of 16 bits are exact in float32.
    rows = values[0::factor].astype(np.float32)
    for row in range(1, factor):
        rows += values[row::factor]
    total = rows[:, 0::factor].copy()
    for column in range(1, factor):
        total += rows[:, column::factor]
    return total


def interpolate(values: np.ndarray, coordinates: np.ndarray) -> np.ndarray:
    """Bilinear interpolation of a square array at the same coordinates along both axes.

    Args:
      values: float64 [n, n], NaN where missing.
      coordinates: float64 [m] in pixels, 0 at the first pixel's centre and n - 1 at the last one's; outside of these
        the values are extrapolated.

    Returns:
      float64 [m, m]; NaN where a pixel that counts is missing.
    """
    if len(values) == 1:
        return np.full((len(coordinates), len(coordinates)), values[0, 0])
    lower = np.clip(np.floor(coordinates).astype(int), 0, len(values) - 2)
    fraction = coordinates - lower
    rows = _mix(values[lower], values[lower + 1], fraction[:, None])
    return _mix(rows[:, lower], rows[:, lower + 1], fraction)


def _mix(first: np.ndarray, second: np.ndarray, fraction: np.ndarray) -> np.ndarray:
    mixed = first * (1 - fraction) + second * fraction
    # 0 * NaN is NaN, but a pixel of no weight does not count.
    return np.where(fraction == 0, first, np.where(fraction == 1, second, mixed))


def centre_coordinates(n: int, size: int) -> np.ndarray:
    """Where the centres of `size` pixels lie among those of n pixels that cover the same tile, float64 [size]."""
    return (np.arange(size) + 0.5) * (n / size) - 0.5
