"""Turn one L1G file into patches, or say why it gives none."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tensorflow_datasets.proto import tf_example_pb2

from satxlate_jax import geometry
from satxlate_jax.archive.catalog import TileFile
from satxlate_jax.cli import InputError
from satxlate_jax.dataset.records import MISSING, quantize_band
from satxlate_jax.dataset.selection import Selection, patch_offsets
from satxlate_jax.dataset.statistics import TileCounts, count_tile
from satxlate_jax.l1g.isolation import Failure, IsolatedCalls
from satxlate_jax.l1g.reader import MissingBandError, ViewpointError, read_arrays
from satxlate_jax.l1g.resampling import Method

UNREADABLE = "unreadable"
VIEWPOINT = "viewpoint"
MISSING_BANDS = "missing bands"
NO_ANGLES = "no solar angles"
DAMAGED_ANGLES = "damaged solar angles"
NOT_FINITE = "no finite patch"
NIGHT = "night"
# Reasons that mean that something is wrong with the file; the others are what satellites do.
BAD_REASONS = frozenset({UNREADABLE, VIEWPOINT, MISSING_BANDS, NO_ANGLES, "crash", "timeout", "memory"})


Example = dict[str, Any]


@dataclass(frozen=True)
class TileOutcome:
    """The patches of a file, or the reason why there are none."""

    file: TileFile
    patches: int = 0  # how many, also where the examples were left behind
    examples: Sequence[tuple[str, Any]] = ()  # key, which says nothing of folders, and an Example or its record
    reason: str = ""  # why there are no patches; '' where there are
    detail: str = ""  # the reason in words
    fault: str = ""  # damage of a part of the file that was not needed, in words
    impossible: Counter = field(default_factory=Counter)  # band -> pixels missing because their temperature cannot be
    dropped_patches: Counter = field(default_factory=Counter)  # reason -> patches of the file that were left out
    counts: TileCounts | None = None  # of the packed values, for the statistics; None where the file cannot be read


def serialize(example: Example) -> bytes:
    """An example as a tf.train.Example: whole numbers, texts, and the patch as raw bytes."""
    message = tf_example_pb2.Example()
    for name, value in example.items():
        feature = message.features.feature[name]
        if isinstance(value, int):
            feature.int64_list.value.append(value)
        else:
            feature.bytes_list.value.append(value.encode() if isinstance(value, str) else value.tobytes())
    return message.SerializeToString(deterministic=True)


class TileReader(IsolatedCalls):
    """Reads files in processes of their own, where a crash, a hang or a memory blow-up costs one file."""

    def __init__(self, selection: Selection, workers: int | None = None, *, serialized: bool = False):
        """Prepares; `serialized` outcomes hold records, which spares the process that writes them."""
        super().__init__(partial(tile_outcome, selection=selection, serialized=serialized), workers=workers)

    def call(self, argument: TileFile) -> TileOutcome:
        """The outcome of one file."""
        outcome = super().call(argument)
        if not isinstance(outcome, Failure):
            return outcome
        reason = UNREADABLE if outcome.reason == "error" else outcome.reason
        return TileOutcome(argument, reason=reason, detail=outcome.detail)


def read_packed(
    path: str | os.PathLike,
    bands: Iterable[int],
    *,
    resampling: Method = "area",
    with_zenith: bool = False,
    viewpoint: str | None = None,
) -> tuple[np.ndarray, np.ndarray | None, list[str], dict[str, int]]:
    """Reads bands (1-based) of one L1G file onto the 2 km grid: `read_tile`, quantised, in less time.

    Returns uint16 [band, 300, 300] (see `records`); the solar zenith angle in degrees, float32 [300, 300], or None
    where the file lacks it or it is not asked for; damage of angles that were not asked for; and name of each thermal
    band -> pixels whose temperature cannot be, which are missing. L1GError where the file cannot be read, lacks a band
    (MissingBandError) or is not seen from the place of the satellite `viewpoint`, by default its own (ViewpointError).
    """
    path, size = Path(path), geometry.pixels_of(2.0)
    angles = ("solar_zenith",) if with_zenith else ()
    read = read_arrays(
        path, bands, size, angles, lambda packed, band: quantize_band(packed, band, size, resampling), resampling
    )
    if read.viewpoint != (viewpoint or ""):
        place = f"{read.viewpoint}'s place" if read.viewpoint else "its satellite's own place"
        raise ViewpointError(f"{str(path)!r} is seen from {place}; see the option 'viewpoint'")
    if read.absent:
        raise MissingBandError(read.absent)
    packed = np.stack([read.arrays[band.name] for band in read.bands])
    return packed, read.arrays.get("solar_zenith"), read.faults, read.impossible


def tile_outcome(file: TileFile, selection: Selection, *, serialized: bool = False) -> TileOutcome:
    """Reads a file and cuts it into patches, as examples or `serialized`, as records.

    A patch is kept when all selected bands are finite in every pixel (an exact 0 is a value) and, with
    `daylight_only`, when the sun is up over all of it. A file that cannot be read is a reason, never an exception;
    it may end the process (see `isolation`).
    """
    try:
        packed, zenith, faults, impossible = read_packed(
            file.path,
            selection.bands,
            resampling=selection.resampling,
            with_zenith=selection.daylight_only,
            viewpoint=selection.viewpoint,
        )
    except InputError as error:
        reasons: dict[type, str] = {ViewpointError: VIEWPOINT, MissingBandError: MISSING_BANDS}
        return TileOutcome(file, reason=reasons.get(type(error), UNREADABLE), detail=str(error))
    if selection.daylight_only and zenith is None:
        return TileOutcome(file, reason=NO_ANGLES, detail="daylight_only needs Solar_Zenith, which the file lacks")
    outcome = _cut(file, packed, zenith, selection)
    if serialized:
        outcome = replace(outcome, examples=[(key, serialize(example)) for key, example in outcome.examples])
    return replace(outcome, fault="; ".join(faults), impossible=+Counter(impossible))


def cut_patches(x: np.ndarray, patch: int, stride: int | None = None) -> np.ndarray:
    """Cuts an image [height, width, band] into patches [n, patch, patch, band], in the order of `patch_offsets`."""
    offsets = patch_offsets(x.shape[0], x.shape[1], patch, stride)
    return np.stack([x[row : row + patch, column : column + patch] for row, column in offsets])


def _cut(file: TileFile, packed: np.ndarray, zenith: np.ndarray | None, selection: Selection) -> TileOutcome:
    """Decides which patches of a tile [band, h, w] are kept."""
    size, stride, shape = selection.patch_size, selection.stride, packed.shape[1:]
    offsets = patch_offsets(shape[0], shape[1], size, stride)
    present = np.full(len(packed), packed[0].size)
    finite = np.ones(len(offsets), bool)
    if packed.max() == MISSING:
        missing = packed == MISSING
        present -= [np.count_nonzero(band) for band in missing]
        finite = ~cut_patches(missing.any(axis=0)[..., None], size, stride).any(axis=(1, 2, 3))
    dropped = Counter({NOT_FINITE: int((~finite).sum())})
    if zenith is not None:
        sunlit = (cut_patches(zenith[..., None], size, stride) < geometry.HORIZON).all(axis=(1, 2, 3))
        dropped[NIGHT] = int((finite & ~sunlit).sum())
        finite &= sunlit
    dropped, offsets = +dropped, offsets[finite]
    cover = np.zeros(shape, np.int32)  # how many patches each pixel is in
    for row, column in offsets.tolist():
        cover[row : row + size, column : column + size] += 1
    counts = count_tile(packed, cover, present)
    if len(offsets):
        examples = _examples(file, np.ascontiguousarray(np.moveaxis(packed, 0, -1)), offsets, size)
        return TileOutcome(file, len(examples), examples, dropped_patches=dropped, counts=counts)
    reason, detail = NIGHT, "the sun is up over no patch"
    if NIGHT not in dropped:
        empty = [band.name for band, pixels in zip(selection.channels, present, strict=True) if not pixels]
        reason, detail = NOT_FINITE, "every patch has a missing value in one of the bands"
        detail = f"entirely fill: {', '.join(empty)}" if empty else detail
    return TileOutcome(file, reason=reason, detail=detail, dropped_patches=dropped, counts=counts)


def _examples(file: TileFile, tile: np.ndarray, offsets: np.ndarray, size: int) -> list[tuple[str, Example]]:
    """(key, example) of each patch of a tile [h, w, band]; patches are views."""
    h, v = geometry.parse_tile(file.tile)
    name = file.path.name
    shared = {
        "year": file.year,
        "dayofyear": file.day_of_year,
        "hour": file.hour,
        "minute": file.time.minute,
        "tile": file.tile,
        "h": h,
        "v": v,
        "file_name": name,
    }
    return [
        (
            f"{name}/{row}/{column}",
            {"patch": tile[row : row + size, column : column + size], "row": row, "column": column} | shared,
        )
        for row, column in offsets.tolist()
    ]
