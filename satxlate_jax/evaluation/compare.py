"""`satxlate compare`: scores of many evaluations in one table, such as sixteen runs that each withhold a band.

Compared for each band of each evaluation are the root mean square error (RMSE) of the model and that of the best
baseline that is given no more than the model, that is, fitted without coincident pairs. Baselines fitted on pairs
(`sbaf`) are named in a column of their own and decide nothing. A model is ahead where its RMSE is smaller by more than
0.5 %. Only bands that the model had to synthesise count, those for which the scores know no band copy; with
`--all_bands` all do.
"""

import argparse
import csv
import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from satxlate_jax.cli import InputError
from satxlate_jax.evaluation.baselines import BASELINES, MODEL, PAIRED, REGRESSIONS, method_name
from satxlate_jax.evaluation.maps import new_figure, save_figure
from satxlate_jax.evaluation.plots import colour_of
from satxlate_jax.evaluation.results import PIXEL_COLUMNS, best_baseline, compare, rank_methods, write_csv

OUTPUT_COLUMNS = [
    *("run", "source", "target", "band", "wavelength_um", "unit", "n", "model", "best", "best_name", "linear"),
    *("quadratic", "ratio", "outcome", "paired", "paired_name", "model_bias", "model_correlation"),
]


def read_scores(folder: str | Path, run: str, *, all_bands: bool = False) -> pd.DataFrame:
    """The bands of one evaluation from FOLDER/scores.csv: `OUTPUT_COLUMNS` and the RMSE of all methods by their names.

    With `all_bands` also those of which the network was given a counterpart. InputError where none count.
    """
    path = Path(folder) / "scores.csv"
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, UnicodeDecodeError, csv.Error, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(
            f"'{folder}' holds no scores.csv that can be read; give the --output of `satxlate evaluate`"
        ) from error
    if missing := [name for name in PIXEL_COLUMNS if name not in table]:
        raise InputError(f"'{path}' has no column '{missing[0]}'; it is not what `satxlate evaluate` writes")
    try:
        table = table.astype({"band": int, "rmse": float})
        methods = list(dict.fromkeys([MODEL, *BASELINES, *table["method"]]))
        rmse = table.pivot(index="band", columns="method", values="rmse").reindex(columns=methods)
    except ValueError as error:
        raise InputError(f"'{path}' holds a band or an rmse that is no number; evaluate again") from error
    scored = rmse[MODEL].notna() if all_bands else rmse[MODEL].notna() & rmse["band_copy"].isna()
    if not scored.any():
        raise InputError(
            f"'{path}' scores no band that the model had to synthesise; say --all_bands to compare those it was given"
        )
    model = table[table["method"] == MODEL].set_index("band").drop(columns=["method", "rmse"])
    model = model.rename(columns={"bias": "model_bias", "correlation": "model_correlation"})
    ranking = rank_methods(rmse[scored])
    return ranking.join(rmse.drop(columns=MODEL)).join(model).assign(run=run).reset_index()


def read_all(folders: Sequence[str | Path], *, all_bands: bool = False) -> pd.DataFrame:
    """The bands of many evaluations, in the order of band, then of the folders; see `read_scores`."""
    places = [Path(folder).resolve() for folder in folders]
    twice = [folder for folder, place in zip(folders, places, strict=True) if places.count(place) > 1]
    if twice:
        raise InputError(f"'{twice[0]}' is given twice; give each evaluation once")
    names = [place.name for place in places]
    if len(set(names)) < len(names):
        names = [str(Path(folder)) for folder in folders]  # such as RUN1/scores, RUN2/scores
    tables = [read_scores(*pair, all_bands=all_bands) for pair in zip(folders, names, strict=True)]
    return pd.concat(tables, ignore_index=True).sort_values("band", kind="stable", ignore_index=True)


def describe(table: pd.DataFrame) -> list[str]:
    """In how many bands the model is ahead, and of what, in sentences."""
    rivals = {
        "the best unpaired baseline": table["best"],
        "the best regression (linear, quadratic, trees, CNN)": best_baseline(table[list(REGRESSIONS)])[1],
    }
    for name in ("linear", "quadratic", *PAIRED):
        rivals[f"{method_name(name)}{' (given more than the model)' * (name in PAIRED)}"] = table[name]
    sentences = []
    for words, rmse in rivals.items():
        outcomes = list(compare(table[MODEL], rmse)[0])
        if any(outcomes):
            counted, equal = len(outcomes) - outcomes.count(""), outcomes.count("equal")
            equals = f", equal within 0.5 % in {equal}" if equal else ""
            sentences.append(f"ahead of {words} in {outcomes.count('ahead')} of {counted}{equals}")
    behind = table[table["outcome"] == "behind"]
    if len(behind):
        bands = (f"{row.band} ({method_name(row.best_name)})" for row in behind.itertuples())
        sentences.append(f"behind the best unpaired baseline in band {', '.join(bands)}")
    return sentences


def print_table(table: pd.DataFrame) -> None:
    """Print the table, then the sentences."""
    columns = ["band", "wavelength_um", "unit", "model", "best", "best_name", "linear", "quadratic", "ratio", "outcome"]
    heads = ("band", "um", "unit", "model", "best unpaired", "", "linear", "quadratic", "ratio", "", "run")
    shown = table.assign(best_name=table["best_name"].map(method_name))[[*columns, "run"]].set_axis(heads, axis=1)
    print(shown.to_string(index=False, na_rep="-", float_format="{:.4g}".format))
    print("RMSE in the band's unit, every pixel counted alike; ratio: the model's over the best unpaired baseline's")
    for sentence in describe(table):
        print(sentence)


def draw_ratios(table: pd.DataFrame) -> Figure:
    """A bar per band: the model's RMSE over that of the best unpaired baseline; regressions as marks."""
    figure, (axes,) = new_figure(max(7.5, 1.6 + 0.62 * len(table)), 4.2)
    places = range(len(table))
    colours = [colour_of(MODEL) if outcome == "ahead" else "#b9c4cf" for outcome in table["outcome"]]
    axes.bar(places, table["ratio"], color=colours, width=0.7, label="over the best unpaired baseline")
    for name, marker in (("linear", "o"), ("quadratic", "D"), *((name, "X") for name in PAIRED)):
        ratio = compare(table[MODEL], table[name])[1]
        if ratio.notna().any():
            axes.plot(places, ratio, marker, color=colour_of(name), label=f"over {method_name(name)}", markersize=6)
    axes.axhline(1, color="#444444", linewidth=1)
    labels = table["band"].astype(str) + "\n" + table["wavelength_um"].astype(float).map("{:g} µm".format)
    labels += ("\n" + table["run"]).where(table["band"].duplicated(keep=False), "")  # several runs scored that band
    axes.set_xticks(places, labels)
    top = max(filter(math.isfinite, table["ratio"]), default=1.0)
    axes.set(ylabel="model's RMSE over another's", xlabel="band; below the line the model is ahead")
    axes.set_ylim(0, max(1.2, min(1.15 * top, 5.0)))
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=2 if len(table) < 12 else 4, frameon=False, fontsize=9)
    return figure


def main(options: argparse.Namespace) -> None:
    """Run the subcommand `compare`."""
    table = read_all(options.scores, all_bands=options.all_bands)
    output = Path(options.output)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write to '{output}': {error.strerror}; choose another --output") from error
    write_csv(table[OUTPUT_COLUMNS], output / "comparison.csv")
    save_figure(draw_ratios(table), output / "comparison.png")
    print_table(table)
    print(f"table: {output / 'comparison.csv'}, bars: {output / 'comparison.png'}")
