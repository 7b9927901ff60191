"""A band as its file holds it, integers and the line to physical values, turned into values or into stored codes.

Codes are those of the values, `quantize(to_values(...))`. Where no pixel is resampled a number has one code, so that
a table of all 65,536 numbers, made by that very sentence, says the same in a tenth of the time.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from satxlate_jax.observations.packing import find_missing
from satxlate_jax.observations.quantization import quantize
from satxlate_jax.observations.resampling import Method, resample
from satxlate_jax.observations.satellites import Band

_TABLES = 64  # of 131 kB; an instrument's bands need a few, unless an archive changes its scales all the time


@dataclass(frozen=True)
class BandNumbers:
    """value = number * scale + offset.

    Attributes:
      numbers: uint16 or int16 [n, n].
      scale: Scale_Factor.
      offset: Offset_Constant.
      fill: the file's _FillValue; NaN where it declares none.
    """

    numbers: np.ndarray
    scale: float
    offset: float
    fill: float

    @classmethod
    def of(cls, numbers: np.ndarray, attributes: Mapping[str, Any]) -> "BandNumbers":
        """Numbers with what the file says of them, NaN where it says nothing of use."""
        names = ("Scale_Factor", "Offset_Constant", "_FillValue")
        return cls(numbers, *(_attribute_number(attributes, name) for name in names))

    @property
    def is_usable(self) -> bool:
        """Whether the numbers mean anything."""
        return math.isfinite(self.scale) and self.scale > 0 and math.isfinite(self.offset)


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
    missing = find_missing(band.numbers, band.fill)
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
    table = _code_table(band.numbers.dtype.str, band.scale, band.offset, band.fill, kind)
    return table.take(band.numbers.view(np.uint16))


@lru_cache(maxsize=_TABLES)
def _code_table(dtype: str, scale: float, offset: float, fill: float, kind: Band) -> np.ndarray:
    """uint16 [65536]: the code of each number, by the number's bits."""
    numbers = np.arange(65536, dtype=np.uint16).view(dtype).reshape(256, 256)
    return _quantized(to_values(BandNumbers(numbers, scale, offset, fill), 256, "area"), kind).ravel()


def _quantized(values: np.ndarray, kind: Band) -> np.ndarray:
    return quantize(values[..., None], [kind])[..., 0]
