"""A band as its file holds it, integers and the line to physical values, turned into values or into stored codes.

Codes are those of the values, `quantize(to_values(...))`. Where no pixel is resampled a number has one code, so that
a table of all 65,536 numbers, made by that very sentence, says the same in a tenth of the time.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from satxlate_jax.instruments import Band
from satxlate_jax.l1g.packing import Possible, find_impossible, find_missing
from satxlate_jax.l1g.quantization import quantize
from satxlate_jax.l1g.resampling import Method, resample

_TABLES = 64  # of 131 kB; an instrument's bands need a few, unless an archive changes its scales all the time


@dataclass(frozen=True)
class BandNumbers:
    """value = number * scale + offset.

    Attributes:
      numbers: uint16 or int16 [n, n].
      scale: Scale_Factor.
      offset: Offset_Constant.
      fill: the file's _FillValue; NaN where it declares none.
      possible: the smallest and the largest value that can be, in the band's unit; None where every one can.
    """

    numbers: np.ndarray
    scale: float
    offset: float
    fill: float
    possible: Possible | None

    @classmethod
    def of(cls, numbers: np.ndarray, attributes: Mapping[str, Any], possible: Possible | None) -> "BandNumbers":
        """Numbers with what the file says of them, NaN where it says nothing of use."""
        names = ("Scale_Factor", "Offset_Constant", "_FillValue")
        scale, offset, fill = (_attribute_number(attributes, name) for name in names)
        return cls(numbers, scale, offset, fill, possible)

    @property
    def is_usable(self) -> bool:
        """Whether the numbers mean anything."""
        return math.isfinite(self.scale) and self.scale > 0 and math.isfinite(self.offset)

    @property
    def missing(self) -> np.ndarray | None:
        """Which numbers are fill or values that cannot be; None where there are none."""
        fill, impossible = self._fill, self._impossible
        return impossible if fill is None else fill if impossible is None else fill | impossible

    @property
    def impossible_pixels(self) -> int:
        """How many numbers are not fill but values that cannot be."""
        fill, impossible = self._fill, self._impossible
        if impossible is None:
            return 0
        return int(np.count_nonzero(impossible if fill is None else impossible & ~fill))

    @cached_property
    def _fill(self) -> np.ndarray | None:
        return find_missing(self.numbers, self.fill)

    @cached_property
    def _impossible(self) -> np.ndarray | None:
        return find_impossible(self.numbers, self.scale, self.offset, self.possible)


def _attribute_number(attributes: Mapping[str, Any], name: str) -> float:
    value = attributes.get(name)
    value = value[0] if isinstance(value, list | tuple) and value else value
    return float(value) if isinstance(value, int | float) else math.nan


def to_values(band: BandNumbers, size: int, method: Method) -> np.ndarray:
    """Physical values on the grid.

    Args:
      band: what the file holds.
      size: pixels along a side of the grid.
      method: of resampling.

    Returns:
      float32 [size, size], NaN where missing.
    """
    missing = band.missing
    if missing is not None and missing.all():
        return np.full((size, size), np.nan, np.float32)
    values = resample(band.numbers, missing, size, method)
    values *= band.scale
    values += band.offset
    return values.astype(np.float32, copy=False)


def to_codes(band: BandNumbers, kind: Band, size: int, method: Method) -> np.ndarray:
    """The codes that a data set stores for the values of `to_values`.

    Args:
      band: what the file holds.
      kind: which band it is.
      size: pixels along a side of the grid.
      method: of resampling.

    Returns:
      uint16 [size, size].
    """
    if len(band.numbers) != size:
        return _quantized(to_values(band, size, method), kind)
    table = _code_table(band.numbers.dtype.str, band.scale, band.offset, band.fill, band.possible, kind)
    return table.take(band.numbers.view(np.uint16))


@lru_cache(maxsize=_TABLES)
def _code_table(
    dtype: str, scale: float, offset: float, fill: float, possible: Possible | None, kind: Band
) -> np.ndarray:
    """uint16 [65536]: the code of each number, by the number's bits."""
    numbers = np.arange(65536, dtype=np.uint16).view(dtype).reshape(256, 256)
    return _quantized(to_values(BandNumbers(numbers, scale, offset, fill, possible), 256, "area"), kind).ravel()


def _quantized(values: np.ndarray, kind: Band) -> np.ndarray:
    return quantize(values[..., None], [kind])[..., 0]
