"""Histograms per band of prepared data sets, with the published mean and deviation, as a figure."""

import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from satxlate_jax import atomic
from satxlate_jax.instruments import get_satellite

_COLUMNS = 4
_COLOURS = ("#1b6ca8", "#e8743b", "#3a9d5d", "#8e5ea2", "#b8952b", "#5c5c5c")


def draw_histograms(found: Mapping[str, Mapping[str, Any]], path: str | os.PathLike) -> None:
    """Writes the figure as PNG: one panel per wavelength, one curve per data set.

    Args:
      found: name -> {'satellite': name, 'bands': band name -> statistics}, see `statistics_report.find_statistics`.
      path: of the file.
    """
    panels: dict[float, list[tuple[str, str, Mapping[str, Any]]]] = {}
    for name, data_set in found.items():
        for band_name, stored in data_set["bands"].items():
            panels.setdefault(_panel(panels, stored), []).append((name, band_name, stored))
    colours = {name: _COLOURS[index % len(_COLOURS)] for index, name in enumerate(found)}
    columns = min(_COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(3.6 * columns, 2.6 * rows + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    for index, (_, entries) in enumerate(sorted(panels.items())):
        axes = figure.add_subplot(rows, columns, index + 1)
        for name, band_name, stored in entries:
            satellite = found[name]["satellite"]
            _draw_band(axes, stored, f"{name.split('/')[0]} {band_name}", colours[name])
            band = get_satellite(satellite).band(stored["number"])
            axes.axvspan(band.mean - band.std, band.mean + band.std, color="0.92", zorder=0)
            axes.axvline(band.mean, color="0.6", linewidth=0.8, zorder=1)
        unit = entries[0][2]["unit"]
        axes.set_xlabel("brightness temperature (K)" if unit == "K" else "reflectance", fontsize=8)
        axes.set_title(f"{entries[0][2]['wavelength_um']:g} um", fontsize=9)
        axes.set_yticks([])
        axes.tick_params(labelsize=8)
        axes.legend(fontsize=7, frameon=False)
    figure.suptitle(f"{', '.join(found)}; grey: published mean and deviation", fontsize=9)
    with atomic.replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)


def _panel(panels: Mapping[float, Any], stored: Mapping[str, Any]) -> float:
    """The wavelength of the panel to draw a band in: bands that satellites share go together."""
    wavelength = stored["wavelength_um"]
    return next((other for other in panels if abs(other - wavelength) < 0.02 * wavelength), wavelength)


def _draw_band(axes: Axes, stored: Mapping[str, Any], label: str, colour: str) -> None:
    if not stored["values"]:
        axes.plot([], [], color=colour, label=f"{label}: no values")
        return
    histogram = stored["histogram"]
    edges = histogram["start"] + histogram["step"] * np.arange(len(histogram["counts"]) + 1)
    density = np.array(histogram["counts"]) / (stored["values"] * histogram["step"])
    axes.stairs(density, edges, color=colour, fill=True, alpha=0.25)
    axes.stairs(density, edges, color=colour, linewidth=0.8, label=label)
