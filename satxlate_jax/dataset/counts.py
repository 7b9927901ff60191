"""One L1G file -> the codes that a data set stores of it."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from satxlate_jax import geometry
from satxlate_jax.l1g.bands import to_codes
from satxlate_jax.l1g.faults import MissingBandError, find_absent
from satxlate_jax.l1g.reader import read_arrays
from satxlate_jax.l1g.resampling import Method
from satxlate_jax.l1g.tile import ANGLES


def read_codes(
    path: str | os.PathLike, bands: Iterable[int], *, resampling: Method = "area", with_zenith: bool = False
) -> tuple[np.ndarray, np.ndarray | None, list[str], dict[str, int]]:
    """Reads bands of one L1G file onto the 2 km grid: the codes of what `read_tile` reads, in less time.

    Args:
      path: of the file.
      bands: 1-based numbers of those to read, in the order of the result.
      resampling: as for `read_tile`.
      with_zenith: whether to read the solar zenith angle; otherwise it is only looked at, as the azimuth always is.

    Returns:
      uint16 codes [band, 300, 300] (see `quantization`); the solar zenith angle in degrees, float32 [300, 300], or
      None where the file lacks it or it is not asked for; what is wrong with angles that were only looked at; and name
      of each thermal band -> pixels whose temperature cannot be, which are missing.

    Raises:
      MissingBandError: the file lacks a band.
      L1GError: the file cannot be read, or is something else.
    """
    path, size = Path(path), geometry.pixels_of(2.0)
    angles = ("solar_zenith",) if with_zenith else ()
    read = read_arrays(
        path,
        tuple(bands),
        size,
        angles,
        lambda numbers, band: to_codes(numbers, band, size, resampling),
        resampling,
        needless=[name for name in ANGLES if name not in angles],
    )
    absent = find_absent(path, read.bands, read.arrays)
    if absent:
        raise MissingBandError(absent)
    codes = np.stack([read.arrays[band.name] for band in read.bands])
    return codes, read.arrays.get("solar_zenith"), read.faults, read.impossible
