"""One L1G file -> the patches it gives a data set, or the reason why it gives none."""

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from satxlate_jax.errors import InputError
from satxlate_jax.observations.catalog import TileFile
from satxlate_jax.observations.grid import parse_tile
from satxlate_jax.observations.isolation import Failure, IsolatedCalls
from satxlate_jax.observations.l1g import MissingBandWarning, read_tile
from satxlate_jax.observations.quantization import MISSING, quantize
from satxlate_jax.observations.selection import Selection
from satxlate_jax.observations.statistics import TileCounts, count_tile
from satxlate_jax.observations.tiling import cut_patches, patch_offsets

UNREADABLE = "unreadable"
MISSING_BANDS = "missing bands"
NO_ANGLES = "no solar angles"
NOT_FINITE = "no finite patch"
NIGHT = "night"
# Reasons that mean that something is wrong with the file; the others are what satellites do.
BAD_REASONS = frozenset({UNREADABLE, MISSING_BANDS, NO_ANGLES, "crash", "timeout", "memory"})

HORIZON = 90.0  # solar zenith angle of sunrise and sunset, degrees

Example = dict[str, Any]


@dataclass(frozen=True)
class TileOutcome:
    """What became of one file.

    Attributes:
      file: which.
      patches: uint16 codes [n, patch, patch, band].
      offsets: int [n, 2], row and column of each patch in the tile; None where there are no patches.
      reason: why there are no patches; '' where there are.
      detail: the reason in words.
      dropped_patches: reason -> patches of the file that were left out.
      counts: of the codes, for the statistics; None where the file could not be read.
    """

    file: TileFile
    patches: np.ndarray | None = None
    offsets: np.ndarray | None = None
    reason: str = ""
    detail: str = ""
    dropped_patches: Counter = field(default_factory=Counter)
    counts: TileCounts | None = None

    def __len__(self) -> int:
        return 0 if self.offsets is None else len(self.offsets)

    def without_patches(self) -> "TileOutcome":
        """The same without the images, for counting."""
        return replace(self, patches=None)

    def examples(self) -> Iterator[tuple[str, Example]]:
        """(key, example) pairs; the keys are unique in an archive and say nothing of folders."""
        if not len(self):
            return
        name = self.file.path.name
        h, v = parse_tile(self.file.tile)
        place = {
            "year": self.file.year,
            "dayofyear": self.file.day_of_year,
            "hour": self.file.hour,
            "minute": self.file.time.minute,
            "tile": self.file.tile,
            "h": h,
            "v": v,
            "file_name": name,
        }
        for patch, (row, column) in zip(self.patches, self.offsets.tolist(), strict=True):
            yield f"{name}/{row}/{column}", {"patch": patch, "row": row, "column": column} | place


def tile_outcome(file: TileFile, selection: Selection) -> TileOutcome:
    """Reads a file and cuts it into patches.

    A patch is kept when all selected bands are finite in every pixel (an exact 0 is a value) and, with
    `daylight_only`, when the sun is up over all of it.

    Args:
      file: which file. Reading it may end the process (see `isolation`).
      selection: bands, patch size and rules.

    Returns:
      Patches, or the reason why there are none; a file that cannot be read is such a reason, never an exception.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", MissingBandWarning)
            tile = read_tile(file.path, resampling=selection.resampling, bands=selection.bands)
    except MissingBandWarning as warning:
        return TileOutcome(file, reason=MISSING_BANDS, detail=str(warning))
    except InputError as error:
        return TileOutcome(file, reason=UNREADABLE, detail=str(error))
    if selection.daylight_only and "solar_zenith" not in tile:
        return TileOutcome(file, reason=NO_ANGLES, detail="daylight_only needs Solar_Zenith, which the file lacks")
    return _cut(file, tile, selection)


class TileReader:
    """Reads files in processes of their own, where a crash, a hang or a memory blow-up costs one file.

    A context manager; may be used from several threads.
    """

    def __init__(self, selection: Selection, workers: int | None = None):
        """Prepares; processes start when they are needed.

        Args:
          selection: what to cut from the files.
          workers: processes; default one per CPU.
        """
        self._calls = IsolatedCalls(partial(tile_outcome, selection=selection), workers=workers)

    def read(self, file: TileFile) -> TileOutcome:
        """What became of one file."""
        return _settled(file, self._calls.call(file))

    def read_all(self, files: Iterable[TileFile]) -> Iterator[TileOutcome]:
        """What became of each file, in the order of the files, a few read ahead."""
        for file, answer in self._calls.map(files):
            yield _settled(file, answer)

    def __enter__(self) -> "TileReader":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the processes."""
        self._calls.close()


def _settled(file: TileFile, answer: TileOutcome | Failure) -> TileOutcome:
    if not isinstance(answer, Failure):
        return answer
    reason = UNREADABLE if answer.reason == "error" else answer.reason
    return TileOutcome(file, reason=reason, detail=answer.detail)


def _cut(file: TileFile, tile: xr.Dataset, selection: Selection) -> TileOutcome:
    # One band after the other, each a plane that stays in the cache: a quarter of the time of all bands at once.
    codes = np.stack([quantize(tile[band.name].values[..., None], [band])[..., 0] for band in selection.channels])
    missing = codes == MISSING
    size, offsets = selection.patch_size, patch_offsets(*codes.shape[1:], selection.patch_size, selection.stride)
    finite = ~cut_patches(missing.any(axis=0)[..., None], size, selection.stride).any(axis=(1, 2, 3))
    kept = finite
    dropped = Counter({NOT_FINITE: int((~finite).sum())})
    if selection.daylight_only:
        zenith = cut_patches(tile["solar_zenith"].values[..., None], size, selection.stride)
        sunlit = (zenith < HORIZON).all(axis=(1, 2, 3))
        kept = finite & sunlit
        dropped[NIGHT] = int((finite & ~sunlit).sum())
    dropped = +dropped
    offsets = offsets[kept]
    # [band, n, patch, patch]
    patches = np.empty((len(codes), len(offsets), size, size), codes.dtype)
    for index, (row, column) in enumerate(offsets.tolist()):
        patches[:, index] = codes[:, row : row + size, column : column + size]
    counts = count_tile(patches, codes[0].size - missing.sum(axis=(1, 2)), codes[0].size)
    if not len(offsets):
        reason = NIGHT if NIGHT in dropped else NOT_FINITE
        detail = "the sun is up over no patch" if reason == NIGHT else _fill_detail(counts, selection)
        return TileOutcome(file, reason=reason, detail=detail, dropped_patches=dropped, counts=counts)
    patches = np.ascontiguousarray(np.moveaxis(patches, 0, -1))
    return TileOutcome(file, patches, offsets, dropped_patches=dropped, counts=counts)


def _fill_detail(counts: TileCounts, selection: Selection) -> str:
    bands = [band.name for band, finite in zip(selection.channels, counts.finite, strict=True) if not finite]
    return f"entirely fill: {', '.join(bands)}" if bands else "every patch has a missing value in one of the bands"
