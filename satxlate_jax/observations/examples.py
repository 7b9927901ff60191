"""One L1G file -> the examples it gives a data set, or the reason why it gives none."""

import warnings
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from satxlate_jax.errors import InputError
from satxlate_jax.observations.catalog import TileFile
from satxlate_jax.observations.grid import parse_tile
from satxlate_jax.observations.l1g import MissingBandWarning, read_tile
from satxlate_jax.observations.quantization import MISSING, quantize
from satxlate_jax.observations.selection import Selection
from satxlate_jax.observations.tiling import cut_patches, patch_offsets

UNREADABLE = "unreadable"
MISSING_BANDS = "missing bands"
NO_ANGLES = "no solar angles"
NOT_FINITE = "no finite patch"
NIGHT = "night"
# Reasons that mean that something is wrong with the file; the others are what satellites do.
BAD_REASONS = frozenset({UNREADABLE, MISSING_BANDS, NO_ANGLES})

HORIZON = 90.0  # solar zenith angle of sunrise and sunset, degrees

Example = dict[str, Any]


@dataclass(frozen=True)
class TileOutcome:
    """What became of one file.

    Attributes:
      file: its path.
      examples: (key, example) pairs; the keys are unique in an archive and say nothing of folders.
      reason: why there are no examples; '' where there are.
      detail: the reason in words.
      dropped_patches: reason -> patches of the file that were left out.
    """

    file: str
    examples: list[tuple[str, Example]] = field(default_factory=list)
    reason: str = ""
    detail: str = ""
    dropped_patches: Counter = field(default_factory=Counter)


def tile_outcome(file: TileFile, selection: Selection) -> TileOutcome:
    """Reads a file and cuts it into examples.

    A patch is kept when all selected bands are finite in every pixel (an exact 0 is a value) and, with
    `daylight_only`, when the sun is up over all of it.

    Args:
      file: which file.
      selection: bands, patch size and rules.

    Returns:
      Examples, or the reason why there are none; a file that cannot be read is such a reason, never an exception.
    """
    path = str(file.path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", MissingBandWarning)
            tile = read_tile(file.path, resampling=selection.resampling, bands=selection.bands)
    except MissingBandWarning as warning:
        return TileOutcome(path, reason=MISSING_BANDS, detail=str(warning))
    except InputError as error:
        return TileOutcome(path, reason=UNREADABLE, detail=str(error))
    except Exception as error:  # one strange file among millions must not end a build of days
        return TileOutcome(path, reason=UNREADABLE, detail=f"{type(error).__name__}: {error}")
    if selection.daylight_only and "solar_zenith" not in tile:
        return TileOutcome(path, reason=NO_ANGLES, detail="daylight_only needs Solar_Zenith, which the file lacks")
    return _cut(file, tile, selection)


def _cut(file: TileFile, tile: xr.Dataset, selection: Selection) -> TileOutcome:
    values = np.stack([tile[band.name].values for band in selection.channels], axis=-1)
    size, stride = selection.patch_size, selection.stride
    patches = cut_patches(quantize(values, selection.channels), size, stride)
    finite = (patches != MISSING).all(axis=(1, 2, 3))
    kept = finite
    dropped = Counter({NOT_FINITE: int((~finite).sum())})
    if selection.daylight_only:
        zenith = cut_patches(tile["solar_zenith"].values[..., None], size, stride)
        sunlit = (zenith < HORIZON).all(axis=(1, 2, 3))
        kept = finite & sunlit
        dropped[NIGHT] = int((finite & ~sunlit).sum())
    dropped = +dropped
    path = str(file.path)
    if not kept.any():
        if NIGHT in dropped:
            return TileOutcome(path, reason=NIGHT, detail="the sun is up over no patch", dropped_patches=dropped)
        return TileOutcome(path, reason=NOT_FINITE, detail=_fill_detail(values, selection), dropped_patches=dropped)
    offsets = patch_offsets(*values.shape[:2], size, stride)
    examples = [
        _example(file, patches[index], int(offsets[index, 0]), int(offsets[index, 1])) for index in np.flatnonzero(kept)
    ]
    return TileOutcome(path, examples, dropped_patches=dropped)


def _fill_detail(values: np.ndarray, selection: Selection) -> str:
    empty = ~np.isfinite(values).any(axis=(0, 1))
    bands = [band.name for band, is_empty in zip(selection.channels, empty, strict=True) if is_empty]
    return f"entirely fill: {', '.join(bands)}" if bands else "every patch has a missing value in one of the bands"


def _example(file: TileFile, patch: np.ndarray, row: int, column: int) -> tuple[str, Example]:
    h, v = parse_tile(file.tile)
    example = {
        "patch": patch,
        "year": file.year,
        "dayofyear": file.day_of_year,
        "hour": file.hour,
        "minute": file.time.minute,
        "tile": file.tile,
        "h": h,
        "v": v,
        "row": row,
        "column": column,
        "file_name": file.path.name,
    }
    return f"{file.path.name}/{row}/{column}", example
