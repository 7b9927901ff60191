"""The verb `compare`: the scores of many evaluations in one table, such as the sixteen runs that each hide a band.

What is compared, for each band of each evaluation: the root mean square error (RMSE) of the model and that of the
best baseline that is given no more than the model, that is, fitted without coincident pairs. Baselines fitted on pairs
(`sbaf`) are named in a column of their own and decide nothing. A model is ahead where its RMSE is smaller by more than
0.5 %. Only bands that the model had to synthesise count, those for which the scores know no band copy; with
`--all_bands` all do.
"""

import argparse
import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from satxlate_jax.cli import CommandParser, InputError, user_path
from satxlate_jax.evaluation.baselines.methods import MODEL, PAIRED, SLOW, method_name
from satxlate_jax.evaluation.curves import colour_of
from satxlate_jax.evaluation.figures import save_figure
from satxlate_jax.evaluation.maps import TEXT, new_figure
from satxlate_jax.evaluation.ranking import best_baseline, rank
from satxlate_jax.evaluation.tables import PIXEL_COLUMNS, write_csv

_REGRESSIONS = ("linear", "quadratic", *SLOW)
OUTPUT_COLUMNS = (
    *("run", "source", "target", "band", "wavelength_um", "unit", "n", "model", "best", "best_name", "linear"),
    *("quadratic", "ratio", "outcome", "paired", "paired_name", "model_bias", "model_correlation"),
)


@dataclass(frozen=True)
class BandOutcome:
    """One band of one evaluation.

    Attributes:
      run: name of the evaluation's folder, as short as tells it from the others.
      row: the model's row of its scores.csv: source, target, band, wavelength_um (micrometres), unit, n, bias, ...
      rmse: method -> RMSE in the band's unit, the model's too.
    """

    run: str
    row: Mapping[str, str]
    rmse: Mapping[str, float] = field(default_factory=dict)

    @property
    def band(self) -> int:
        """The target's band, 1-based."""
        return int(self.row["band"])

    def best(self, *, paired: bool = False) -> tuple[str, float]:
        """The best baseline, among the unpaired or the paired ones, and its RMSE; ('', NaN) where there is none."""
        return best_baseline(self.rmse, paired=paired)

    def ratio(self, rmse: float) -> float:
        """The model's RMSE over another method's; 1 where both are 0."""
        return 1 + rank(self.rmse[MODEL], rmse)[1]

    def outcome(self, rmse: float) -> str:
        """'ahead', 'equal' (within 0.5 %) or 'behind' of a method of that RMSE; '' where that is NaN."""
        return rank(self.rmse[MODEL], rmse)[0]

    def cells(self) -> dict[str, Any]:
        """As a row of comparison.csv."""
        (best, best_rmse), (paired, paired_rmse) = self.best(), self.best(paired=True)
        names = ("source", "target", "band", "wavelength_um", "unit", "n")
        return {
            "run": self.run,
            **{name: self.row[name] for name in names},
            "model": self.rmse[MODEL],
            "best": best_rmse,
            "best_name": best,
            "linear": self.rmse.get("linear", math.nan),
            "quadratic": self.rmse.get("quadratic", math.nan),
            "ratio": self.ratio(best_rmse),
            "outcome": self.outcome(best_rmse),
            "paired": paired_rmse,
            "paired_name": paired,
            "model_bias": self.row["bias"],
            "model_correlation": self.row["correlation"],
        }


def read_outcomes(folder: str | Path, run: str, *, all_bands: bool = False) -> list[BandOutcome]:
    """The bands of one evaluation, from FOLDER/scores.csv.

    Args:
      folder: what `evaluate` was given as --output.
      run: what to call it.
      all_bands: also those bands of which the network was given a counterpart.

    Raises:
      InputError: the folder holds no scores, or none that count.
    """
    path = Path(folder) / "scores.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows, columns = list(reader), tuple(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"'{folder}' holds no scores.csv that can be read; give the --output of `satxlate evaluate`"
        ) from error
    if missing := [name for name in PIXEL_COLUMNS if name not in columns]:
        raise InputError(f"'{path}' has no column '{missing[0]}'; it is not what `satxlate evaluate` writes")
    try:
        rmse = {(row["method"], int(row["band"])): float(row["rmse"]) for row in rows}
    except (ValueError, TypeError) as error:
        raise InputError(f"'{path}' holds a band or an rmse that is no number; evaluate again") from error
    outcomes = []
    for row in (row for row in rows if row["method"] == MODEL):
        number = int(row["band"])
        if all_bands or ("band_copy", number) not in rmse:
            own = {method: value for (method, band), value in rmse.items() if band == number}
            outcomes.append(BandOutcome(run, row, own))
    if not outcomes:
        raise InputError(
            f"'{path}' scores no band that the model had to synthesise; say --all_bands to compare those it was given"
        )
    return outcomes


def read_all(folders: Sequence[str | Path], *, all_bands: bool = False) -> list[BandOutcome]:
    """The bands of many evaluations, in the order of band, then of the folders.

    Raises:
      InputError: as `read_outcomes`, or a folder is given twice.
    """
    places = [Path(folder).resolve() for folder in folders]
    twice = [folder for folder, place in zip(folders, places, strict=True) if places.count(place) > 1]
    if twice:
        raise InputError(f"'{twice[0]}' is given twice; give each evaluation once")
    names = [place.name for place in places]
    if len(set(names)) < len(names):
        names = [str(Path(folder)) for folder in folders]  # such as RUN1/scores, RUN2/scores
    outcomes = [
        outcome
        for folder, name in zip(folders, names, strict=True)
        for outcome in read_outcomes(folder, name, all_bands=all_bands)
    ]
    return sorted(outcomes, key=lambda outcome: outcome.band)


def describe(outcomes: Sequence[BandOutcome]) -> list[str]:
    """How often the model is ahead, and of what, in sentences."""
    sentences = []
    rivals = {
        "the best unpaired baseline": [outcome.best()[1] for outcome in outcomes],
        "the best regression (linear, quadratic, trees, CNN)": [
            best_baseline({name: outcome.rmse.get(name, math.nan) for name in _REGRESSIONS})[1] for outcome in outcomes
        ],
        **{
            f"{method_name(name)}{' (given more than the model)' * (name in PAIRED)}": [
                outcome.rmse.get(name, math.nan) for outcome in outcomes
            ]
            for name in ("linear", "quadratic", *PAIRED)
        },
    }
    for words, rmse in rivals.items():
        results = [outcome.outcome(value) for outcome, value in zip(outcomes, rmse, strict=True)]
        counted = sum(result != "" for result in results)
        if counted:
            equal = results.count("equal")
            sentences.append(
                f"ahead of {words} in {results.count('ahead')} of {counted}"
                + (f", equal within 0.5 % in {equal}" if equal else "")
            )
    behind = [f"{o.band} ({method_name(o.best()[0])})" for o in outcomes if o.outcome(o.best()[1]) == "behind"]
    if behind:
        sentences.append(f"behind the best unpaired baseline in band {', '.join(behind)}")
    return sentences


def print_table(outcomes: Sequence[BandOutcome]) -> None:
    """The table on the screen, then the sentences."""
    heads = ("band", "um", "unit", "model", "best unpaired", "", "linear", "quadratic", "ratio", "", "run")
    lines = [heads]
    for outcome in outcomes:
        cells = outcome.cells()
        numbers = {name: _short(cells[name]) for name in ("model", "best", "linear", "quadratic", "ratio")}
        lines.append(
            (
                *(str(outcome.band), cells["wavelength_um"], cells["unit"], numbers["model"], numbers["best"]),
                *(method_name(cells["best_name"]), numbers["linear"], numbers["quadratic"], numbers["ratio"]),
                *(cells["outcome"], outcome.run),
            )
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    print("RMSE in the band's unit, every pixel counted alike; ratio: the model's over the best unpaired baseline's")
    for sentence in describe(outcomes):
        print(sentence)


def _short(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4g}"


def draw_ratios(outcomes: Sequence[BandOutcome]) -> Figure:
    """A bar per band: the model's RMSE over that of the best unpaired baseline; regressions as marks."""
    figure = new_figure(max(7.5, 1.6 + 0.62 * len(outcomes)), 4.2)
    axes = figure.subplots()
    places = range(len(outcomes))
    rivals = [outcome.best()[1] for outcome in outcomes]
    ratios = [outcome.ratio(rmse) for outcome, rmse in zip(outcomes, rivals, strict=True)]
    ahead = [outcome.outcome(rmse) == "ahead" for outcome, rmse in zip(outcomes, rivals, strict=True)]
    colours = [colour_of(MODEL) if leads else "#b9c4cf" for leads in ahead]
    axes.bar(places, ratios, color=colours, width=0.7, label="over the best unpaired baseline")
    for name, marker in (("linear", "o"), ("quadratic", "D"), *((name, "X") for name in PAIRED)):
        values = [outcome.ratio(outcome.rmse.get(name, math.nan)) for outcome in outcomes]
        if not all(map(math.isnan, values)):
            axes.plot(places, values, marker, color=colour_of(name), label=f"over {method_name(name)}", markersize=6)
    axes.axhline(1, color="#444444", linewidth=1)
    # The runs' names tell apart bands that several evaluations scored.
    numbers = [outcome.band for outcome in outcomes]
    labels = [
        f"{o.band}\n{float(o.row['wavelength_um']):g} µm" + (f"\n{o.run}" if numbers.count(o.band) > 1 else "")
        for o in outcomes
    ]
    axes.set_xticks(places, labels, fontsize=8)
    axes.set_ylabel("model's RMSE over another's", **TEXT)
    axes.set_xlabel("band; below the line the model is ahead", **TEXT)
    top = max((ratio for ratio in ratios if math.isfinite(ratio)), default=1.0)
    axes.set_ylim(0, max(1.2, min(1.15 * top, 5.0)))
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=2 if len(outcomes) < 12 else 4, frameon=False, **TEXT)
    return figure


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="satxlate compare",
        description="Collect the scores of many evaluations, such as one per hidden band: the model's RMSE against the "
        "best baseline that is given no more than it, and in how many bands it is ahead. Only bands that the network "
        "had to synthesise count. Writes DIR/comparison.csv and DIR/comparison.png.",
    )
    parser.add_argument(
        "scores", type=user_path, nargs="+", metavar="OUT", help="folders that `satxlate evaluate` wrote as --output"
    )
    parser.add_argument(
        "--output", type=user_path, required=True, metavar="DIR", help="folder for comparison.csv and comparison.png"
    )
    parser.add_argument("--all_bands", action="store_true", help="also bands that the network was given")
    return parser


def main(argv: list[str]) -> None:
    """The verb `compare`."""
    options = _parser().parse_args(argv)
    outcomes = read_all(options.scores, all_bands=options.all_bands)
    output = Path(options.output)
    try:
        output.mkdir(parents=True, exist_ok=True)
        write_csv([outcome.cells() for outcome in outcomes], OUTPUT_COLUMNS, output / "comparison.csv")
    except OSError as error:
        raise InputError(f"cannot write to '{output}': {error.strerror}; choose another --output") from error
    save_figure(draw_ratios(outcomes), output / "comparison.png")
    print_table(outcomes)
    print(f"table: {output / 'comparison.csv'}, bars: {output / 'comparison.png'}")
