"""The 16-bit integers of an L1G file <-> physical values, and which of them are fill or cannot be."""

import math
from typing import NamedTuple

import numpy as np

from satxlate_jax.instruments import Band
from satxlate_jax.l1g.resampling import Method

FILL = 32768  # of uint16; int16 files hold the same bits, -32768
DEGREES_PER_NUMBER = 0.01  # of the solar angles
# Scale_Factor and Offset_Constant that this project writes, by kind of band: its own choice. What GeoNEX writes for
# temperatures is in no public source (readers of genuine files hint at an offset of 0); reading takes any.
PACKING = {"reflectance": (0.0001, 0.0), "brightness_temperature": (0.01, 100.0)}
POSSIBLE_KELVIN = (120.0, 450.0)
"""Brightness temperatures beyond these are no observation: files hold 0 K where a band was bad."""


class Possible(NamedTuple):
    """The smallest and the largest value that a band can have, in its unit."""

    low: float
    high: float


def fill_number(dtype: np.dtype) -> int:
    """The fill value of uint16 or int16 data."""
    return FILL if dtype == np.uint16 else -FILL


def find_missing(numbers: np.ndarray, declared: float = np.nan) -> np.ndarray | None:
    """Which numbers are fill: the product's value and the one the file declares, which may be wrong.

    Args:
      numbers: uint16 or int16.
      declared: `_FillValue`; what the type cannot hold is of no account.

    Returns:
      bool of the same shape, or None where nothing is missing.
    """
    fill = fill_number(numbers.dtype)
    missing = numbers == fill
    limits = np.iinfo(numbers.dtype)
    if float(declared).is_integer() and limits.min <= declared <= limits.max and declared != fill:
        missing |= numbers == int(declared)
    return missing if missing.any() else None


def possible_range(band: Band, method: Method) -> Possible | None:
    """The values that a band can have, in its unit; None where every value can be.

    Args:
      band: which.
      method: of resampling; 'bilinear' repeats the release's numbers, which are not limited upward.
    """
    if band.kind != "brightness_temperature":
        return None
    low, high = POSSIBLE_KELVIN
    return Possible(low, math.inf if method == "bilinear" else high)


def find_impossible(numbers: np.ndarray, scale: float, offset: float, possible: Possible | None) -> np.ndarray | None:
    """Which numbers stand for values that cannot be; fill may be among them.

    Args:
      numbers: uint16 or int16.
      scale: Scale_Factor.
      offset: Offset_Constant.
      possible: as `possible_range` gives it.

    Returns:
      bool of the same shape, or None where there are none.
    """
    if possible is None:
        return None
    low, high = ((limit - offset) / scale for limit in possible)
    impossible = numbers < math.ceil(low - 1e-6)  # a limit itself can be, also where its number is not quite whole
    if math.isfinite(high):
        impossible |= numbers > math.floor(high + 1e-6)
    return impossible if impossible.any() else None


def pack_band(values: np.ndarray, band: Band, dtype: np.dtype) -> np.ndarray:
    """Physical values to a file's numbers by `PACKING`.

    Args:
      values: in the band's unit; not finite is missing.
      band: which band they are of.
      dtype: uint16 or int16.

    Returns:
      dtype of the same shape. What the type cannot hold becomes the nearest it can (a reflectance below 0 in uint16).
    """
    scale, offset = PACKING[band.kind]
    numbers = np.rint((values.astype(np.float64) - offset) / scale)
    missing = ~np.isfinite(numbers)
    if dtype == np.uint16:
        numbers = np.clip(numbers, 0, 65535)
        numbers[numbers == FILL] = FILL - 1  # 3.2768 or 427.68 K, which would read as missing
    else:
        numbers = np.clip(numbers, 1 - FILL, FILL - 1)
    numbers[missing] = fill_number(dtype)
    return numbers.astype(dtype)


def pack_angle(degrees: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Degrees to a file's numbers; not finite is missing."""
    numbers = np.rint(degrees.astype(np.float64) / DEGREES_PER_NUMBER)
    return np.where(np.isfinite(numbers), numbers, fill_number(dtype)).astype(dtype)


def unpack_angle(numbers: np.ndarray) -> np.ndarray:
    """A file's numbers to degrees, float64; NaN is missing."""
    degrees = numbers * DEGREES_PER_NUMBER
    missing = find_missing(numbers)
    if missing is not None:
        degrees[missing] = np.nan
    return degrees
