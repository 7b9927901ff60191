"""Figures that are curves: power by wavelength, spread against error."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from satxlate_jax.evaluation.baselines.methods import MODEL, method_name
from satxlate_jax.evaluation.maps import TEXT, band_label, new_figure
from satxlate_jax.evaluation.results import Results

COLOURS = {
    "model": "#1b6ca8",
    "linear": "#d1495b",
    "band_copy": "#e09f3e",
    "quadratic": "#8f5aa8",
    "matching": "#3a9d6e",
    "sbaf": "#8c6d31",
    "trees": "#5f8a2f",
    "cnn": "#12a5b8",
    "constant": "#8d96a3",
}
"""Of the methods, in every figure."""

_PER_ROW = 4


def colour_of(method: str) -> str:
    """A method's colour."""
    return COLOURS.get(method, "#5b6875")


def _small_multiples(count: int) -> tuple[Figure, list]:
    columns = min(count, _PER_ROW)
    rows = -(-count // columns)
    figure = new_figure(max(3.3 * columns, 5.5), 2.7 * rows + 0.5)
    axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for empty in axes[count:]:
        empty.set_visible(False)
    for used in axes[:count]:
        used.grid(color="#eeeeee")
        used.set_axisbelow(True)
        used.tick_params(labelsize=8)
        used.spines[["top", "right"]].set_visible(False)
    return figure, axes[:count]


def draw_spectra(results: Results) -> Figure | None:
    """Power of model and best baseline over the truth's by wavelength, a panel per band; None without whole tiles."""
    bands = [band for band in results.scored_bands if results.spectra[MODEL, band.number].tiles]
    if not bands:
        return None
    figure, panels = _small_multiples(len(bands))
    for axes, band in zip(panels, bands, strict=True):
        best = results.best_baseline(band.number)[0]
        for method in (best, MODEL) if best and best != "constant" else (MODEL,):
            spectrum = results.spectra[method, band.number]
            colour = colour_of(method)
            axes.plot(spectrum.wavelengths, spectrum.ratio(), color=colour, label=f"{method_name(method)}: power")
            axes.plot(spectrum.wavelengths, spectrum.noise(), color=colour, linestyle=":", label="its error's power")
        axes.axhline(1, color="#444444", linewidth=0.8)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_ylim(1e-3, 1e1)
        axes.invert_xaxis()
        axes.set_title(band_label(band), **TEXT)
        axes.legend(frameon=False, fontsize=6.5)
    for axes in panels:
        if axes.get_subplotspec().is_first_col():
            axes.set_ylabel("power over the truth's", **TEXT)
        axes.set_xlabel("wavelength (km)", **TEXT)
    return figure


def draw_calibration(results: Results) -> Figure:
    """Error against spread over draws, a panel per band; on the line the spread says how wrong the mean is."""
    bands = [band for band in results.scored_bands if band.number in results.calibration]
    figure, panels = _small_multiples(len(bands))
    for axes, band in zip(panels, bands, strict=True):
        spread, error = results.calibration[band.number].spread_and_skill()
        both = np.concatenate([spread, error])
        ends = np.array([both.min() / 1.5, both.max() * 1.5]) if both.size else np.array([0.1, 1.0])
        axes.plot(ends, ends, color="#444444", linewidth=0.8)
        axes.plot(spread, error, marker="o", markersize=3, color=colour_of(MODEL))
        for axis, scale in ((axes.xaxis, axes.set_xscale), (axes.yaxis, axes.set_yscale)):
            scale("log")
            axis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=6))
            axis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axis.set_minor_formatter(NullFormatter())
        figures = results.calibration[band.number].figures()
        axes.set_title(
            f"{band_label(band)}\n{figures['within_1']:.0%} within 1, {figures['within_2']:.0%} within 2", **TEXT
        )
        unit = "K" if band.unit == "K" else "1"
        axes.set_xlabel(f"spread ({unit})", **TEXT)
        if axes.get_subplotspec().is_first_col():
            axes.set_ylabel("root mean square error", **TEXT)
    return figure
