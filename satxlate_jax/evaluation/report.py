"""One HTML page that says how good each band is, beginning with what reads in a minute."""

import json
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from satxlate_jax import __version__, atomic
from satxlate_jax.evaluation import maps
from satxlate_jax.evaluation import plots as pictures
from satxlate_jax.evaluation.baselines.methods import MODEL, method_name
from satxlate_jax.evaluation.figures import Figures
from satxlate_jax.evaluation.metrics import FIGURES
from satxlate_jax.evaluation.report_diagnostics import (
    has_groups,
    render_consistency,
    render_groups,
    render_sharpness,
    render_uncertainty,
)
from satxlate_jax.evaluation.report_page import Marked, escape, format_number, render_page, render_table
from satxlate_jax.evaluation.results import Results
from satxlate_jax.evaluation.tables import per_file_rows, score_rows
from satxlate_jax.evaluation.verdict import (
    compare,
    describe_area,
    describe_fit,
    describe_truth,
    describe_verdict,
    headline,
)
from satxlate_jax.instruments import Band
from satxlate_jax.translation.translate import TileTranslator

_FIGURE_HEADS = {
    "n": "pixels",
    "bias": "bias",
    "mae": "MAE",
    "rmse": "RMSE",
    "psnr": "PSNR (dB)",
    "ssim": "SSIM",
    "correlation": "correlation",
}
_AREA_HEADS = {f"{name}_area": f"{_FIGURE_HEADS[name]} by area" for name in FIGURES[1:]}
_COUNTING = (
    "All numbers and figures here count every pixel alike, unless they are said to be by area: then a pixel of the "
    "grid in degrees weighs as much as the cosine of its latitude, as its area does."
)

_MAPS = 8  # error maps of bands to show, more only if there are more bands: each takes half a second and 200 kB
_EXACT = ("band", "wavelength", "wavelength_um")


def write_report(results: Results, translator: TileTranslator, folder: Path, command: str) -> list[str]:
    """Writes FOLDER/report.html and FOLDER/figures/*.png.

    Args:
      results: what the evaluation found.
      translator: the model, for its settings.
      folder: where; it and its folder figures exist.
      command: what makes this report again.

    Returns:
      The names of figures that could not be drawn; the report says why.
    """
    figures = Figures(folder / "figures")
    task = results.comparison.task
    title = f"{task.source} to {task.target}: how good is each band?"
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="soft">Run {escape(translator.run)}, step {translator.step}; {len(results.per_file)} files scored; '
        f"made {now} by satxlate_jax {__version__}.</p>",
        '<nav><a href="#summary">Summary</a><a href="#pictures">Pictures</a><a href="#bands">Band by band</a>'
        '<a href="#groups">Where</a><a href="#sharpness">Sharpness</a><a href="#consistency">Consistency</a>'
        '<a href="#scores">All scores</a><a href="#files">File by file</a><a href="#settings">Settings</a></nav>',
        _summary(results, figures),
        _pictures(results, figures),
        _bands(results, figures),
        render_groups(results) if has_groups(results) else "",
        render_sharpness(results, figures),
        render_consistency(results),
        render_uncertainty(results, figures),
        _scores(results),
        _files(results),
        _settings(results, translator, command),
    ]
    atomic.write_text(folder / "report.html", render_page(title, "\n".join(body)))
    return figures.failed


def _summary(results: Results, figures: Figures) -> str:
    rows = []
    for band in results.scored_bands:
        best, best_rmse = results.best_baseline(band.number)
        winner, change = compare(results, band.number)
        rows.append(
            {
                "band": band.number,
                "wavelength": band.wavelength,
                "given": "no" if results.is_synthesised(band.number) else "yes",
                "unit": band.unit,
                "model": results.rmse(MODEL, band.number),
                "best": method_name(best),
                "best_rmse": best_rmse,
                "model_area": results.rmse(MODEL, band.number, by_area=True),
                "best_area": results.rmse(best, band.number, by_area=True),
                "constant": results.rmse("constant", band.number),
                "paired": results.best_baseline(band.number, paired=True)[1],
                "verdict": Marked.of(*describe_verdict(winner, change)),
            }
        )
    columns = {
        "band": "band",
        "wavelength": "µm",
        "given": "given?",
        "unit": "unit",
        "model": "model RMSE",
        "best": "best unpaired baseline",
        "best_rmse": "its RMSE",
        "verdict": "verdict",
        "model_area": "model RMSE by area",
        "best_area": "best's by area",
        "constant": "constant",
        "paired": "SBAF (paired)",
    }
    if all(np.isnan(row["paired"]) for row in rows):
        del columns["paired"]
    caption = "RMSE by band and method, all files, the same pixels for every method; further left is better."
    given = (
        f"Given: whether {results.comparison.task.source}'s input holds a band of that wavelength. RMSE in the band's "
        "unit over all files. The best baseline is the one of the smallest RMSE among those "
        "that are fitted without pairs, as the model is; the verdict is against it. Every method's output is limited "
        "to the band's valid range, and all are scored on the same pixels."
    )
    return (
        '<h2 id="summary">Summary</h2><section>'
        f'<p class="headline">{escape(headline(results))}</p>{render_table(rows, columns, exact=_EXACT)}'
        f'<p class="soft">{escape(given)}</p><p class="soft">{escape(f"{_COUNTING} {describe_area(results)}")}</p>'
        + figures.draw(lambda: pictures.draw_overview(results), "overview", caption)
        + f"<p>{escape(describe_truth(results))}</p><p>{escape(describe_fit(results))}</p></section>"
    )


def _pictures(results: Results, figures: Figures) -> str:
    parts = ['<h2 id="pictures">Pictures</h2><section>']
    for index, example in enumerate(results.examples):
        caption = (
            f"{example.case.source.path.name}. Where no true colour is possible (night, or bands missing) the band "
            "named above each picture; one grey scale for pictures of the same band; what is missing is hatched."
        )
        draw = partial(pictures.draw_quicklook, results, example)
        parts.append(figures.draw(draw, f"quicklook_{index + 1}", caption))
    return "".join(parts) + "</section>"


def _bands(results: Results, figures: Figures) -> str:
    parts = ['<h2 id="bands">Band by band</h2>']
    shown = results.examples[: max(1, _MAPS // len(results.scored_bands))]
    for band in results.scored_bands:
        parts.append(f"<section><h3>{escape(_band_title(results, band))}</h3>")
        for index, example in enumerate(shown):
            name = f"band{band.number:02d}_map_{index + 1}"
            caption = "Both errors share one scale (99th percentile of their size)."
            if _has_truth(example, band):
                parts.append(figures.draw(partial(pictures.draw_band_maps, results, example, band), name, caption))
        caption = "Predicted against observed, pixels of all files; the line is equality."
        draw = partial(pictures.draw_scatter, results, band)
        parts.append(figures.draw(draw, f"band{band.number:02d}_scatter", caption))
        parts.append("</section>")
    return "".join(parts)


def _has_truth(example: Any, band: Band) -> bool:
    return bool((np.isfinite(example.truth[band.number]) & np.isfinite(example.predictions[MODEL][band.number])).any())


def _band_title(results: Results, band: Band) -> str:
    winner, change = compare(results, band.number)
    unit = " K" if band.unit == "K" else ""
    rmse = format_number(results.rmse(MODEL, band.number), 3)
    name = f"{results.comparison.task.target} {maps.band_label(band)}"
    return f"{name}: model RMSE {rmse}{unit}, {describe_verdict(winner, change)[0]}"


def _scores(results: Results) -> str:
    rows = score_rows(results, results.total)
    for row in rows:
        row["method"] = method_name(row["method"])
    columns = {"band": "band", "wavelength_um": "µm", "method": "method", "unit": "unit"} | _FIGURE_HEADS
    columns |= _AREA_HEADS
    notes = (
        "Bias is prediction minus observation; bias, MAE and RMSE in the band's unit. PSNR refers to a range of 1.6 "
        "(reflectance) and 200 K, as published, and to the RMSE over all pixels. SSIM: Gaussian window of 1.5 pixels "
        "cut at 11 x 11, the same ranges, mean over pixels. By area: the same, each pixel weighted by its area. Click "
        "a head to sort. The same numbers are in scores.csv."
    )
    table = render_table(rows, columns, exact=_EXACT)
    return f'<h2 id="scores">All scores</h2><section>{table}<p class="soft">{escape(notes)}</p></section>'


def _files(results: Results) -> str:
    rows = [row for row in per_file_rows(results) if row["method"] in results.shown_methods][:2000]
    for row in rows:
        row["method"] = method_name(row["method"])
    columns = {"tile": "tile", "time": "time (UTC)", "band": "band", "method": "method", "unit": "unit"} | _FIGURE_HEADS
    parts = [f'<h2 id="files">File by file</h2><section>{render_table(rows, columns, exact=_EXACT)}']
    shown = escape(" and ".join(map(method_name, results.shown_methods)).capitalize())
    parts.append(f'<p class="soft">{shown}; every method is in scores_per_file.csv.</p>')
    if results.left_out:
        left_out = "\n".join(f"{name}: {reason}" for name, reason in results.left_out[:200])
        count = f"{len(results.left_out)} file{'s' * (len(results.left_out) > 1)} could not be scored"
        parts.append(f"<details><summary>{count}</summary><pre>{escape(left_out)}</pre></details>")
    return "".join(parts) + "</section>"


def _settings(results: Results, translator: TileTranslator, command: str) -> str:
    comparison = results.comparison
    versions = {"python": platform.python_version(), "satxlate_jax": __version__}
    versions |= {package: version(package) for package in ("jax", "flax", "numpy", "xarray", "matplotlib")}
    settings: dict[str, Any] = {
        "run": translator.run,
        "step": translator.step,
        "source": {comparison.task.source: list(comparison.task.source_bands)},
        "target": {comparison.task.target: list(comparison.task.target_bands)},
        "truth": comparison.truth,
        "bands compared (target: band of the truth file)": dict(comparison.truth_bands),
        "checkpoint": translator.facts,
        "versions here": versions,
    }
    files = {
        "scored": [_case_words(case.source, case.truth) for case, _ in results.per_file],
        "baselines fitted on": [file.path.name for file in comparison.fit_files],
    }
    return (
        '<h2 id="settings">Settings</h2><section><p>This report again:</p>'
        f"<pre>{escape(command)}</pre>"
        f"<details open><summary>Model and comparison</summary><pre>{_json(settings)}</pre></details>"
        f"<details><summary>Files</summary><pre>{_json(files)}</pre></details></section>"
    )


def _case_words(source: Any, truth: Any) -> str:
    return source.path.name if source == truth else f"{source.path.name} against {truth.path.name}"


def _json(value: Mapping[str, Any]) -> str:
    return escape(json.dumps(value, indent=1, default=str))
