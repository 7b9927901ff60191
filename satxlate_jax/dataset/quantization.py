"""Physical values -> the uint16 packed values of prepared data sets, at half the bytes of float32.

A step is 0.01 K or 1e-4 reflectance (`packing.PACKING`), as in the L1G files that this project writes, so that values
which come straight from such a file survive unchanged; others are rounded to the nearest step.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from satxlate_jax.instruments import Band
from satxlate_jax.l1g.packing import PACKING, PackedBand
from satxlate_jax.l1g.resampling import Method

MISSING = 65535
"""The packed value that stands for a missing one (NaN)."""

_TABLES = 64  # of 131 kB; an instrument's bands need a few, unless an archive changes its scales all the time


def scale_and_offset(bands: Sequence[Band]) -> tuple[np.ndarray, np.ndarray]:
    """Scale and offset of each band, float64 [band], in its unit: value = packed value * scale + offset."""
    packing = np.array([PACKING["dataset"][band.unit] for band in bands], np.float64).reshape(-1, 2)
    return packing[:, 0], packing[:, 1]


def quantize(values: np.ndarray, bands: Sequence[Band]) -> np.ndarray:
    """Packs physical values, rounded to the nearest step.

    Args:
      values: [..., band] in each band's unit (reflectance 1, brightness temperature K); not finite is missing.
      bands: the bands in the order of the last axis.

    Returns:
      uint16 [..., band]. Values beyond what uint16 reaches (far outside anything an imager sees) become the smallest
      or the largest.
    """
    scale, offset = scale_and_offset(bands)
    packed = np.asarray(values, np.float32) - offset.astype(np.float32)
    packed *= (1.0 / scale).astype(np.float32)
    np.rint(packed, out=packed)
    missing = ~np.isfinite(packed)
    np.clip(packed, 0, MISSING - 1, out=packed)
    packed[missing] = MISSING
    return packed.astype(np.uint16)


def quantize_band(band: PackedBand, kind: Band, size: int, resampling: Method) -> np.ndarray:
    """The same of a file's band: `quantize` of its values on a grid of `size` pixels a side, uint16 [size, size].

    Where no pixel is resampled, a table of all 65,536 counts says the same in a tenth of the time.
    """
    if len(band.counts) != size:
        return quantize(band.values(size, resampling)[..., None], [kind])[..., 0]
    table = _table(band.counts.dtype.str, band.scale, band.offset, band.fill, band.possible, kind)
    return table.take(band.counts.view(np.uint16))


@lru_cache(maxsize=_TABLES)
def _table(
    dtype: str, scale: float, offset: float, fill: float, possible: tuple[float, float] | None, kind: Band
) -> np.ndarray:
    """uint16 [65536]: the packed value of each count, by the count's bits."""
    counts = np.arange(65536, dtype=np.uint16).view(dtype).reshape(256, 256)
    return quantize(PackedBand(counts, scale, offset, fill, possible).values(256, "area")[..., None], [kind]).ravel()
