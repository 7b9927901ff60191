"""The figures of the report, each with its axes, colour bar and unit; matplotlib without global state."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from satxlate_jax.evaluation.baselines.methods import MODEL, method_name
from satxlate_jax.evaluation.composites import find_band, infrared_band, is_day, true_colour
from satxlate_jax.evaluation.curves import colour_of
from satxlate_jax.evaluation.joint_histogram import JointHistogram
from satxlate_jax.evaluation.maps import (
    COAST,
    COAST_ON_DIFFERENCES,
    DIFFERENCES,
    TEXT,
    add_colour_bar,
    band_label,
    grey_map,
    new_figure,
    panels_of,
    show_map,
    unit_label,
    value_range,
)
from satxlate_jax.evaluation.results import Example, Results
from satxlate_jax.instruments import Band, get_satellite, is_shared

_MARKERS = {
    "model": "o",
    "linear": "s",
    "band_copy": "D",
    "quadratic": "^",
    "matching": "P",
    "sbaf": "X",
    "constant": "|",
}


def draw_overview(results: Results) -> Figure:
    """RMSE of every method in every band, reflective and thermal bands in panels of their own."""
    kinds = [[band for band in results.scored_bands if band.unit == unit] for unit in ("1", "K")]
    kinds = [bands for bands in kinds if bands]
    figure = new_figure(9.5, 1.3 + 0.32 * max(len(bands) for bands in kinds))
    panels = figure.subplots(1, len(kinds), squeeze=False)[0]
    answering = [
        method for method in results.methods if any((method, b.number) in results.histograms for b in sum(kinds, []))
    ]
    for axes, bands in zip(panels, kinds, strict=True):
        for method in reversed(answering):
            values = [results.rmse(method, band.number) for band in bands]
            axes.plot(
                values,
                range(len(bands)),
                _MARKERS.get(method, "v"),
                color=colour_of(method),
                markersize=9 if method == "constant" else 7,
                markeredgewidth=2 if method == "constant" else 0.8,
                label=method_name(method),
            )
        axes.set_yticks(range(len(bands)), [band_label(band) for band in bands], **TEXT)
        axes.set_ylim(len(bands) - 0.5, -0.5)
        axes.set_xlim(left=0)
        axes.set_xlabel(f"RMSE, {unit_label(bands[0])}", **TEXT)
        axes.grid(axis="x", color="#e5e5e5")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles[::-1], labels[::-1], loc="outside upper center", ncols=min(len(handles), 5), frameon=False, **TEXT
    )
    return figure


def draw_quicklook(results: Results, example: Example) -> Figure:
    """What the source saw, what the target saw and what the model makes of it, side by side.

    True colour where it is day and the bands are there; else one band, if there is one in the infrared.
    """
    task = results.comparison.task
    fields: list[tuple[str, str, Mapping[int, np.ndarray]]] = [
        (f"{task.source} observed (input)", task.source, _inputs(results, example)),
        (f"{_truth_of(results)} observed (truth)", task.target, example.truth),
        (f"{task.target} from {task.source}, model", task.target, example.predictions[MODEL]),
    ]
    if is_day(example.solar_zenith) and any(
        true_colour(satellite, values) is not None for _, satellite, values in fields[1:]
    ):
        fields += [(method_name(name), task.target, example.predictions[name]) for name in results.shown_methods[1:]]
        return _draw_true_colour(example, fields)
    band = _shown_band(task.target, example.truth)
    best = results.best_baseline(band.number)[0]
    if best:
        fields.append((f"{method_name(best)} (best baseline)", task.target, example.predictions[best]))
    return _draw_band(example, fields, band)


def _truth_of(results: Results) -> str:
    """The satellite that measured what is compared with."""
    task = results.comparison.task
    return task.target if results.comparison.truth == "coincident" else task.source


def _inputs(results: Results, example: Example) -> dict[int, np.ndarray]:
    return {number: example.source[number] for number in results.comparison.task.source_bands}


def _shown_band(target: str, truth: Mapping[int, np.ndarray]) -> Band:
    """The best infrared band that has a truth, or else the first that has one."""
    number = infrared_band(target, truth)
    if number is None:
        number = min(number for number, values in truth.items() if np.isfinite(values).any())
    return get_satellite(target).band(number)


def _draw_true_colour(example: Example, fields: Sequence[tuple[str, str, Mapping[int, np.ndarray]]]) -> Figure:
    shown = [(title, true_colour(satellite, values)) for title, satellite, values in fields]
    shown = [(title, picture) for title, picture in shown if picture is not None]
    figure = new_figure(3.4 * len(shown), 3.9)
    for axes, (title, picture) in zip(panels_of(figure, len(shown)), shown, strict=True):
        _draw(axes, example, picture, title)
    figure.suptitle(f"true colour, {_when(example)}", fontsize=10)
    return figure


def _draw_band(example: Example, fields: Sequence[tuple[str, str, Mapping[int, np.ndarray]]], wanted: Band) -> Figure:
    shown = []
    for title, satellite, values in fields:
        same = find_band(satellite, wanted.wavelength, values)
        number = same if same is not None else infrared_band(satellite, values)
        if number is not None and np.isfinite(values[number]).any():
            shown.append((title, get_satellite(satellite).band(number), values[number]))
    figure = new_figure(3.3 * len(shown), 4.2)
    for axes, (title, band, values) in zip(panels_of(figure, len(shown)), shown, strict=True):
        low, high = value_range([values for _, other, values in shown if is_shared(other, band)])
        look = {"cmap": grey_map(band), "vmin": low, "vmax": high}
        image = _draw(axes, example, values, f"{title}\n{band_label(band)}", **look)
        add_colour_bar(figure, image, [axes], unit_label(band), below=True)
    figure.suptitle(_when(example), fontsize=10)
    return figure


def _draw(axes: Axes, example: Example, values: np.ndarray, title: str, coast: str = COAST, **settings) -> AxesImage:
    return show_map(
        axes, example.lat, example.lon, values, title, coast=coast if example.coastlines else "", **settings
    )


def _when(example: Example) -> str:
    return f"{example.case.source.tile}, {example.case.source.time:%Y-%m-%d %H:%M} UTC"


def draw_band_maps(results: Results, example: Example, band: Band) -> Figure:
    """One band of one case: truth, model, and the errors of the model and of the best baseline on one scale."""
    number = band.number
    truth, model = example.truth[number], example.predictions[MODEL][number]
    best = results.best_baseline(number)[0]
    errors = [("model", model - truth)]
    if best:
        errors.append((method_name(best), example.predictions[best][number] - truth))
    sizes = np.concatenate([np.abs(error[np.isfinite(error)]) for _, error in errors])
    limit = float(np.percentile(sizes, 99)) if sizes.size else 1.0
    low, high = value_range([truth, model])
    figure = new_figure(13.2, 3.6)
    panels = panels_of(figure, 2 + len(errors))
    titles = f"{_truth_of(results)} observed (truth)", f"model, from {results.comparison.task.source}"
    for axes, values, title in zip(panels, (truth, model), titles, strict=False):
        image = _draw(axes, example, values, title, cmap=grey_map(band), vmin=low, vmax=high)
    add_colour_bar(figure, image, panels[:2], unit_label(band))
    for axes, (name, error) in zip(panels[2:], errors, strict=True):
        rmse = float(np.sqrt(np.nanmean(error**2))) if np.isfinite(error).any() else math.nan
        title = f"{name} minus observed\nRMSE {rmse:.3g} {'K' if band.unit == 'K' else ''}".rstrip()
        image = _draw(
            axes,
            example,
            error,
            title,
            coast=COAST_ON_DIFFERENCES,
            cmap=DIFFERENCES,
            vmin=-limit or -1,
            vmax=limit or 1,
        )
    add_colour_bar(figure, image, panels[2:], f"error, {unit_label(band)}", extend="both")
    figure.suptitle(f"{_truth_of(results)} {band_label(band)}: {_when(example)}", fontsize=10)
    return figure


def draw_scatter(results: Results, band: Band) -> Figure:
    """Density of predicted against observed over all files, for the model and the best baseline, and their errors."""
    best = results.best_baseline(band.number)[0]
    methods = [method for method in (MODEL, best) if (method, band.number) in results.histograms]
    histograms = [results.histograms[method, band.number] for method in methods]
    first, last = _occupied(histograms)
    edges = histograms[0].edges[first : last + 2]
    figure = new_figure(13.2, 4.1)
    panels = panels_of(figure, 3)
    most = max(int(histogram.counts.max()) for histogram in histograms)
    for axes, method, histogram in zip(panels, methods, histograms, strict=False):
        counts = histogram.counts[first : last + 1, first : last + 1]
        shown = np.where(counts > 0, counts, np.nan)
        image = axes.pcolormesh(edges, edges, shown, norm=LogNorm(1, max(most, 2)), cmap="magma_r")
        axes.plot(edges[[0, -1]], edges[[0, -1]], color="#444444", linewidth=0.8)
        figures = results.total[method, band.number].figures()
        name = method_name(method)
        scores = f"RMSE {figures['rmse']:.3g}, bias {figures['bias']:+.3g}, r {figures['correlation']:.3f}"
        axes.set_title(f"{name}\n{scores}", **TEXT)
        axes.set_aspect("equal")
        axes.set_xlabel(f"observed {unit_label(band)}", **TEXT)
        axes.set_ylabel(f"{name} {unit_label(band)}", **TEXT)
        _grid(axes)
    add_colour_bar(figure, image, panels[: len(methods)], "pixels per bin")
    for axes in panels[len(methods) : 2]:
        axes.set_visible(False)
    _draw_error_histogram(results, band, panels[2])
    figure.suptitle(f"{results.comparison.task.target} {band_label(band)}, all files", fontsize=10)
    return figure


def _draw_error_histogram(results: Results, band: Band, axes: Axes) -> None:
    """Share of pixels by error, every method that has an answer; errors beyond the model's and the best's are cut."""
    shown = [method for method in results.methods if (method, band.number) in results.histograms]
    limits = []
    for method in reversed(shown):
        histogram = results.histograms[method, band.number]
        errors, counts = histogram.errors()
        share = counts / counts.sum()
        if method in (MODEL, results.best_baseline(band.number)[0]):
            total = share.cumsum()
            limits += [abs(errors[np.searchsorted(total, level)]) for level in (0.005, 0.995)]
        axes.step(errors, 100 * share, where="mid", color=colour_of(method), linewidth=1.4)
        axes.plot([], [], color=colour_of(method), label=method_name(method))
    limit = max(max(limits, default=0.0), 5 * histogram.width)
    axes.set_xlim(-limit, limit)
    axes.set_ylim(bottom=0)
    axes.axvline(0, color="#444444", linewidth=0.8)
    axes.set_title("distribution of errors", **TEXT)
    axes.set_xlabel(f"predicted minus observed, {unit_label(band)}", **TEXT)
    axes.set_ylabel(f"% of pixels per {histogram.width:g} {'K' if band.unit == 'K' else ''}".rstrip(), **TEXT)
    axes.legend(frameon=False, fontsize=8)
    _grid(axes)


def _grid(axes: Axes) -> None:
    axes.tick_params(labelsize=8)
    axes.grid(color="#eeeeee")
    axes.set_axisbelow(True)


def _occupied(histograms: Sequence[JointHistogram]) -> tuple[int, int]:
    """First and last bin that hold all but the outermost 0.01 % of either axis."""
    first, last = len(histograms[0].counts) - 1, 0
    for histogram in histograms:
        for axis in (0, 1):
            share = histogram.counts.sum(axis).cumsum() / max(histogram.counts.sum(), 1)
            first = min(first, int(np.searchsorted(share, 1e-4, side="right")))
            last = max(last, int(np.searchsorted(share, 1 - 1e-4)))
    return max(first - 1, 0), min(max(last, first) + 1, len(histograms[0].counts) - 1)
