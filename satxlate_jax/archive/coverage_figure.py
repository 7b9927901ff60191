"""The coverage of an archive as a figure: for each satellite a map of its tiles and a calendar of its days."""

import os
from datetime import date, timedelta

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.ticker import MaxNLocator

from satxlate_jax import atomic, geometry
from satxlate_jax.archive.coverage import Coverage
from satxlate_jax.instruments import get_satellite

_COLOURS = "YlGnBu"
_GAP = "#e8743b"  # a day without a file between days that have some
_VIEW = "#e9e9e9"  # tiles that the satellite sees
_MAP_INCHES, _YEAR_INCHES = 2.4, 1.2


def draw_coverage(coverages: list[Coverage], path: str | os.PathLike) -> None:
    """Writes the figure as PNG.

    Args:
      coverages: at least one.
      path: of the file.
    """
    years = [len({day.year for day in coverage.days}) for coverage in coverages]
    heights = [max(_MAP_INCHES, _YEAR_INCHES * count) for count in years]
    figure = Figure(figsize=(15, sum(heights) + 0.9 * len(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    rows = figure.add_gridspec(len(coverages), 2, height_ratios=heights, width_ratios=(1, 1.1))
    for row, coverage in enumerate(coverages):
        _draw_map(figure, rows[row, 0], coverage)
        _draw_calendar(figure, rows[row, 1], coverage)
    with atomic.replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)


def _draw_map(figure: Figure, place: SubplotSpec, coverage: Coverage) -> None:
    axes = figure.add_subplot(place)
    satellite = get_satellite(coverage.satellite)
    counts, view = np.full((2, geometry.ROWS, geometry.COLUMNS), np.nan)
    view[:, list(satellite.tile_columns)] = 0
    for tile, count in coverage.tiles.items():
        h, v = geometry.parse_tile(tile)
        counts[v, h] = count
    longitudes = geometry.WEST + geometry.TILE_DEGREES * np.arange(geometry.COLUMNS + 1)
    latitudes = geometry.NORTH - geometry.TILE_DEGREES * np.arange(geometry.ROWS + 1)
    axes.pcolormesh(longitudes, latitudes, view, cmap=ListedColormap([_VIEW]))
    image = axes.pcolormesh(longitudes, latitudes, counts, cmap=_COLOURS, vmin=0, edgecolor="white", linewidth=0.2)
    axes.axvline(satellite.longitude, color="0.35", linewidth=0.8, linestyle=":")
    axes.set(xticks=range(-180, 181, 60), yticks=range(-60, 61, 30), aspect="equal")
    axes.set_xlabel("longitude (degrees east)")
    axes.set_ylabel("latitude (degrees north)")
    axes.set_title(
        f"{coverage.satellite}: {coverage.files:,} files of {len(coverage.tiles)} tiles (grey: in view, none here)",
        fontsize=10,
        loc="left",
    )
    _add_bar(figure, image, axes, "files per tile")


def _draw_calendar(figure: Figure, place: SubplotSpec, coverage: Coverage) -> None:
    years = sorted({day.year for day in coverage.days})
    strips = place.subgridspec(max(2, len(years)), 1)  # a single year shall not fill all the height
    gaps = {
        first + timedelta(days=n) for first, last in coverage.missing_days() for n in range((last - first).days + 1)
    }
    most = max(coverage.days.values())
    axes = [figure.add_subplot(strips[row]) for row in range(len(years))]
    for one, year in zip(axes, years, strict=True):
        image = _draw_year(one, year, coverage, gaps, most)
    axes[0].set_title(
        f"{coverage.satellite}: {len(coverage.days)} of {len(coverage.days) + len(gaps)} days, "
        f"{min(coverage.days)} to {max(coverage.days)}" + (" (orange: no file)" if gaps else ""),
        fontsize=10,
        loc="left",
    )
    _add_bar(figure, image, axes, "files per day")


def _add_bar(figure: Figure, image: ScalarMappable, axes: Axes | list[Axes], label: str) -> None:
    figure.colorbar(image, ax=axes, label=label, shrink=0.7, aspect=15, pad=0.02, ticks=MaxNLocator(5, integer=True))


def _draw_year(axes: Axes, year: int, coverage: Coverage, gaps: set[date], most: int) -> ScalarMappable:
    """A column per week, a row per weekday."""
    counts, missing, all_days = np.full((3, 7, 54), np.nan)
    first = date(year, 1, 1)
    months = {}
    for number in range((date(year + 1, 1, 1) - first).days):
        day = first + timedelta(days=number)
        week = (number + first.weekday()) // 7
        all_days[day.weekday(), week] = 0
        if day in coverage.days:
            counts[day.weekday(), week] = coverage.days[day]
        elif day in gaps:
            missing[day.weekday(), week] = 0
        if day.day == 1:
            months[f"{day:%b}"] = week + 0.5
    style = {"edgecolor": "white", "linewidth": 0.6}
    axes.pcolormesh(all_days, cmap=ListedColormap(["#f3f3f3"]), **style)
    axes.pcolormesh(missing, cmap=ListedColormap([_GAP]), **style)
    image = axes.pcolormesh(counts, cmap=_COLOURS, vmin=0, vmax=most, **style)
    axes.invert_yaxis()
    axes.set(xticks=list(months.values()), yticks=[0.5, 3.5, 6.5])
    axes.set_xticklabels(list(months), fontsize=8)
    axes.set_yticklabels(["Mon", "Thu", "Sun"], fontsize=8)
    axes.tick_params(length=0)
    axes.set_ylabel(str(year))
    axes.spines[:].set_visible(False)
    return image
