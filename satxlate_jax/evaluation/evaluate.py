"""The verb `evaluate`: score translations against what was measured, beside baselines, and write the report."""

import argparse
import dataclasses
import shlex
from datetime import timedelta
from pathlib import Path
from typing import Any

from satxlate_jax import atomic
from satxlate_jax.archive.catalog import parse_numbers
from satxlate_jax.cli import CommandParser, InputError, at_least, parse_names, user_path
from satxlate_jax.evaluation import tables
from satxlate_jax.evaluation.baselines.methods import BASELINES, SLOW, make_baselines
from satxlate_jax.evaluation.cases import Comparison, find_comparison
from satxlate_jax.evaluation.report import write_report
from satxlate_jax.evaluation.results import Results
from satxlate_jax.evaluation.scoring import evaluate
from satxlate_jax.evaluation.sums import NAME, write_sums
from satxlate_jax.evaluation.verdict import headline
from satxlate_jax.geometry import parse_tiles
from satxlate_jax.translation.archive import FAILURES, write_failures
from satxlate_jax.translation.translate import load

PRESETS = {"paper": {"years": (2019,), "days": tuple(range(32, 54)), "hours": (0,), "minutes": (0,)}}
"""The paper's coincident test files: 2019, days 32 to 53, 00:00 UTC (Vandal et al. 2021)."""


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="satxlate evaluate",
        description="Score a run's translations against what was measured, beside baselines. Writes OUT/report.html (a "
        "page that opens offline), OUT/scores.csv, scores by file and by group of pixels, further figures and a LaTeX "
        "table beside it, OUT/figures/*.png, OUT/sums.npz for `satxlate pool`, and OUT/failures.jsonl: files that "
        "could not be scored.",
    )
    parser.add_argument(
        "--checkpoint", type=user_path, required=True, metavar="RUN", help="a training run's folder (its --workdir)"
    )
    parser.add_argument("--step", type=int, help="which checkpoint (default: the newest)")
    parser.add_argument("--l1g", type=user_path, required=True, metavar="ROOT", help="root of the tree of L1G files")
    parser.add_argument("--source", required=True, metavar="SATELLITE", help="translate from, such as G16")
    parser.add_argument("--target", required=True, metavar="SATELLITE", help="translate to, such as G17")
    parser.add_argument(
        "--output", type=user_path, required=True, metavar="OUT", help="folder for scores, report and figures"
    )
    files = parser.add_argument_group("which files")
    files.add_argument("--preset", choices=PRESETS, help="paper: 2019, days 32-53, 00:00 UTC; other filters narrow it")
    files.add_argument("--year", help="only these years, such as 2019")
    files.add_argument("--days", help="only these days of the year, such as 32-53")
    files.add_argument("--hours", help="only these hours (UTC), such as 0")
    files.add_argument("--tiles", help="only these tiles, such as h09v03,h10v03")
    files.add_argument("--max_files", type=at_least(1), metavar="N", help="score only N files, drawn with --seed")
    files.add_argument(
        "--part", type=_part, metavar="K/N", help="score only the Kth of N parts of these files, 1/N to N/N; see `pool`"
    )
    how = parser.add_argument_group("how")
    how.add_argument(
        "--truth",
        choices=("coincident", "source"),
        default="coincident",
        help="compare with the target's file of the same tile and time (default), or with bands of the same instrument "
        "that the source's file holds and the network is not given",
    )
    how.add_argument("--tolerance", type=float, default=0.0, metavar="MINUTES", help="of coincidence (default: 0)")
    slow = f"all but the slow ones, {' and '.join(SLOW)}"
    how.add_argument("--baselines", help=f"of {', '.join(BASELINES)}; or all, or none (default: {slow})")
    how.add_argument(
        "--fit_files", type=at_least(1), default=64, metavar="N", help="fit baselines on at most N files (64)"
    )
    how.add_argument("--samples", type=int, default=0, metavar="N", help="score the mean and the spread of N draws")
    how.add_argument("--seed", type=int, default=0, help="of all draws (0)")
    how.add_argument("--pictures", type=at_least(0), default=3, metavar="N", help="cases to show in pictures (3)")
    how.add_argument("--coastlines", action="store_true", help="draw them (simulated scenes have their own land)")
    return parser


def _part(text: str) -> tuple[int, int]:
    """'2/8' -> (2, 8)."""
    number, _, count = text.partition("/")
    if not (number.isdigit() and count.isdigit() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"'{text}' is no part; write it like 2/8, from 1/8 to 8/8")
    return int(number), int(count)


def _names(text: str | None) -> list[str] | None:
    """'linear, constant' -> ['linear', 'constant']; 'none' -> []; nothing: the default."""
    if text == "none":
        return []
    return parse_names(text) if text else None


def _take_part(comparison: Comparison, number: int, count: int) -> Comparison:
    """Every `count`th case from the `number`th on; the baselines' files stay those of all."""
    cases = comparison.cases[number - 1 :: count]
    if not cases:
        raise InputError(f"part {number}/{count} of {len(comparison.cases)} files is empty; choose fewer parts")
    return dataclasses.replace(comparison, cases=cases)


def _filters(options: argparse.Namespace) -> dict[str, Any]:
    filters = {"years": None, "days": None, "hours": None, "minutes": None} | PRESETS.get(options.preset or "", {})
    for name, text in (("years", options.year), ("days", options.days), ("hours", options.hours)):
        if text:
            numbers = parse_numbers(text)
            preset = filters[name]
            filters[name] = numbers if preset is None else tuple(number for number in numbers if number in preset)
    return filters | {"tiles": None if options.tiles is None else parse_tiles(options.tiles)}


def write_results(results: Results, output: Path) -> None:
    """Writes all tables."""
    columns = tables.COLUMNS
    for name, rows, first in (
        ("scores.csv", tables.score_rows(results, results.total), ()),
        ("scores_per_file.csv", tables.per_file_rows(results), ("tile", "time", "file")),
        ("scores_by_group.csv", tables.group_rows(results), ("group",)),
    ):
        tables.write_csv(rows, (*first, *columns), output / name)
    tables.write_csv(tables.detail_rows(results), (*tables.KEYS, *tables.DETAILS), output / "details.csv")
    atomic.write_text(output / "scores.tex", tables.latex_table(results))


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
        **_filters(options),
    )
    if options.part:
        comparison = _take_part(comparison, *options.part)
    baselines = make_baselines(comparison.task, _names(options.baselines))
    output = Path(options.output)
    try:
        (output / "figures").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder '{output}': {error.strerror}; choose another --output") from error
    results = evaluate(
        translator,
        comparison,
        baselines,
        pictures=options.pictures,
        coastlines=options.coastlines,
        samples=options.samples,
        seed=options.seed,
        may_be_empty=bool(options.part),
    )
    write_failures([{"file": name, "reason": reason} for name, reason in results.left_out], output)
    write_sums(results, translator.run, translator.step, output, options.part or (1, 1))
    if not results.scored_bands:
        print(f"none of {len(comparison.cases)} files of this part could be scored; {output / NAME} says so to `pool`")
        return
    write_results(results, output)  # before anything is drawn: scores outlive a fault of drawing
    print(headline(results))
    undrawn = write_report(results, translator, output, shlex.join(["satxlate", "evaluate", *argv]))
    if results.left_out:
        name, reason = results.left_out[0]
        count = f"{len(results.left_out)} of {len(comparison.cases)} files"
        reason = reason if name in reason else f"{name}: {reason}"
        print(f"{count} could not be scored, the report and {FAILURES} list them; the first: {reason}")
    if undrawn:
        count = f"{len(undrawn)} figure{'s' * (len(undrawn) > 1)}"
        print(f"{count} could not be drawn; the report says which and why, the scores are whole")
    print(f"report: {output / 'report.html'}")
