"""One L1G file -> the patches it gives a data set, or the reason why it gives none."""

import pickle
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from satxlate_jax.archive.catalog import TileFile
from satxlate_jax.cli import InputError
from satxlate_jax.dataset.counts import read_codes
from satxlate_jax.dataset.patches import cut_patches, patch_offsets
from satxlate_jax.dataset.records import serialize_patches
from satxlate_jax.dataset.selection import Selection
from satxlate_jax.dataset.statistics import TileCounts, count_tile
from satxlate_jax.geometry import parse_tile
from satxlate_jax.l1g.faults import MissingBandError
from satxlate_jax.l1g.isolation import Failure, IsolatedCalls
from satxlate_jax.l1g.quantization import MISSING

UNREADABLE = "unreadable"
MISSING_BANDS = "missing bands"
NO_ANGLES = "no solar angles"
DAMAGED_ANGLES = "damaged solar angles"
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
      codes: uint16 [h, w, band], the whole tile: patches overlap, and cutting them is cheap; None where there are no
        patches, or where they were left out.
      offsets: int [n, 2], row and column of each patch in the tile; None where there are no patches.
      patch_size: pixels along a side of a patch.
      reason: why there are no patches; '' where there are.
      detail: the reason in words.
      fault: what is wrong with a part of the file that was not needed, in words; '' where nothing is.
      impossible: name of a band -> pixels that are missing because their temperature cannot be (`packing`).
      dropped_patches: reason -> patches of the file that were left out.
      counts: of the codes, for the statistics; None where the file could not be read.
      records: the examples as serialised tf.train.Example, where they were asked for; None otherwise.
    """

    file: TileFile
    codes: Any = None
    offsets: Any = None
    patch_size: int = 0
    reason: str = ""
    detail: str = ""
    fault: str = ""
    impossible: Counter = field(default_factory=Counter)
    dropped_patches: Counter = field(default_factory=Counter)
    counts: TileCounts | None = None
    records: list[pickle.PickleBuffer] | list[bytes] | None = None

    def __len__(self) -> int:
        return 0 if self.offsets is None else len(self.offsets)

    def without_patches(self) -> "TileOutcome":
        """The same without the images, for counting."""
        return replace(self, codes=None)

    @property
    def patches(self) -> np.ndarray:
        """uint16 codes [n, patch, patch, band]."""
        return np.stack([self._patch(row, column) for row, column in self.offsets.tolist()])

    def _patch(self, row: int, column: int) -> np.ndarray:
        return self.codes[row : row + self.patch_size, column : column + self.patch_size]

    def examples(self) -> Iterator[tuple[str, Example]]:
        """(key, example) pairs. Patches are views."""
        if len(self):
            place = self._place()
            for key, (row, column) in zip(self.keys(), self.offsets.tolist(), strict=True):
                yield key, {"patch": self._patch(row, column), "row": row, "column": column} | place

    def keys(self) -> list[str]:
        """Of the examples; they are unique in an archive and say nothing of folders."""
        return [f"{self.file.path.name}/{row}/{column}" for row, column in self.offsets.tolist()] if len(self) else []

    def serialized(self) -> "TileOutcome":
        """The same with records instead of codes; another process receives each of them as `bytes`."""
        if not len(self):
            return self
        records = serialize_patches(self.codes, self.offsets.tolist(), self.patch_size, self._place())
        return replace(self, codes=None, records=[pickle.PickleBuffer(record) for record in records])

    def _place(self) -> dict[str, int | str]:
        """What all examples of the file have in common."""
        h, v = parse_tile(self.file.tile)
        return {
            "year": self.file.year,
            "dayofyear": self.file.day_of_year,
            "hour": self.file.hour,
            "minute": self.file.time.minute,
            "tile": self.file.tile,
            "h": h,
            "v": v,
            "file_name": self.file.path.name,
        }


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
        codes, zenith, faults, impossible = read_codes(
            file.path, selection.bands, resampling=selection.resampling, with_zenith=selection.daylight_only
        )
    except MissingBandError as error:
        return TileOutcome(file, reason=MISSING_BANDS, detail=str(error))
    except InputError as error:
        return TileOutcome(file, reason=UNREADABLE, detail=str(error))
    if selection.daylight_only and zenith is None:
        return TileOutcome(file, reason=NO_ANGLES, detail="daylight_only needs Solar_Zenith, which the file lacks")
    return replace(_cut(file, codes, zenith, selection), fault="; ".join(faults), impossible=+Counter(impossible))


def serialized_outcome(file: TileFile, selection: Selection) -> TileOutcome:
    """As `tile_outcome`, with records instead of codes."""
    return tile_outcome(file, selection).serialized()


class TileReader:
    """Reads files in processes of their own, where a crash, a hang or a memory blow-up costs one file.

    A context manager; may be used from several threads.
    """

    def __init__(self, selection: Selection, workers: int | None = None, *, serialized: bool = False):
        """Prepares; processes start when they are needed.

        Args:
          selection: what to cut from the files.
          workers: processes; default one per CPU.
          serialized: whether to give records instead of codes (see `TileOutcome`), which spares who writes them.
        """
        read = serialized_outcome if serialized else tile_outcome
        self._calls = IsolatedCalls(partial(read, selection=selection), workers=workers)

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


def _cut(file: TileFile, codes: np.ndarray, zenith: np.ndarray | None, selection: Selection) -> TileOutcome:
    """What of a tile's codes [band, h, w] is kept."""
    size, pixels = selection.patch_size, codes[0].size
    height, width = codes.shape[1:]
    offsets = patch_offsets(height, width, size, selection.stride)
    present = np.full(len(codes), pixels)
    finite = np.ones(len(offsets), bool)
    if codes.max() == MISSING:
        missing = codes == MISSING
        present -= [np.count_nonzero(band) for band in missing]
        finite = ~cut_patches(missing.any(axis=0)[..., None], size, selection.stride).any(axis=(1, 2, 3))
    kept = finite
    dropped = Counter({NOT_FINITE: int((~finite).sum())})
    if zenith is not None:
        sunlit = (cut_patches(zenith[..., None], size, selection.stride) < HORIZON).all(axis=(1, 2, 3))
        kept = finite & sunlit
        dropped[NIGHT] = int((finite & ~sunlit).sum())
    dropped = +dropped
    offsets = offsets[kept]
    counts = count_tile(codes, _cover(offsets, size, codes.shape[1:]), present)
    if not len(offsets):
        reason = NIGHT if NIGHT in dropped else NOT_FINITE
        detail = "the sun is up over no patch" if reason == NIGHT else _fill_detail(counts, selection)
        return TileOutcome(file, reason=reason, detail=detail, dropped_patches=dropped, counts=counts)
    codes = np.ascontiguousarray(np.moveaxis(codes, 0, -1))
    return TileOutcome(file, codes, offsets, size, dropped_patches=dropped, counts=counts)


def _cover(offsets: np.ndarray, size: int, shape: tuple[int, ...]) -> np.ndarray:
    """How many patches each pixel is in, int32 [h, w]."""
    cover = np.zeros(shape, np.int32)
    for row, column in offsets.tolist():
        cover[row : row + size, column : column + size] += 1
    return cover


def _fill_detail(counts: TileCounts, selection: Selection) -> str:
    bands = [band.name for band, finite in zip(selection.channels, counts.finite, strict=True) if not finite]
    return f"entirely fill: {', '.join(bands)}" if bands else "every patch has a missing value in one of the bands"
