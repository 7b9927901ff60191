"""Plots of the report, each with its axes, colour bar and unit; matplotlib without global state."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from satxlate_jax.evaluation import maps
from satxlate_jax.evaluation.baselines import COARSE, MODEL, method_name
from satxlate_jax.evaluation.composites import Fields, find_band, infrared_band, true_colour
from satxlate_jax.evaluation.distributions import JointHistogram
from satxlate_jax.evaluation.results import Example, Results
from satxlate_jax.geometry import DAY_ENDS
from satxlate_jax.instruments import Band, get_satellite, is_shared
from satxlate_jax.translation.finer_pixels import FITTED_KM

_STYLES = {
    "model": ("#1b6ca8", "o"),
    "model_2km": ("#74b3e0", "o"),
    "linear": ("#d1495b", "s"),
    "band_copy": ("#e09f3e", "D"),
    "quadratic": ("#8f5aa8", "^"),
    "matching": ("#3a9d6e", "P"),
    "sbaf": ("#8c6d31", "X"),
    "trees": ("#5f8a2f", "v"),
    "cnn": ("#12a5b8", "v"),
    "green_cimss": ("#5b6875", "<"),
    "green_satpy": ("#5b6875", ">"),
    "constant": ("#8d96a3", "|"),
}
_OTHER_STYLE = ("#5b6875", "v")
_PER_ROW = 4  # panels
Shown = tuple[str, str, Fields]  # title, satellite and bands of a picture


def colour_of(method: str) -> str:
    """A method's colour in every plot."""
    return _STYLES.get(method, _OTHER_STYLE)[0]


def draw_overview(results: Results) -> Figure:
    """RMSE of every method in every band, reflective and thermal bands in panels of their own."""
    kinds = [[band for band in results.scored_bands if band.unit == unit] for unit in ("1", "K")]
    kinds = [bands for bands in kinds if bands]
    rmse = results.rmse().dropna(axis="columns", how="all")
    figure, panels = maps.new_figure(9.5, 1.3 + 0.32 * max(map(len, kinds)), len(kinds))
    for axes, bands in zip(panels, kinds, strict=True):
        for method in reversed(rmse.columns):
            colour, marker = _STYLES.get(method, _OTHER_STYLE)
            bold = {"markersize": 9, "markeredgewidth": 2} if method == "constant" else {"markersize": 7}
            values = rmse[method][[band.number for band in bands]]
            look = {"markeredgewidth": 0.8, "color": colour, "label": method_name(method)} | bold
            axes.plot(values, range(len(bands)), marker, **look)
        axes.set_yticks(range(len(bands)), [maps.band_label(band) for band in bands])
        axes.set(xscale="log", ylim=(len(bands) - 0.5, -0.5), xlabel=f"RMSE, {maps.unit_label(bands[0])}")
        axes.xaxis.set(major_locator=LogLocator(subs=(1, 2, 5)), major_formatter="{x:g}", minor_formatter="")
        _plain(axes)
        axes.grid(visible=False, axis="y")
    handles, labels = panels[0].get_legend_handles_labels()
    columns = min(len(handles), 5)
    figure.legend(handles[::-1], labels[::-1], loc="outside upper center", ncols=columns, frameon=False, fontsize=9)
    return figure


def draw_quicklook(results: Results, example: Example) -> Figure:
    """Input, truth and translation side by side.

    True colour where it is day and the bands are there; else one band, if there is one in the infrared.
    """
    task = results.comparison.task
    given = {number: example.source[number] for number in task.source_bands}
    fields: list[Shown] = [
        (f"{task.source} {_truth(results)[1]} (input)", task.source, given),
        (f"{' '.join(_truth(results))} (truth)", task.target, example.truth),
        (f"{task.target} from {task.source}, model", task.target, example.predictions[MODEL]),
    ]
    is_day = example.solar_zenith is not None and np.nanmedian(example.solar_zenith) < DAY_ENDS
    if is_day and any(true_colour(*field[1:]) is not None for field in fields[1:]):
        fields += [(method_name(name), task.target, example.predictions[name]) for name in results.shown_methods[1:]]
        return _draw_true_colour(results, example, fields)
    number = infrared_band(task.target, example.truth)
    if number is None:
        number = min(number for number, values in example.truth.items() if np.isfinite(values).any())
    best = _best(results, number)
    if best:
        fields.append((f"{method_name(best)} (best baseline)", task.target, example.predictions[best]))
    return _draw_band(results, example, fields, results.band(number))


def _best(results: Results, band: int) -> str:
    return results.ranking["best_name"].get(band, "")


def _truth(results: Results) -> tuple[str, str]:
    """The satellite of the truth, and if that is observed or simulated."""
    task, truth = results.comparison.task, results.comparison.truth
    return task.source if truth == "source" else task.target, "simulated" if truth == "same_view" else "observed"


def _draw_true_colour(results: Results, example: Example, fields: Sequence[Shown]) -> Figure:
    shown = [(title, true_colour(satellite, values)) for title, satellite, values in fields]
    pictures = [(title, picture) for title, picture in shown if picture is not None]
    figure, panels = maps.new_figure(3.4 * len(pictures), 3.9, len(pictures))
    for axes, (title, picture) in zip(panels, pictures, strict=True):
        maps.show_map(axes, example, picture, title, coast=maps.COAST * results.coastlines)
    figure.suptitle(f"true colour, {_when(example)}", fontsize=10)
    return figure


def _draw_band(results: Results, example: Example, fields: Sequence[Shown], wanted: Band) -> Figure:
    shown = []
    for title, satellite, values in fields:
        same = find_band(satellite, wanted.wavelength, values)
        number = same if same is not None else infrared_band(satellite, values)
        if number is not None and np.isfinite(values[number]).any():
            shown.append((title, get_satellite(satellite).band(number), values[number]))
    figure, panels = maps.new_figure(3.3 * len(shown), 4.2, len(shown))
    for axes, (title, band, field) in zip(panels, shown, strict=True):
        limits = maps.value_range([other for _, its, other in shown if is_shared(its, band)])
        maps.show_band(axes, example, band, field, title, limits, coast=maps.COAST * results.coastlines, below=True)
    figure.suptitle(_when(example), fontsize=10)
    return figure


def _when(example: Example) -> str:
    return f"{example.case.source.tile}, {example.case.source.time:%Y-%m-%d %H:%M} UTC"


def draw_band_maps(results: Results, example: Example, band: Band) -> Figure:
    """One band of one case: truth, the model's answer, one sample and standard deviation; errors on one scale."""
    (satellite, word), number = _truth(results), band.number
    truth, std = example.truth[number], example.std.get(number)
    model, best = example.predictions[MODEL][number], _best(results, number)
    names = [name for name in (MODEL, best) if number in example.predictions.get(name, {})]
    values = {f"{satellite} {word}": truth, f"model, from {results.comparison.task.source}": model}
    if std is not None and number in example.sample:
        values["model, one sample"] = example.sample[number]
    errors = {}
    for name in names:
        error = example.predictions[name][number] - truth
        rmse = np.sqrt(np.nanmean(error**2)) if np.isfinite(error).any() else np.nan
        errors[f"{method_name(name)} minus {word}\nRMSE {rmse:.3g} {band.unit.strip('1')}".rstrip()] = error
    # fields of one scale, and how they are shown
    groups = [(values, maps.grey_scale(band, maps.value_range([*values.values()])), maps.COAST, "neither")]
    if std is not None:
        heat = {"cmap": "viridis", "vmin": 0, "vmax": maps.value_range([std])[1]}
        groups.append(({"model, standard deviation": std}, heat, maps.COAST, "neither"))
    groups.append((errors, maps.difference_scale([*errors.values()]), maps.COAST_ON_DIFFERENCES, "both"))
    count = sum(len(fields) for fields, *_ in groups)
    columns = 3 if count > 4 else count
    rows = -(-count // columns)
    figure, panels = maps.new_figure(3 * columns, 4.2 * rows - 0.2, columns, rows, count=count)
    for fields, scale, coast, extend in groups:
        own, panels = panels[: len(fields)], panels[len(fields) :]
        for axes, (title, field) in zip(own, fields.items(), strict=True):
            image = maps.show_map(axes, example, field, title, coast=coast * results.coastlines, **scale)
        maps.add_colour_bar(image, own, maps.unit_label(band), below=True, extend=extend)
    figure.suptitle(f"{satellite} {maps.band_label(band)}: {_when(example)}", fontsize=10)
    return figure


def draw_scatter(results: Results, band: Band) -> Figure:
    """Density of the model's values against the truth over all files, and the errors of every method."""
    (satellite, word), unit = _truth(results), maps.unit_label(band)
    score = results.total.set_index(["method", "band"]).loc[(MODEL, band.number)]
    histogram = results.distributions["histogram", MODEL, band.number]
    first, last = _occupied(histogram)
    edges, counts = histogram.edges[first : last + 2], histogram.counts[first : last + 1, first : last + 1]
    figure, (axes, beside) = maps.new_figure(9.6, 4.1, 2)
    norm = LogNorm(1, max(2, int(counts.max())))
    image = axes.pcolormesh(edges, edges, np.where(counts > 0, counts, np.nan), norm=norm, cmap="magma_r")
    axes.plot(edges[[0, -1]], edges[[0, -1]], color="#444444", linewidth=0.8)
    words = f"RMSE {score['rmse']:.3g}, bias {score['bias']:+.3g}, r {score['correlation']:.3f}"
    axes.set(title=f"{satellite} {maps.band_label(band)}: model, all files\n{words}", aspect="equal")
    axes.set(xlabel=f"{word} {unit}", ylabel=f"model {unit}")
    _plain(axes, spines=True)
    maps.add_colour_bar(image, [axes], "pixels per bin")
    _draw_error_histogram(results, band, beside)
    return figure


def _draw_error_histogram(results: Results, band: Band, axes: Axes) -> None:
    """Share of pixels by error, every method that has an answer; cut beyond those of the model and the best."""
    limits = [0.0]
    for method in reversed(results.methods):
        histogram = results.distributions.get(("histogram", method, band.number))
        if histogram is None:
            continue
        errors, counts = histogram.errors()
        share = counts / counts.sum()
        if method in (MODEL, _best(results, band.number)):
            limits += [abs(errors[np.searchsorted(share.cumsum(), level)]) for level in (0.005, 0.995)]
        axes.step(errors, 100 * share, where="mid", color=colour_of(method), linewidth=1.4)
        axes.plot([], [], color=colour_of(method), label=method_name(method))
        width = histogram.width
    limit = max(*limits, 5 * width)
    axes.axvline(0, color="#444444", linewidth=0.8)
    axes.set(title="distribution of errors", xlim=(-limit, limit), ylim=(0, None))
    axes.set_xlabel(f"predicted minus {_truth(results)[1]}, {maps.unit_label(band)}")
    axes.set_ylabel(f"% of pixels per {width:g} {band.unit.strip('1')}".rstrip())
    axes.legend(frameon=False, fontsize=8)
    _plain(axes, spines=True)


def _plain(axes: Axes, *, spines: bool = False) -> None:
    axes.grid(color="#eeeeee")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(spines)


def _occupied(histogram: JointHistogram) -> tuple[int, int]:
    """First and last bin that hold all but the outermost 0.01 % of either axis."""
    shares = [histogram.counts.sum(axis).cumsum() / max(histogram.counts.sum(), 1) for axis in (0, 1)]
    first = min(int(np.searchsorted(share, 1e-4, side="right")) for share in shares)
    last = max(int(np.searchsorted(share, 1 - 1e-4)) for share in shares)
    return max(first - 1, 0), min(max(last, first) + 1, len(shares[0]) - 1)


def _small_multiples(count: int) -> tuple[Figure, list[Axes]]:
    columns = min(count, _PER_ROW)
    rows = -(-count // columns)
    figure, panels = maps.new_figure(max(3.3 * columns, 5.5), 2.7 * rows + 0.5, columns, rows, count=count)
    for axes in panels:
        _plain(axes)
    return figure, panels


def _label_left(axes: Axes, label: str) -> None:
    if axes.get_subplotspec().is_first_col():
        axes.set_ylabel(label)


def draw_spectra(results: Results) -> Figure | None:
    """Power over the truth's and coherence with it, by wavelength; a panel per band, None without whole tiles."""
    found = results.distributions
    bands = [band for band in results.scored_bands if found["spectrum", MODEL, band.number].tiles]
    if not bands:
        return None
    figure, panels = _small_multiples(len(bands))
    for axes, band in zip(panels, bands, strict=True):
        best, right = _best(results, band.number), axes.twinx()
        right.set(ylim=(0, 1.05), ylabel="coherence (dashed)" if axes.get_subplotspec().is_last_col() else "")
        for method in (best, MODEL) if best not in ("", "constant") else (MODEL,):
            spectrum, colour = found["spectrum", method, band.number], colour_of(method)
            power, noise = spectrum.over_truth()
            axes.plot(spectrum.wavelengths, power, color=colour, label=method_name(method))
            axes.plot(spectrum.wavelengths, noise, color=colour, linestyle=":")
            right.plot(spectrum.wavelengths, spectrum.coherence(), color=colour, linestyle="--", linewidth=1)
        if sample := found.get(("sample_spectrum", MODEL, band.number)):
            axes.plot(sample.wavelengths, sample.over_truth()[0], color="#74b3e0", label="one sample")
        axes.axhline(1, color="#444444", linewidth=0.8)
        axes.set(title=maps.band_label(band), xlabel="wavelength (km)", xscale="log", yscale="log", ylim=(1e-3, 1e1))
        axes.invert_xaxis()
        axes.minorticks_off(), right.minorticks_off()
        _label_left(axes, "power over the truth's")
    lines = {line.get_label(): line for axes in panels for line in axes.lines if line.get_label()[0] != "_"}
    figure.legend(lines.values(), lines.keys(), loc="outside upper center", ncols=6, frameon=False, fontsize=9)
    return figure


def draw_detail(results: Results, example: Example, band: Band) -> Figure | None:
    """The middle of a tile on a grid finer than 2 km: the model at 2 km, the model, truth; else None."""
    if band.number not in example.predictions.get(COARSE, {}) or band.native_resolution_km >= FITTED_KM:
        return None
    size = len(example.lat) // 6
    middle = slice(2 * size, 3 * size)
    place = replace(example, lat=example.lat[middle], lon=example.lon[middle])
    fields = {method_name(method): example.predictions[method][band.number] for method in (COARSE, MODEL)}
    shown = {title: field[middle, middle] for title, field in (fields | {"truth": example.truth[band.number]}).items()}
    figure, panels = maps.new_figure(10.5, 3.8, len(shown))
    scale = maps.grey_scale(band, maps.value_range(list(shown.values())))
    for axes, (title, field) in zip(panels, shown.items(), strict=True):
        image = maps.show_map(axes, place, field, title, **scale)
    maps.add_colour_bar(image, panels, maps.unit_label(band))
    return figure


def draw_flicker(results: Results) -> Figure:
    """What changes from one time to the next over the truth's change, by band and method."""
    table = results.details.dropna(subset="change_ratio")
    bands = [band for band in results.scored_bands if band.number in set(table["band"])]
    figure, (axes,) = maps.new_figure(max(5.5, 1.5 + 0.6 * len(bands)), 3.2)
    shown = {method: table[table["method"] == method] for method in (MODEL, *results.shown_methods[1:], "band_copy")}
    for method, rows in shown.items():
        places = [[band.number for band in bands].index(number) for number in rows["band"]]
        colour, marker = _STYLES.get(method, _OTHER_STYLE)
        look = {"color": colour, "label": method_name(method), "zorder": 4 if method == MODEL else 2}
        axes.plot(places, rows["change_ratio"], marker, **look)
        if rows["change_ratio_sample"].notna().any():
            look = {"color": "#74b3e0", "label": "one sample", "zorder": 5, "markersize": 3}
            axes.plot(places, rows["change_ratio_sample"], "o", **look)
    axes.axhline(1, color="#444444", linewidth=0.8)
    axes.set_xticks(range(len(bands)), [f"{band.number}\n{band.wavelength:g}" for band in bands])
    axes.set(xlabel="band, µm", ylabel="RMS change over the truth's")
    axes.legend(frameon=False, fontsize=8, ncols=2)
    _plain(axes)
    return figure


def draw_reliability(results: Results) -> Figure:
    """Share of pixels within k standard deviations against a Gaussian's, a panel per band."""
    figure, panels = _small_multiples(len(results.calibrations))
    for axes, (number, calibration) in zip(panels, results.calibrations.items(), strict=True):
        gaussian, found = calibration.reliability()
        axes.plot([0, 1], [0, 1], color="#444444", linewidth=0.8)
        axes.plot(gaussian, found, color=colour_of(MODEL))
        axes.plot(gaussian[[10, 20]], found[[10, 20]], "o", color=colour_of(MODEL))  # one and two
        label = maps.band_label(results.band(number))
        axes.set(title=label, xlabel="share of a Gaussian", xlim=(0, 1), ylim=(0, 1), aspect="equal")
        _label_left(axes, "share of pixels")
    return figure


def draw_calibration(results: Results) -> Figure:
    """Error against the standard deviation, a panel per band; on the line it is calibrated."""
    figure, panels = _small_multiples(len(results.calibrations))
    for axes, (number, calibration) in zip(panels, results.calibrations.items(), strict=True):
        std, error = calibration.error_by_std()
        both = np.concatenate([std, error])
        ends = np.array([both.min() / 1.5, both.max() * 1.5]) if both.size else np.array([0.1, 1.0])
        axes.plot(ends, ends, color="#444444", linewidth=0.8)
        axes.plot(std, error, marker="o", markersize=3, color=colour_of(MODEL))
        band, mean = results.band(number), f"{calibration.scores()['std_to_error']:.2f} of the error"
        axes.set(title=f"{maps.band_label(band)}\n{mean}", xlabel=f"standard deviation ({band.unit})")
        axes.set(xscale="log", yscale="log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=6))
            axis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axis.set_minor_formatter(NullFormatter())
        _label_left(axes, "root mean square error")
    return figure
