"""From the pixels of a file to the pixels of the grid."""

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
        coordinates = np.arange(size) * (len(values) - 1) / (size - 1)
        return interpolate(values, coordinates, coordinates)
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


def interpolate(values: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Bilinear interpolation on a grid of rows and columns.

    Args:
      values: float64 [height, width], NaN where missing.
      rows: float64 [m] in pixels, 0 at the first pixel's centre and height - 1 at the last one's; outside of these the
        values are extrapolated.
      columns: float64 [n], the same along the width.

    Returns:
      float64 [m, n]; NaN where a pixel that counts is missing.
    """
    return _interpolate_rows(_interpolate_rows(values, rows).T, columns).T


def _interpolate_rows(values: np.ndarray, coordinates: np.ndarray) -> np.ndarray:
    if len(values) == 1:
        return np.repeat(values, len(coordinates), axis=0)
    lower = np.clip(np.floor(coordinates).astype(int), 0, len(values) - 2)
    fraction = (coordinates - lower)[:, None]
    first, second = values[lower], values[lower + 1]
    mixed = first * (1 - fraction) + second * fraction
    # 0 * NaN is NaN, but a pixel of no weight does not count.
    return np.where(fraction == 0, first, np.where(fraction == 1, second, mixed))


def resample_angle(degrees: np.ndarray, size: int, *, is_circular: bool) -> np.ndarray:
    """A smooth field of angles, given by the centres of its pixels, at the centres of another number of pixels.

    Args:
      degrees: float64 [height, width], NaN where missing.
      size: pixels along a side of the result.
      is_circular: whether 359 and 1 degrees are neighbours (an azimuth).

    Returns:
      float32 [size, size]; in [0, 360) where circular.
    """
    rows, columns = ((np.arange(size) + 0.5) * (n / size) - 0.5 for n in degrees.shape)
    if is_circular:
        if degrees.shape != (size, size):
            sine, cosine = (interpolate(part(np.radians(degrees)), rows, columns) for part in (np.sin, np.cos))
            degrees = np.degrees(np.arctan2(sine, cosine))
        degrees = np.mod(degrees, 360).astype(np.float32)
        return np.where(degrees == 360, np.float32(0), degrees)  # float32 has no 359.99999
    return interpolate(degrees, rows, columns).astype(np.float32)
