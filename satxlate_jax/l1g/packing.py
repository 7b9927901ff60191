"""Packed 16-bit values <-> physical values, of L1G files, data sets and netCDF; which of them are missing.

An L1G file's band is value = counts * Scale_Factor + Offset_Constant, with a fill value that may be declared wrongly.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from satxlate_jax.instruments import Band
from satxlate_jax.l1g.resampling import Method, resample

PACKING: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "l1g": {"1": (1e-4, 0.0), "K": (0.01, 100.0)},
    "dataset": {"1": (1e-4, -0.5), "K": (0.01, 100.0)},
    "netcdf": {"1": (1e-4, 0.0), "K": (0.01, 273.15), "bit": (0.1, 0.0)},
}
"""The packings that this project writes: format -> unit -> (scale, offset), value = packed value * scale + offset.

L1G is this project's choice: what GeoNEX writes for temperatures is in no public source (readers of genuine files hint
at an offset of 0); reading takes any. Data sets (uint16) reach from -0.5, because the noise of a dark scene goes below
0, to 6.05, and from 100 to 755.34 K; netCDF files (int16) from -3.27 to 3.27, from -54 to 600 K and to 3276 bits. All
offsets are whole steps.
"""

FILL = 32768  # of uint16 in L1G files; int16 files hold the same bits, -32768
ANGLE_STEP = 0.01  # degrees, of the solar angles
POSSIBLE_KELVIN = (120.0, 450.0)
"""Brightness temperatures beyond these are no observation: files hold 0 K where a band was bad."""


@dataclass(frozen=True)
class PackedBand:
    """A band as its file holds it."""

    counts: np.ndarray  # uint16 or int16 [n, n]
    scale: float  # Scale_Factor; NaN, like the next two, where the file declares none of use
    offset: float  # Offset_Constant
    fill: float  # _FillValue
    possible: tuple[float, float] | None  # smallest and largest value that can be; None where every one can

    @classmethod
    def of(cls, counts: np.ndarray, attributes: Mapping[str, Any], band: Band, resampling: Method) -> "PackedBand":
        """Counts with what the file says of them; bilinear repeats the release, which sets no upper limit."""
        found = []
        for name in ("Scale_Factor", "Offset_Constant", "_FillValue"):
            value = attributes.get(name)
            value = value[0] if isinstance(value, list | tuple) and value else value
            found.append(float(value) if isinstance(value, int | float) else math.nan)
        low, high = POSSIBLE_KELVIN
        possible = (low, math.inf if resampling == "bilinear" else high) if band.unit == "K" else None
        scale, offset, fill = found
        return cls(counts, scale, offset, fill, possible)

    @property
    def is_usable(self) -> bool:
        """True where scale and offset mean anything."""
        return math.isfinite(self.scale) and self.scale > 0 and math.isfinite(self.offset)

    @property
    def impossible_pixels(self) -> int:
        """Counts that are impossible values and not fill."""
        return int(np.count_nonzero(self._impossible > self._fill)) if self.possible else 0

    @cached_property
    def _fill(self) -> np.ndarray:
        return find_fill(self.counts, self.fill)

    @cached_property
    def _impossible(self) -> np.ndarray:
        assert self.possible is not None
        # a limit itself can be, also where its count is not whole; whole limits compare three times faster than others
        low, high = ((limit - self.offset) / self.scale for limit in self.possible)
        impossible = self.counts < math.ceil(low - 1e-6)
        return impossible | (self.counts > math.floor(high + 1e-6)) if math.isfinite(high) else impossible

    def values(self, size: int, method: Method) -> np.ndarray:
        """Physical values on a grid of `size` pixels a side: float32 [size, size], NaN where missing."""
        missing = self._fill | self._impossible if self.possible else self._fill
        values = resample(self.counts, missing, size, method)
        values *= self.scale
        values += self.offset
        return values.astype(np.float32, copy=False)


def fill_value(dtype: np.dtype) -> int:
    """The fill value of uint16 or int16 data."""
    return FILL if dtype == np.uint16 else -FILL


def find_fill(counts: np.ndarray, declared: float = np.nan) -> np.ndarray:
    """Counts that are the product's fill value or the declared one, bool."""
    fill = fill_value(counts.dtype)
    missing = counts == fill
    if declared.is_integer() and declared != fill:
        missing |= counts == int(declared)
    return missing


def pack_band(values: np.ndarray, unit: str, dtype: np.dtype) -> np.ndarray:
    """Physical values, not finite where missing, to an L1G file's counts by `PACKING`.

    What `dtype` (uint16 or int16) cannot hold becomes the nearest it can (a reflectance below 0 in uint16).
    """
    scale, offset = PACKING["l1g"][unit]
    counts = np.rint((values.astype(np.float64) - offset) / scale)
    missing = ~np.isfinite(counts)
    if dtype == np.uint16:
        counts = np.clip(counts, 0, 65535)
        counts[counts == FILL] = FILL - 1  # 3.2768 or 427.68 K, which would read as missing
    else:
        counts = np.clip(counts, 1 - FILL, FILL - 1)
    counts[missing] = fill_value(dtype)
    return counts.astype(dtype)


def pack_angle(degrees: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Degrees, not finite where missing, to a file's counts."""
    counts = np.rint(degrees.astype(np.float64) / ANGLE_STEP)
    return np.where(np.isfinite(counts), counts, fill_value(dtype)).astype(dtype)


def unpack_angle(counts: np.ndarray) -> np.ndarray:
    """A file's counts to degrees, float64, NaN where missing."""
    return np.where(find_fill(counts), np.nan, counts * ANGLE_STEP)
