"""Exact statistics per band of prepared data sets, and `satxlate statistics`, which prints and plots them.

There are 65,536 packed values, so counting how often each occurs says everything: counts of files add up in any order,
on any number of machines, and mean, deviation, extremes and percentiles follow without rounding on the way.
"""

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from satxlate_jax import atomic
from satxlate_jax.cli import InputError
from satxlate_jax.dataset.records import MISSING, scale_and_offset
from satxlate_jax.instruments import Band, get_satellite, is_shared

if TYPE_CHECKING:
    import pandas as pd  # imported where it is used, because training reads statistics, too

NAME = "statistics.json"
PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
HISTOGRAM_STEPS = 100  # packed values in one bin of a stored histogram: 1 K or 0.01 reflectance
FIGURE = "statistics.png"
TABLE = "statistics.csv"
_COLOURS = ("#1b6ca8", "#e8743b", "#3a9d5d", "#8e5ea2", "#b8952b", "#5c5c5c")
_SHORT = {
    "wavelength_um": "um",
    "finite_percent": "finite %",
    "published_mean": "pub. mean",
    "published_std": "pub. std",
}
_SHOWN = "band wavelength_um unit finite_percent mean published_mean std published_std min p1 p50 p99 max".split()


@dataclass(frozen=True)
class TileCounts:
    """Counts of each packed value in one tile's patches, compactly."""

    lowest: list[int]  # per band, the packed value that `counts` begins with
    counts: list[np.ndarray]  # per band, uint32; empty where there are no patches
    finite: np.ndarray  # int64 [band], pixels of the tile with a value, whether in a patch or not
    pixels: int  # of the tile


def count_tile(packed: np.ndarray, cover: np.ndarray, finite: np.ndarray) -> TileCounts:
    """Counts one tile, uint16 [band, h, w]; a pixel counts as often as the patches it is in, `cover`, int [h, w]."""
    flat = cover.ravel()
    # Most pixels are in one patch; the few that are in more are counted again, so that no patch is copied.
    first, again = np.flatnonzero(flat), np.repeat(np.arange(flat.size), np.maximum(flat - 1, 0))
    pixels = np.empty(len(first) + len(again), np.int64)  # what bincount wants, the same for all bands
    lowest, counts = [], []
    for band in packed.reshape(len(packed), -1):
        pixels[: len(first)] = band if len(first) == len(band) else band.take(first)
        pixels[len(first) :] = band.take(again)
        found = np.bincount(pixels)
        low = int((found != 0).argmax()) if found.size else 0
        lowest.append(low)
        counts.append(found[low:].astype(np.uint32))  # half the bytes between processes
    return TileCounts(lowest, counts, finite, flat.size)


class BandCounts:
    """Counts of many tiles of a split."""

    def __init__(self, bands: int):
        self.bands = bands
        self.counts = np.zeros((bands, MISSING + 1), np.int64)  # [band, packed value]
        self.finite = np.zeros(bands, np.int64)  # [band], pixels with a value in the tiles read
        self.pixels = 0  # of the tiles read

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
            head = {"number": band.number, "unit": band.unit, "wavelength_um": band.wavelength}
            finite_fraction = float(self.finite[index] / self.pixels) if self.pixels else None
            described = _describe(self.counts[index], scale[index], offset[index])
            result[band.name] = head | described | {"finite_fraction": finite_fraction}
        return result


def _describe(counts: np.ndarray, scale: float, offset: float) -> dict[str, Any]:
    present = np.flatnonzero(counts)
    number = int(counts.sum())
    if not number:
        return {"values": 0, "mean": None, "std": None, "min": None, "max": None, "percentiles": {}, "histogram": {}}
    weights = counts[present]
    middle = (present * weights).sum() / number
    deviation = np.sqrt((weights * (present - middle) ** 2).sum() / number)
    ranks = np.searchsorted(np.cumsum(weights), [percent / 100 * number for percent in PERCENTILES])

    def value(packed: float) -> float:
        return float(packed * scale + offset)

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
    """The statistics beside a data set: 'satellite', and 'splits' -> split -> band -> them; InputError if none."""
    path = folder / NAME
    if not path.is_file():
        raise InputError(f"no {NAME} in {folder}; is it a data set that `tfds build datasets/geonex_l1g` made?")
    return json.loads(path.read_text())


def tabulate(folders: Sequence[str | os.PathLike], split: str) -> "pd.DataFrame":
    """Collects the statistics of a split of all data sets in some folders, one row per data set and band.

    Beside what is stored a row has the published mean and deviation, and the band and the histogram as objects;
    `data_set` is 'CONFIGURATION/VERSION'. InputError where a folder does not exist or holds no statistics.
    """
    import pandas as pd

    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise InputError(f"'{folder}' is not a folder; name a data set's folder or tfds' data_dir")
        paths = sorted(path for path in folder.rglob(NAME) if not path.parent.name.startswith("incomplete."))
        if not paths:
            raise InputError(
                f"no {NAME} in or below '{folder}'; build a data set with `tfds build datasets/geonex_l1g`"
            )
        for path in paths:
            stored = read_statistics(path.parent)
            name = "/".join(path.resolve().parts[-3:-1])
            for band_name, values in (stored["splits"].get(split) or {}).items():
                band, finite = get_satellite(stored["satellite"]).band(values["number"]), values["finite_fraction"]
                names = ("wavelength_um", "unit", "values", "mean", "std", "min", "max")
                rows[name, band_name] = {
                    "data_set": name,
                    "band": band_name,
                    **{key: np.nan if values[key] is None else values[key] for key in names},
                    "finite_percent": np.nan if finite is None else 100 * finite,
                    "published_mean": band.mean,
                    "published_std": band.std,
                    **{f"p{percent}": values["percentiles"].get(str(percent), np.nan) for percent in PERCENTILES},
                    "satellite": stored["satellite"],
                    "kind": band,
                    "histogram": values["histogram"],
                }
    if not rows:
        raise InputError(f"no data set in {', '.join(map(str, folders))} has a split '{split}'")
    return pd.DataFrame(list(rows.values()))


def describe(table: "pd.DataFrame", split: str) -> str:
    """The table of `tabulate` as text for the screen."""
    lines = [f"split '{split}', beside the published mean and deviation (pub.)"]
    shown = table[_SHOWN].rename(columns=_SHORT)
    for (name, satellite), rows in table.groupby(["data_set", "satellite"], sort=False).groups.items():
        bands = shown.loc[rows].to_string(index=False, float_format="{:.5g}".format, na_rep="-")
        lines += ["", f"{name} ({satellite})", bands]
    return "\n".join(lines)


def draw_histograms(table: "pd.DataFrame", path: str | os.PathLike) -> None:
    """Draws the table of `tabulate`: one panel per wavelength, one curve per data set; writes the figure as PNG."""
    from matplotlib.figure import Figure

    panels: list[list[Any]] = []
    for row in table.sort_values("wavelength_um", kind="stable").itertuples():
        if not panels or not is_shared(panels[-1][0].kind, row.kind):
            panels.append([])
        panels[-1].append(row)
    colours = {name: _COLOURS[index % len(_COLOURS)] for index, name in enumerate(table["data_set"].unique())}
    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(3.6 * columns, 2.6 * rows + 0.5), layout="constrained")
    for index, panel in enumerate(panels, start=1):
        axes = figure.add_subplot(rows, columns, index)
        for row in sorted(panel, key=lambda row: list(colours).index(row.data_set)):
            colour, label = colours[row.data_set], f"{row.data_set.split('/')[0]} {row.band}"
            if row.values:
                edges = row.histogram["start"] + row.histogram["step"] * np.arange(len(row.histogram["counts"]) + 1)
                density = np.array(row.histogram["counts"]) / (row.values * row.histogram["step"])
                axes.stairs(density, edges, color=colour, fill=True, alpha=0.25)
                axes.stairs(density, edges, color=colour, linewidth=0.8, label=label)
            else:
                axes.plot([], [], color=colour, label=f"{label}: no values")
            mean, std = row.published_mean, row.published_std
            axes.axvspan(mean - std, mean + std, color="0.92", zorder=0)
            axes.axvline(mean, color="0.6", linewidth=0.8, zorder=1)
        axes.set_xlabel("brightness temperature (K)" if panel[0].unit == "K" else "reflectance", fontsize=8)
        axes.set_title(f"{panel[0].wavelength_um:g} um", fontsize=9)
        axes.set_yticks([])
        axes.tick_params(labelsize=8)
        axes.legend(fontsize=7, frameon=False)
    figure.suptitle(f"{', '.join(colours)}; grey: published mean and deviation", fontsize=9)
    with atomic.replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)


def main(arguments: argparse.Namespace) -> None:
    """Run the subcommand `statistics`; InputError where a folder holds no prepared data set."""
    table = tabulate(arguments.data, arguments.split)
    print(describe(table, arguments.split))
    output = Path(arguments.output)
    output.mkdir(parents=True, exist_ok=True)
    stored = table.drop(columns=["satellite", "kind", "histogram"])
    atomic.write_text(output / TABLE, stored.to_csv(index=False, lineterminator="\r\n"))
    draw_histograms(table, output / FIGURE)
    print(f"\nwritten: {output / TABLE}, {output / FIGURE}")
