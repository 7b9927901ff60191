"""What an evaluation found: scores in total and per file, examples for pictures, and their tables."""

import csv
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from satxlate_jax.evaluation.baselines import has_partner
from satxlate_jax.evaluation.comparison import Case, Comparison
from satxlate_jax.evaluation.density import JointHistogram
from satxlate_jax.evaluation.metrics import FIGURES, BandScore
from satxlate_jax.observations.satellites import Band, get_satellite

MODEL = "model"
COLUMNS = ("method", "source", "target", "band", "wavelength_um", "unit", *FIGURES)
METHOD_NAMES = {
    "model": "model",
    "linear": "linear regression",
    "band_copy": "band copy",
    "constant": "constant",
}
"""How methods are called in words."""

Scores = dict[tuple[str, int], BandScore]  # (method, target band)


@dataclass
class Example:
    """One scored case, kept for pictures.

    Attributes:
      case: its files.
      lat: [h] degrees north, north to south.
      lon: [w] degrees east.
      solar_zenith: [h, w] degrees, or None.
      source: source's band -> [h, w], every band that was read.
      truth: target's band -> [h, w].
      predictions: method -> target's band -> [h, w].
      coastlines: whether pictures show them.
    """

    case: Case
    lat: np.ndarray
    lon: np.ndarray
    solar_zenith: np.ndarray | None
    source: Mapping[int, np.ndarray]
    truth: Mapping[int, np.ndarray]
    predictions: Mapping[str, Mapping[int, np.ndarray]]
    coastlines: bool = False


@dataclass
class Results:
    """What an evaluation found.

    Attributes:
      comparison: what was compared.
      methods: the model first, then the baselines.
      total: over all files.
      per_file: of each file that had something to score.
      histograms: (method, band) -> joint histogram of prediction and truth, over all files.
      examples: some cases with their fields.
      left_out: file name and reason of cases that could not be scored.
    """

    comparison: Comparison
    methods: Sequence[str]
    total: Scores = field(default_factory=dict)
    per_file: list[tuple[Case, Scores]] = field(default_factory=list)
    histograms: dict[tuple[str, int], JointHistogram] = field(default_factory=dict)
    examples: list[Example] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)

    def band(self, number: int) -> Band:
        """The target's band of that number."""
        return get_satellite(self.comparison.task.target).band(number)

    @property
    def scored_bands(self) -> list[Band]:
        """Bands for which the model was scored on at least one pixel."""
        numbers = sorted({number for (method, number), score in self.total.items() if method == MODEL and score.n})
        return [self.band(number) for number in numbers]

    def rmse(self, method: str, band: int) -> float:
        """Root mean square error in the band's unit, NaN where the method has no answer."""
        score = self.total.get((method, band))
        return score.figures()["rmse"] if score else math.nan

    def is_synthesised(self, band: int) -> bool:
        """Whether the network was given no band of that wavelength."""
        return not has_partner(self.comparison.task, band)

    def best_baseline(self, band: int) -> tuple[str, float]:
        """The baseline of the smallest RMSE in that band, and its RMSE; ('', NaN) where none has an answer."""
        best, smallest = "", math.nan
        for method in self.methods[1:]:
            rmse = self.rmse(method, band)
            # equal but for rounding (a regression on the band itself) leaves the simpler one, which comes first
            if not best and not math.isnan(rmse) or rmse < smallest * (1 - 1e-4) - 1e-6:
                best, smallest = method, rmse
        return best, smallest


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


def write_csv(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], path: Path) -> None:
    """Writes rows under a temporary name, then renames it; numbers with seven significant digits."""
    temporary = path.with_name(f".{path.name}.part")
    with temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in rows:
            writer.writerow([_number(row[column]) for column in columns])
    os.replace(temporary, path)


def _number(value: Any) -> Any:
    return f"{value:.7g}" if isinstance(value, float) else value
