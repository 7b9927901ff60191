"""Statistics per band of a prepared data set, exact, from one pass over its codes.

A stored value is one of 65,536 codes, so counting how often each occurs says everything: counts of files add up in
any order, on any number of machines, and mean, deviation, extremes and percentiles follow without rounding on the way.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from satxlate_jax.cli import InputError
from satxlate_jax.instruments import Band
from satxlate_jax.l1g.quantization import MISSING, scale_and_offset

NAME = "statistics.json"
PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
HISTOGRAM_STEPS = 100  # codes in one bin of a stored histogram: 1 K or 0.01 reflectance
CODES = MISSING + 1


@dataclass(frozen=True)
class TileCounts:
    """How often each code occurs in one tile's patches, compactly.

    Attributes:
      lowest: [band] the code that `counts` begin with.
      counts: per band, uint32 [codes from `lowest` on]; empty where there are no patches.
      finite: int64 [band] pixels of the tile with a value, whether in a patch or not.
      pixels: of the tile.
    """

    lowest: list[int]
    counts: list[np.ndarray]
    finite: np.ndarray
    pixels: int


def count_tile(codes: np.ndarray, cover: np.ndarray, finite: np.ndarray) -> TileCounts:
    """Counts one tile.

    Args:
      codes: uint16 [band, h, w].
      cover: int [h, w], how many of the patches kept each pixel is in; a pixel counts as often.
      finite: int64 [band] pixels of the whole tile with a value.
    """
    flat = cover.ravel()
    # Most pixels are in one patch; the few that are in more are counted again, so that no patch is copied.
    first, again = np.flatnonzero(flat), np.repeat(np.arange(flat.size), np.maximum(flat - 1, 0))
    pixels = np.empty(len(first) + len(again), np.int64)  # what bincount wants, the same for all bands
    lowest, counts = [], []
    for band in codes.reshape(len(codes), -1):
        pixels[: len(first)] = band if len(first) == len(band) else band.take(first)
        pixels[len(first) :] = band.take(again)
        found = np.bincount(pixels)
        low = int((found != 0).argmax()) if found.size else 0
        lowest.append(low)
        counts.append(found[low:].astype(np.uint32))  # half the bytes between processes
    return TileCounts(lowest, counts, finite, flat.size)


@dataclass
class BandCounts:
    """Counts of many tiles of a split.

    Attributes:
      bands: how many bands there are.
      counts: int64 [band, code].
      finite: int64 [band] pixels with a value in the tiles read.
      pixels: of the tiles read.
    """

    bands: int
    counts: np.ndarray = field(init=False)
    finite: np.ndarray = field(init=False)
    pixels: int = 0

    def __post_init__(self):
        self.counts = np.zeros((self.bands, CODES), np.int64)
        self.finite = np.zeros(self.bands, np.int64)

    def add(self, tile: TileCounts) -> None:
        """Adds one tile."""
        for band, (low, counts) in enumerate(zip(tile.lowest, tile.counts, strict=True)):
            self.counts[band, low : low + len(counts)] += counts
        self.finite += tile.finite
        self.pixels += tile.pixels

    def merge(self, other: "BandCounts") -> None:
        """Adds another part of the same split."""
        self.counts += other.counts
        self.finite += other.finite
        self.pixels += other.pixels

    def as_json(self, bands: Sequence[Band]) -> dict[str, dict[str, Any]]:
        """Statistics per band by its name, in the band's unit; None where there are no values."""
        scale, offset = scale_and_offset(bands)
        result = {}
        for index, band in enumerate(bands):
            finite_fraction = float(self.finite[index] / self.pixels) if self.pixels else None
            described = _describe(self.counts[index], scale[index], offset[index])
            facts = {"number": band.number, "unit": band.unit, "wavelength_um": band.wavelength}
            result[band.name] = facts | described | {"finite_fraction": finite_fraction}
        return result


def _describe(counts: np.ndarray, scale: float, offset: float) -> dict[str, Any]:
    present = np.flatnonzero(counts)
    number = int(counts.sum())
    if not number:
        return {"values": 0, "mean": None, "std": None, "min": None, "max": None, "percentiles": {}, "histogram": {}}
    weights = counts[present]
    middle = (present * weights).sum() / number
    deviation = np.sqrt((weights * (present - middle) ** 2).sum() / number)
    cumulative = np.cumsum(weights)
    ranks = [int(np.searchsorted(cumulative, percent / 100 * number)) for percent in PERCENTILES]

    def value(code: float) -> float:
        return float(code * scale + offset)

    first = present[0] // HISTOGRAM_STEPS
    bins = np.bincount(present // HISTOGRAM_STEPS - first, weights=weights).astype(np.int64)
    return {
        "values": number,
        "mean": value(middle),
        "std": float(deviation * scale),
        "min": value(present[0]),
        "max": value(present[-1]),
        "percentiles": {str(percent): value(present[rank]) for percent, rank in zip(PERCENTILES, ranks, strict=True)},
        "histogram": {
            "start": value(first * HISTOGRAM_STEPS),
            "step": float(scale * HISTOGRAM_STEPS),
            "counts": bins.tolist(),
        },
    }


def read_statistics(folder: Path) -> dict[str, Any]:
    """The statistics beside a prepared data set: 'satellite', and 'splits' -> split -> band -> statistics.

    Raises:
      InputError: there are none.
    """
    path = folder / NAME
    if not path.is_file():
        raise InputError(f"no {NAME} in {folder}; is it a data set that `tfds build datasets/geonex_l1g` made?")
    return json.loads(path.read_text())
