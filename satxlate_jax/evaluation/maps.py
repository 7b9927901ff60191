"""Pictures on a tile: latitude and longitude, coastlines, colour bars; matplotlib without global state."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from satxlate_jax.evaluation.coastlines import coastlines_within
from satxlate_jax.instruments import Band

TEXT = {"fontsize": 9}
COAST = "#f2a900"
"""Colour of coastlines on pictures in grey or true colour."""
COAST_ON_DIFFERENCES = "#555555"
_MISSING = {"facecolor": "#e8e8e8", "edgecolor": "#b0a0c0", "hatch": "////", "linewidth": 0}
"""What lies behind a picture: hatched, since plain grey looks like a cloud top."""


def new_figure(width: float, height: float) -> Figure:
    """A figure of so many inches."""
    return Figure(figsize=(width, height), dpi=110, layout="constrained", facecolor="white")


def panels_of(figure: Figure, count: int) -> list[Axes]:
    """So many panels side by side."""
    return list(figure.subplots(1, count, squeeze=False)[0])


def band_label(band: Band) -> str:
    """Such as 'band 7, 3.9 um'."""
    return f"band {band.number}, {band.wavelength:g} µm"


def unit_label(band: Band) -> str:
    """What an axis of that band shows, with its unit."""
    return "brightness temperature (K)" if band.unit == "K" else "reflectance (1)"


# Few levels: the eye sees no more, and the files are a third of the size.
_GREYS = {unit: colormaps[name].resampled(64) for unit, name in (("K", "gray_r"), ("1", "gray"))}
DIFFERENCES = colormaps["RdBu_r"].resampled(31)
"""Of differences: blue is too low, red is too high."""


def grey_map(band: Band) -> Colormap:
    """The colour map in which clouds are bright: cold is white, dark is black."""
    return _GREYS[band.unit]


def value_range(fields: Sequence[np.ndarray], percent: float = 0.5) -> tuple[float, float]:
    """Lowest and highest value of fields [...] but for so many percent at either end; NaN is passed over."""
    values = np.concatenate([field[np.isfinite(field)] for field in fields])
    if not values.size:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(values, (percent, 100 - percent)))
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def show_map(
    axes: Axes, lat: np.ndarray, lon: np.ndarray, values: np.ndarray, title: str, *, coast: str = "", **settings: Any
) -> AxesImage:
    """Draws a field or a picture on its tile.

    Args:
      axes: where.
      lat: [h] degrees north, north to south.
      lon: [w] degrees east.
      values: [h, w], or a picture [h, w, 3] in [0, 1]; NaN is missing.
      title: above it.
      coast: colour of the coastlines; '' draws none.
      settings: colour map and limits, as `imshow` takes them.
    """
    if values.ndim == 3:
        seen = np.isfinite(values).all(-1, keepdims=True)
        values = np.concatenate([np.where(seen, values, 0), seen], axis=-1)  # transparent where missing
    half = abs(float(lat[1] - lat[0])) / 2
    extent = (lon[0] - half, lon[-1] + half, lat[-1] - half, lat[0] + half)
    image = axes.imshow(values, extent=extent, origin="upper", interpolation="nearest", **settings)
    axes.patch.set(**_MISSING)
    if coast:
        for line in coastlines_within(*extent):
            axes.plot(line[:, 0], line[:, 1], color=coast, linewidth=0.7)
        axes.set_xlim(extent[:2])
        axes.set_ylim(extent[2:])
    axes.set_title(title, **TEXT)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}°"))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}°"))
    axes.tick_params(labelsize=8)
    if axes.get_subplotspec().is_first_col():
        axes.set_ylabel("latitude (degrees north)", **TEXT)
    axes.set_xlabel("longitude (degrees east)", **TEXT)
    return image


def add_colour_bar(
    figure: Figure, image: Any, panels: Sequence[Axes], label: str, *, below: bool = False, extend: str = "neither"
) -> None:
    """A colour bar beside the panels, or below them."""
    place = {"location": "bottom", "shrink": 0.75, "aspect": 30} if below else {"shrink": 0.8, "aspect": 25}
    bar = figure.colorbar(image, ax=list(panels), pad=0.015, extend=extend, **place)
    bar.set_label(label, **TEXT)
    bar.ax.tick_params(labelsize=8)
    if below:
        bar.locator = MaxNLocator(5)
        bar.update_ticks()
