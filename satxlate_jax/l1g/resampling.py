"""Resample a file's pixels to the grid."""

from typing import Literal, get_args

import numpy as np

Method = Literal["area", "bilinear"]
METHODS: tuple[str, ...] = get_args(Method)


def resample(counts: np.ndarray, missing: np.ndarray, size: int, method: Method) -> np.ndarray:
    """Resamples a square band, integers of 16 bits [n, n], to float32 (area) or float64 (bilinear) [size, size].

    `missing`, bool [n, n], are pixels not to use, which become NaN; n must be a multiple of size, or it of n.
    'area' is the mean over the valid pixels of each new pixel's area (a copy of the pixel where the new ones are
    smaller); 'bilinear' is between the four nearest with the corners' centres aligned, where a missing neighbour makes
    the result missing. The latter aliases; it is the release's.
    """
    if len(counts) > size and method == "area":
        return _area_mean(counts, missing, size)
    is_interpolated = method == "bilinear" and len(counts) != size
    values = counts.astype(np.float64 if is_interpolated else np.float32)
    if missing.any():
        values[missing] = np.nan
    if is_interpolated:
        coordinates = np.arange(size) * (len(values) - 1) / (size - 1)
        return _interpolate(values, coordinates, coordinates)
    copies = size // len(values)
    return values if copies == 1 else values.repeat(copies, axis=0).repeat(copies, axis=1)


def _area_mean(counts: np.ndarray, missing: np.ndarray, size: int) -> np.ndarray:
    factor = len(counts) // size
    if not missing.any():
        return _block_sum(counts, factor) * np.float32(1 / factor**2)
    number = _block_sum(~missing, factor)
    total = _block_sum(np.where(missing, counts.dtype.type(0), counts), factor)
    return np.divide(total, number, out=np.full((size, size), np.nan, np.float32), where=number > 0)


def _block_sum(values: np.ndarray, factor: int) -> np.ndarray:
    # Rows first: they lie together in memory. Sums of 16 numbers of 16 bits are exact in float32.
    rows = values[0::factor].astype(np.float32)
    for row in range(1, factor):
        rows += values[row::factor]
    total = rows[:, 0::factor].copy()
    for column in range(1, factor):
        total += rows[:, column::factor]
    return total


def _interpolate(values: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Bilinear interpolation at rows [m] and columns [n] in pixels; extrapolates beyond the outermost centres."""
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
    """A smooth field of angles, degrees at the centres of pixels, at the centres of other pixels, float32 [size, size].

    `degrees` are float64 [height, width], NaN where missing; `is_circular` says that 359 and 1 degrees are neighbours.
    """
    rows, columns = ((np.arange(size) + 0.5) * (n / size) - 0.5 for n in degrees.shape)
    if not is_circular:
        return _interpolate(degrees, rows, columns).astype(np.float32)
    if degrees.shape != (size, size):
        sine, cosine = (_interpolate(part(np.radians(degrees)), rows, columns) for part in (np.sin, np.cos))
        degrees = np.degrees(np.arctan2(sine, cosine))
    degrees = np.mod(degrees, 360).astype(np.float32)
    return np.where(degrees == 360, np.float32(0), degrees)  # float32 has no 359.99999
