"""The verb `evaluate`: score translations against what was measured, beside baselines, and write the report."""

import argparse
import shlex
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
from tqdm import tqdm

from satxlate_jax.errors import InputError
from satxlate_jax.evaluation.baselines import Baseline, make_baselines
from satxlate_jax.evaluation.comparison import Case, Comparison, find_comparison, read_bands, stack
from satxlate_jax.evaluation.density import JointHistogram
from satxlate_jax.evaluation.metrics import BandScore, data_range
from satxlate_jax.evaluation.report import write_report
from satxlate_jax.evaluation.results import COLUMNS, MODEL, Example, Results, per_file_rows, score_rows, write_csv
from satxlate_jax.observations.catalog import parse_numbers
from satxlate_jax.translation.translate import TileTranslator, load


def fit_baselines(comparison: Comparison) -> list[Baseline]:
    """The baselines, fitted on the target satellite's own files; files that cannot be read are passed over."""
    baselines = make_baselines(comparison.task)
    for file in tqdm(comparison.fit_files, desc="fit baselines", unit="file", disable=None):
        try:
            tile = read_bands(file, comparison.task.target_bands)
        except InputError as error:
            tqdm.write(f"not fitted on: {error}")
            continue
        values = stack(tile, comparison.task.target_bands)
        for baseline in baselines:
            baseline.fit_tile(values)
    for baseline in baselines:
        baseline.finish()
    return baselines


def evaluate(
    translator: TileTranslator, comparison: Comparison, *, pictures: int = 3, coastlines: bool = False
) -> Results:
    """Translates and scores every case; all methods on the same pixels: where the model and the truth have a value.

    Args:
      translator: the model.
      comparison: what to compare.
      pictures: how many cases to keep for pictures, spread evenly.
      coastlines: whether the pictures show them.

    Raises:
      InputError: no case had a pixel to score.
    """
    baselines = fit_baselines(comparison)
    results = Results(comparison, [MODEL, *(baseline.name for baseline in baselines)])
    n_cases = len(comparison.cases)
    for index, case in enumerate(tqdm(comparison.cases, desc="evaluate", unit="file", disable=None)):
        try:
            example = predict_case(translator, comparison, case, baselines)
        except InputError as error:
            results.left_out.append((case.source.path.name, str(error)))
            continue
        if example is None:
            reason = f"{case.truth.path.name} holds none of the bands to compare with"
            results.left_out.append((case.source.path.name, reason))
            continue
        results.per_file.append((case, count_in(results, example)))
        if len(results.examples) < pictures and index >= len(results.examples) * n_cases // max(pictures, 1):
            example.coastlines = coastlines
            results.examples.append(example)
    if not results.scored_bands:
        name, reason = results.left_out[0] if results.left_out else ("", "no pixel has both a translation and a truth")
        raise InputError(f"none of {n_cases} files could be scored; the first, {name or 'of all'}: {reason}")
    return results


def predict_case(
    translator: TileTranslator, comparison: Comparison, case: Case, baselines: Sequence[Baseline]
) -> Example | None:
    """All methods on one case; None where the truth file holds none of the bands to compare with."""
    task = comparison.task
    wanted = comparison.truth_bands
    if comparison.truth == "source":
        tile = truth = read_bands(case.source, [*task.source_bands, *wanted.values()])
    else:
        tile, truth = read_bands(case.source, task.source_bands), read_bands(case.truth, list(wanted.values()))
    truths = {ours: truth[f"BAND{theirs:02d}"].values for ours, theirs in wanted.items()}
    if not any(np.isfinite(values).any() for values in truths.values()):
        return None
    translated = translator.translate(tile, task.target, source=task.source)
    model = {number: translated[f"BAND{number:02d}"].values for number in wanted}
    predictions = {MODEL: model}
    x = stack(tile, task.source_bands)
    for baseline in baselines:
        values = baseline.predict(x)
        predictions[baseline.name] = {
            number: np.where(np.isfinite(model[number]), values[..., task.target_bands.index(number)], np.nan)
            for number in wanted
        }
    return Example(
        case=case,
        lat=tile["lat"].values,
        lon=tile["lon"].values,
        solar_zenith=tile["solar_zenith"].values if "solar_zenith" in tile else None,
        source={int(name[4:]): tile[name].values for name in tile.data_vars if str(name).startswith("BAND")},
        truth=truths,
        predictions=predictions,
    )


def count_in(results: Results, example: Example) -> dict[tuple[str, int], BandScore]:
    """Adds one case to the totals and histograms; returns its own scores."""
    scores = {}
    for method, fields in example.predictions.items():
        for number, prediction in fields.items():
            key, band, truth = (method, number), results.band(number), example.truth[number]
            scores[key] = BandScore(data_range(band)).update(prediction, truth)
            results.total.setdefault(key, BandScore(data_range(band))).merge(scores[key])
            if scores[key].n:
                results.histograms.setdefault(key, JointHistogram.of(band)).update(prediction, truth)
    return scores


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="satxlate evaluate",
        description="Score a run's translations against what was measured, beside baselines. Writes OUT/scores.csv, "
        "OUT/scores_per_file.csv, OUT/report.html (one page that opens offline) and OUT/figures/*.png.",
    )
    parser.add_argument("--checkpoint", required=True, metavar="RUN", help="a training run's folder (its --workdir)")
    parser.add_argument("--step", type=int, help="which checkpoint (default: the newest)")
    parser.add_argument("--l1g", required=True, metavar="ROOT", help="root of the tree of L1G files")
    parser.add_argument("--source", required=True, metavar="SATELLITE", help="translate from, such as G16")
    parser.add_argument("--target", required=True, metavar="SATELLITE", help="translate to, such as G17")
    parser.add_argument("--output", required=True, metavar="OUT", help="folder for scores, report and figures")
    parser.add_argument("--year", help="only these years, such as 2019")
    parser.add_argument("--days", help="only these days of the year, such as 32-53")
    parser.add_argument("--hours", help="only these hours (UTC), such as 0")
    parser.add_argument("--tiles", help="only these tiles, such as h09v03,h10v03")
    parser.add_argument(
        "--truth",
        choices=("coincident", "source"),
        default="coincident",
        help="compare with the target's file of the same tile and time (default), or with bands of the same instrument "
        "that the source's file holds and the network is not given",
    )
    parser.add_argument("--tolerance", type=float, default=0.0, metavar="MINUTES", help="of coincidence (default: 0)")
    parser.add_argument("--max_files", type=int, metavar="N", help="score only N files, drawn with --seed")
    parser.add_argument("--fit_files", type=int, default=64, metavar="N", help="fit baselines on at most N files (64)")
    parser.add_argument("--pictures", type=int, default=3, metavar="N", help="cases to show in pictures (3)")
    parser.add_argument("--coastlines", action="store_true", help="draw them (not for simulated scenes: invented land)")
    parser.add_argument("--seed", type=int, default=0, help="of the draws (0)")
    return parser


def main(argv: list[str]) -> None:
    """The verb `evaluate`."""
    options = _parser().parse_args(argv)
    translator = load(options.checkpoint, options.step)
    comparison = find_comparison(
        translator,
        options.l1g,
        options.source,
        options.target,
        truth=options.truth,
        tolerance=timedelta(minutes=options.tolerance),
        max_files=options.max_files,
        fit_files=options.fit_files,
        seed=options.seed,
        tiles=options.tiles.split(",") if options.tiles else None,
        years=parse_numbers(options.year) if options.year else None,
        days=parse_numbers(options.days) if options.days else None,
        hours=parse_numbers(options.hours) if options.hours else None,
    )
    output = Path(options.output)
    try:
        (output / "figures").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder '{output}': {error.strerror}; choose another --output") from error
    results = evaluate(translator, comparison, pictures=options.pictures, coastlines=options.coastlines)
    write_csv(score_rows(results, results.total), COLUMNS, output / "scores.csv")
    write_csv(per_file_rows(results), ("tile", "time", "file", *COLUMNS), output / "scores_per_file.csv")
    headline = write_report(results, translator, output, shlex.join(["satxlate", "evaluate", *argv]))
    print(headline)
    print(f"report: {output / 'report.html'}")
