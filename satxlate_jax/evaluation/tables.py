"""The numbers of an evaluation as rows, CSV and LaTeX."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from satxlate_jax import atomic
from satxlate_jax.evaluation.baselines.methods import MODEL, method_name
from satxlate_jax.evaluation.groups import ALL
from satxlate_jax.evaluation.metrics import AREA_FIGURES, FIGURES
from satxlate_jax.evaluation.ranking import DIGITS, rank
from satxlate_jax.evaluation.results import Results, Scores

KEYS = ("method", "source", "target", "band", "wavelength_um", "unit")
PIXEL_COLUMNS = (*KEYS, *FIGURES)
"""What every scores.csv holds; those of older evaluations end here."""
COLUMNS = (*PIXEL_COLUMNS, *AREA_FIGURES)
DETAILS = ("error_p50", "error_p90", "error_p99", "histogram_distance", "sharpness", "effective_resolution_km")


def score_rows(results: Results, scores: Scores) -> list[dict[str, Any]]:
    """Scores as rows with the columns of scores.csv, methods that have no answer for a band left out."""
    task = results.comparison.task
    order = {method: index for index, method in enumerate(results.methods)}
    rows = []
    for (method, number), score in sorted(scores.items(), key=lambda item: (item[0][1], order[item[0][0]])):
        if not score.n:
            continue
        band = results.band(number)
        row = {"method": method, "source": task.source, "target": task.target, "band": number}
        rows.append(row | {"wavelength_um": band.wavelength, "unit": band.unit} | score.figures())
    return rows


def per_file_rows(results: Results) -> list[dict[str, Any]]:
    """The scores of each file, with its tile, time and name before the columns of scores.csv."""
    rows = []
    for case, scores in results.per_file:
        first = {"tile": case.source.tile, "time": f"{case.source.time:%Y-%m-%dT%H:%M}Z", "file": case.source.path.name}
        rows += [first | row for row in score_rows(results, scores)]
    return rows


def group_rows(results: Results) -> list[dict[str, Any]]:
    """The scores of each group of pixels, with its name before the columns of scores.csv."""
    rows = []
    for group in results.groups:
        rows += [{"group": group} | row for row in score_rows(results, results.of_group(group))]
    return rows


def detail_rows(results: Results) -> list[dict[str, Any]]:
    """What scores.csv has no column for, by method and band.

    Returns:
      Rows with KEYS and DETAILS: percentiles of the size of the error and the distance of the two
      distributions (first Wasserstein distance) in the band's unit, to the width of a histogram's bin; sharpness, the
      ratio of output's to truth's power below 20 km; and the effective resolution in km.
    """
    rows = []
    for row in score_rows(results, results.total):
        key = row["method"], row["band"]
        histogram, spectrum = results.histograms[key], results.spectra[key]
        p50, p90, p99 = histogram.error_percentiles((50, 90, 99))
        details = (p50, p90, p99, histogram.distance(), spectrum.sharpness(), spectrum.effective_resolution())
        rows.append({column: row[column] for column in KEYS} | dict(zip(DETAILS, details, strict=True)))
    return rows


def latex_table(results: Results) -> str:
    """Model, best unpaired baseline and constant by band, as a LaTeX table (booktabs)."""
    task = results.comparison.task
    lines = [
        rf"% {task.source} to {task.target}; RMSE over all pixels of {len(results.per_file)} files",
        r"% needs \usepackage{booktabs}",
        r"\begin{tabular}{rrlrrlrr}",
        r"\toprule",
        r"band & $\lambda$ ($\mu$m) & unit & model & best unpaired baseline & & constant & SSIM \\",
        r"\midrule",
    ]
    for band in results.scored_bands:
        best, best_rmse = results.best_baseline(band.number)
        model = results.rmse(MODEL, band.number)
        numbers = [_latex_number(value) for value in (model, best_rmse, results.rmse("constant", band.number))]
        if rank(model, best_rmse)[0] in ("ahead", ""):
            numbers[0] = rf"\textbf{{{numbers[0]}}}"
        ssim = results.by_group[ALL, MODEL, band.number].figures()["ssim"]
        cells = (
            str(band.number),
            f"{band.wavelength:g}",
            band.unit,
            numbers[0],
            numbers[1],
            method_name(best) if best else "--",
        )
        lines.append(" & ".join((*cells, numbers[2], f"{ssim:.3f}")) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _latex_number(value: float) -> str:
    return "--" if math.isnan(value) else f"{value:#.3g}"


def write_csv(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], path: Path) -> None:
    """Writes rows; numbers with `DIGITS` significant digits."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_number(row[column]) for column in columns])
    atomic.write_text(path, text.getvalue())


def _number(value: Any) -> Any:
    return f"{value:.{DIGITS}g}" if isinstance(value, float) else value
