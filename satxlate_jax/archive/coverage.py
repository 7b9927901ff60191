"""`satxlate catalog`: what an archive of L1G files covers, where it has gaps, and which files coincide."""

import argparse
import os
from collections.abc import Iterable
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from satxlate_jax import atomic, geometry
from satxlate_jax.archive.catalog import (
    FolderIndex,
    Pair,
    TileFile,
    coincident,
    find_tiles,
    locate_pairs,
    read_pairs,
    write_pairs,
)
from satxlate_jax.cli import InputError, archive_filters, parse_names
from satxlate_jax.instruments import get_satellite

INDEX = "index.jsonl"
FIGURE = "coverage.png"
TABLE = "tiles.csv"
PAIRS = "pairs.csv"

_COLOURS = "YlGnBu"
_GAP = "#e8743b"  # a day without a file between days that have some
_VIEW = "#e9e9e9"  # tiles that the satellite sees
_MAP_INCHES, _YEAR_INCHES = 2.4, 1.2


def tabulate(files: Iterable[TileFile]) -> pd.DataFrame:
    """One row per file: satellite, tile, time and day, UTC. Each satellite, tile and time should be there once."""
    rows = [(file.satellite, file.tile, file.time, file.time.date()) for file in files]
    return pd.DataFrame(rows, columns=["satellite", "tile", "time", "day"])


def summarize_tiles(table: pd.DataFrame) -> pd.DataFrame:
    """Per satellite and tile: files, times and days that only the satellite's other tiles have, days with a file."""
    satellites = table.groupby("satellite")[["time", "day"]].nunique()
    tiles = table.groupby(["satellite", "tile"]).agg(files=("time", "size"), days=("day", "nunique"))
    every = satellites.reindex(tiles.index, level="satellite")
    tiles.insert(1, "missing_times", every["time"] - tiles["files"])
    return tiles.assign(missing_days=every["day"] - tiles["days"])


def find_gaps(days: Iterable[date]) -> list[tuple[date, date]]:
    """First and last day of each run of days that are not there, between the first and the last that is."""
    one = timedelta(days=1)
    return [(a + one, b - one) for a, b in pairwise(sorted(set(days))) if b - a > one]


def describe(table: pd.DataFrame) -> str:
    """A table, one line per satellite, and below it the gaps."""
    rows, gaps = [], []
    for name, tiles in summarize_tiles(table).groupby("satellite"):
        own = table[table["satellite"] == name]
        missing, times = tiles["missing_times"].sum(), own["time"].nunique()
        rows.append(
            {
                "satellite": name,
                "files": f"{len(own):,}",
                "tiles": f"{len(tiles)}",
                "days": f"{own['day'].nunique()}",
                "times": f"{times:,}",
                "first (UTC)": f"{own['time'].min():%Y-%m-%d %H:%M}",
                "last (UTC)": f"{own['time'].max():%Y-%m-%d %H:%M}",
                "missing": f"{missing:,} ({missing / (len(tiles) * times):.1%})",
            }
        )
        gaps += [f"{name}: {line}" for line in _gap_lines(own, tiles.droplevel("satellite"))]
    note = "missing: files that would make every tile have every time that any of the satellite's tiles has"
    return "\n".join([pd.DataFrame(rows).to_string(index=False), "", note, *gaps])


def _gap_lines(own: pd.DataFrame, tiles: pd.DataFrame, limit: int = 10) -> list[str]:
    lines, runs = [], find_gaps(own["day"])
    for first, last in runs[:limit]:
        length = (last - first).days + 1
        lines.append(f"no file on {first}" if length == 1 else f"no file on {first} to {last}, {length} days")
    if len(runs) > limit:
        lines.append(f"and {len(runs) - limit} more gaps of days")
    short = tiles[tiles["missing_times"] > 0].sort_values("files", kind="stable")
    for tile, row in short[:limit].iterrows():
        entirely = f", {row.missing_days} of {own['day'].nunique()} days entirely" if row.missing_days else ""
        lines.append(f"tile {tile} lacks {row.missing_times:,} of {own['time'].nunique():,} times{entirely}")
    if len(short) > limit:
        lines.append(f"and {len(short) - limit} more tiles lack times")
    return lines


def draw_coverage(table: pd.DataFrame, path: str | os.PathLike) -> None:
    """Draws for each satellite a map of its tiles and a calendar of its days, and writes the figure as PNG."""
    satellites = table.groupby("satellite")
    heights = [max(_MAP_INCHES, _YEAR_INCHES * own["time"].dt.year.nunique()) for _, own in satellites]
    figure = Figure(figsize=(15, sum(heights) + 0.9 * len(heights)), layout="constrained")
    rows = figure.subfigures(len(heights), 2, height_ratios=heights, width_ratios=(1, 1.1), squeeze=False)
    for (name, own), (left, right) in zip(satellites, rows, strict=True):
        _draw_map(left, name, own)
        _draw_calendar(right, name, own)
    with atomic.replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)


def _draw_map(figure: SubFigure, name: str, own: pd.DataFrame) -> None:
    axes, satellite = figure.subplots(), get_satellite(name)
    counts, view = np.full((2, geometry.ROWS, geometry.COLUMNS), np.nan)
    view[:, list(satellite.tile_columns)] = 0
    for tile, count in own["tile"].value_counts().items():
        h, v = geometry.parse_tile(tile)
        counts[v, h] = count
    longitudes = geometry.WEST + geometry.TILE_DEGREES * np.arange(geometry.COLUMNS + 1)
    latitudes = geometry.NORTH - geometry.TILE_DEGREES * np.arange(geometry.ROWS + 1)
    axes.pcolormesh(longitudes, latitudes, view, cmap=ListedColormap([_VIEW]))
    image = axes.pcolormesh(longitudes, latitudes, counts, cmap=_COLOURS, vmin=0, edgecolor="white", linewidth=0.2)
    axes.axvline(satellite.longitude, color="0.35", linewidth=0.8, linestyle=":")
    axes.set(xticks=range(-180, 181, 60), yticks=range(-60, 61, 30), aspect="equal")
    axes.set(xlabel="longitude (degrees east)", ylabel="latitude (degrees north)")
    title = f"{name}: {len(own):,} files of {own['tile'].nunique()} tiles (grey: in view, none here)"
    axes.set_title(title, fontsize=10, loc="left")
    _add_bar(figure, image, axes, "files per tile")


def _draw_calendar(figure: SubFigure, name: str, own: pd.DataFrame) -> None:
    """A strip per year: a column per week, a row per weekday."""
    counts = own["day"].value_counts()
    gaps = {day.date() for run in find_gaps(counts.index) for day in pd.date_range(*run)}
    years = sorted({day.year for day in counts.index})
    strips = figure.subplots(max(2, len(years)), squeeze=False)[:, 0]  # a single year shall not fill all the height
    for axes in strips[len(years) :]:
        axes.set_axis_off()
    for axes, year in zip(strips, years, strict=False):
        days = pd.date_range(f"{year}-01-01", f"{year}-12-31")
        weeks = (np.arange(len(days)) + days[0].day_of_week) // 7
        found, missing, every = np.full((3, 7, 54), np.nan)
        every[days.day_of_week, weeks] = 0
        found[days.day_of_week, weeks] = counts.reindex(days.date)
        missing[days.day_of_week, weeks] = np.where([day in gaps for day in days.date], 0, np.nan)
        style = {"edgecolor": "white", "linewidth": 0.6}
        axes.pcolormesh(every, cmap=ListedColormap(["#f3f3f3"]), **style)
        axes.pcolormesh(missing, cmap=ListedColormap([_GAP]), **style)
        image = axes.pcolormesh(found, cmap=_COLOURS, vmin=0, vmax=counts.max(), **style)
        axes.invert_yaxis()
        first = days.day == 1
        axes.set_xticks(weeks[first] + 0.5, days[first].strftime("%b"), fontsize=8)
        axes.set_yticks([0.5, 3.5, 6.5], ["Mon", "Thu", "Sun"], fontsize=8)
        axes.tick_params(length=0)
        axes.set_ylabel(str(year))
        axes.spines[:].set_visible(False)
    title = f"{name}: {len(counts)} of {len(counts) + len(gaps)} days, {min(counts.index)} to {max(counts.index)}"
    strips[0].set_title(title + (" (orange: no file)" if gaps else ""), fontsize=10, loc="left")
    _add_bar(figure, image, list(strips[: len(years)]), "files per day")


def _add_bar(figure: SubFigure, image: ScalarMappable, axes: Any, label: str) -> None:
    figure.colorbar(image, ax=axes, label=label, shrink=0.7, aspect=15, pad=0.02, ticks=MaxNLocator(5, integer=True))


def _read_request(text: str) -> tuple[str, str] | list[Pair]:
    """The two satellites that --pairs names, or the pairs of its list."""
    names = parse_names(text)
    if len(names) == 2 and not os.path.exists(text):
        first, second = (get_satellite(name).name for name in names)
        if first == second:
            raise InputError(f"--pairs {text} names one satellite twice; name two")
        return first, second
    if len(names) != 2 and not text.endswith(".csv") and not os.path.exists(text):
        raise InputError(f"--pairs {text} is neither two satellites, such as G16,G17, nor a list of pairs (CSV)")
    return read_pairs(text)


def _find_pairs(
    request: tuple[str, str] | list[Pair], files: list[TileFile], arguments: argparse.Namespace
) -> tuple[list[Pair], str]:
    if isinstance(request, list):
        pairs = locate_pairs(request, files)
        return pairs, f"{arguments.pairs}: {len(pairs):,} of its {len(request):,} pairs are here"
    first, second = ([file for file in files if file.satellite == name] for name in request)
    pairs = coincident(first, second, arguments.tolerance)
    tiles = len({file.tile for file, _ in pairs})
    return pairs, f"{' and '.join(request)}: {len(pairs):,} coincident pairs in {tiles} tiles"


def main(arguments: argparse.Namespace) -> None:
    """Run the subcommand `catalog`; InputError for a mistake in what was handed in, or where nothing was found."""
    if not os.path.isdir(arguments.root):
        raise InputError(f"'{arguments.root}' is not a folder; name the root of a tree of L1G files")
    output = Path(arguments.output)
    for name in arguments.satellites or ():
        get_satellite(name)
    filters = archive_filters(arguments)
    for tile in filters["tiles"] or ():
        geometry.parse_tile(tile)
    request = _read_request(arguments.pairs) if arguments.pairs else None  # before a search that may take minutes
    with FolderIndex(output / INDEX) as index:
        files = find_tiles(arguments.root, satellites=arguments.satellites, **filters, index=index, progress=True)
    if not files:
        raise InputError(f"'{arguments.root}' holds no L1G file that was asked for")
    table = tabulate(files)
    print(describe(table))
    atomic.write_text(output / TABLE, summarize_tiles(table).to_csv(lineterminator="\r\n"))
    written = [output / TABLE]
    if request is not None:
        pairs, sentence = _find_pairs(request, files, arguments)
        print(f"\n{sentence}")
        for first, second in pairs[:10]:
            print(f"  {first.tile}  {first.time:%Y-%m-%d %H:%M}  {first.path.name}  {second.path.name}")
        if len(pairs) > 10:
            print(f"  ... and {len(pairs) - 10:,} more")
        write_pairs(pairs, output / PAIRS)
        written.append(output / PAIRS)
    draw_coverage(table, output / FIGURE)
    print(f"\nwritten: {', '.join(map(str, [*written, output / FIGURE]))}")
