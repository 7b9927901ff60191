"""Maps of a tile: latitude and longitude, coastlines, colour bars; matplotlib without global state.

The coastlines beside this module (60 N to 60 S) are Natural Earth's 1:10 million land (public domain,
naturalearthdata.com), as packed by world-atlas 2.0.2 (ISC licence, M. Bostock), rounded to 0.01 degrees.
"""

import io
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator, StrMethodFormatter
from PIL import Image

from satxlate_jax import atomic
from satxlate_jax.instruments import Band

COAST = "#f2a900"
"""Colour of coastlines on pictures in grey or true colour."""
COAST_ON_DIFFERENCES = "#555555"
_MISSING = {"facecolor": "#e8e8e8", "edgecolor": "#b0a0c0", "hatch": "////", "linewidth": 0}
"""Background of a map, seen where data are missing: hatched, since plain grey looks like a cloud top."""

# Few levels: the eye sees no more, and the files are a third of the size.
_GREYS = {unit: colormaps[name].resampled(64) for unit, name in (("K", "gray_r"), ("1", "gray"))}
_DIFFERENCES = colormaps["RdBu_r"].resampled(31)  # blue is too low, red is too high


def new_figure(
    width: float, height: float, columns: int = 1, rows: int = 1, *, count: int | None = None, **settings: Any
) -> tuple[Figure, list[Axes]]:
    """A figure of so many inches, and its panels row by row, by default all; settings are of matplotlib's subplots."""
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained", facecolor="white")
    panels = list(figure.subplots(rows, columns, squeeze=False, **settings).ravel())
    for spare in panels[count:] if count else ():
        spare.set_visible(False)
    return figure, panels[:count]


def pixels_of(figure: Figure) -> np.ndarray:
    """The drawn figure in small type, uint8 [height, width, 3]."""
    for axes in figure.axes:
        axes.tick_params(labelsize=8)
        for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
            text.set_fontsize(9)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def save_figure(figure: Figure, path: Path) -> Image.Image:
    """Write a figure as PNG and return the picture; InputError where it cannot be written."""
    picture, packed = Image.fromarray(pixels_of(figure)), io.BytesIO()
    picture.save(packed, format="png")
    atomic.write_bytes(path, packed.getvalue())
    return picture


def band_label(band: Band) -> str:
    """Such as 'band 7, 3.9 um'."""
    return f"band {band.number}, {band.wavelength:g} µm"


def unit_label(band: Band) -> str:
    """An axis label: the band's quantity with its unit."""
    return "brightness temperature (K)" if band.unit == "K" else "reflectance (1)"


def value_range(fields: Sequence[np.ndarray]) -> tuple[float, float]:
    """Lowest and highest value of fields [...] but for 0.5 % at either end; NaN is passed over."""
    values = np.concatenate([field[np.isfinite(field)] for field in fields])
    if not values.size:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(values, (0.5, 99.5)))
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def grey_scale(band: Band, limits: tuple[float, float]) -> dict[str, Any]:
    """Settings of `imshow` for a band, with which clouds are bright: cold is white, dark is black."""
    return {"cmap": _GREYS[band.unit], "vmin": limits[0], "vmax": limits[1]}


def difference_scale(fields: Sequence[np.ndarray], least: float = 0.0) -> dict[str, Any]:
    """Settings of `imshow` for differences, on one scale: to the 99th percentile of their size, but to `least`."""
    sizes = np.concatenate([np.abs(field[np.isfinite(field)]) for field in fields])
    limit = max(float(np.percentile(sizes, 99)), least) if sizes.size else 1.0
    return {"cmap": _DIFFERENCES, "vmin": -limit or -1, "vmax": limit or 1}


def show_map(axes: Axes, place: Any, values: np.ndarray, title: str, *, coast: str = "", **settings: Any) -> AxesImage:
    """Draw a field [h, w] or a picture [h, w, 3] in [0, 1] on its tile, NaN is missing; `settings` are of `imshow`.

    `place` has the tile's `lat` [h] degrees north, north to south, and `lon` [w] degrees east; `coast` is the colour of
    the coastlines, '' draws none.
    """
    if values.ndim == 3:
        seen = np.isfinite(values).all(-1, keepdims=True)
        values = np.concatenate([np.where(seen, values, 0), seen], axis=-1)  # transparent where missing
    lat, lon = place.lat, place.lon
    half = abs(float(lat[1] - lat[0])) / 2
    extent = (lon[0] - half, lon[-1] + half, lat[-1] - half, lat[0] + half)
    image = axes.imshow(values, extent=extent, origin="upper", interpolation="nearest", **settings)
    axes.patch.set(**_MISSING)
    if coast:
        for line in coastlines_within(*extent):
            axes.plot(line[:, 0], line[:, 1], color=coast, linewidth=0.7)
    axes.set(title=title, xlabel="longitude (degrees east)", xlim=extent[:2], ylim=extent[2:])
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(4, integer=True))
        axis.set_major_formatter(StrMethodFormatter("{x:g}°"))
    if axes.get_subplotspec().is_first_col():
        axes.set_ylabel("latitude (degrees north)")
    return image


def add_colour_bar(
    image: Any, panels: Sequence[Axes], label: str, *, below: bool = False, extend: str = "neither"
) -> None:
    """A colour bar beside the panels, or below them."""
    place = {"location": "bottom", "shrink": 0.75, "aspect": 30} if below else {"shrink": 0.8, "aspect": 25}
    bar = panels[0].figure.colorbar(image, ax=list(panels), pad=0.015, extend=extend, **place)
    bar.set_label(label)
    if below:
        bar.locator = MaxNLocator(5)
        bar.update_ticks()


def show_band(
    axes: Axes,
    place: Any,
    band: Band,
    values: np.ndarray,
    title: str,
    limits: tuple[float, float] | None,
    *,
    coast: str = "",
    below: bool = False,
) -> None:
    """Draw a band [h, w] in grey with its colour bar, as `show_map`; by default its scale is from its own values."""
    scale = grey_scale(band, limits or value_range([values]))
    image = show_map(axes, place, values, f"{title}\n{band_label(band)}", coast=coast, **scale)
    add_colour_bar(image, [axes], unit_label(band), below=below)


@cache
def _coastlines() -> tuple[list[np.ndarray], np.ndarray]:
    """The lines, and of each its western, eastern, southern and northern limit, degrees."""
    with (files("satxlate_jax.evaluation") / "coastlines.npz").open("rb") as file:
        data = np.load(file, allow_pickle=False)
        steps, lengths = data["steps"].astype(np.int64), data["lengths"]
    lines = [np.cumsum(part, axis=0) * 0.01 for part in np.split(steps, np.cumsum(lengths)[:-1])]
    limits = np.array([[*line.min(0), *line.max(0)] for line in lines])
    return lines, limits[:, [0, 2, 1, 3]]


def coastlines_within(west: float, east: float, south: float, north: float) -> list[np.ndarray]:
    """The coastlines [n, 2] of longitude and latitude, degrees, that touch a box; they may run on outside of it."""
    lines, limits = _coastlines()
    touching = (limits[:, 1] >= west) & (limits[:, 0] <= east) & (limits[:, 3] >= south) & (limits[:, 2] <= north)
    return [lines[index] for index in np.flatnonzero(touching)]
