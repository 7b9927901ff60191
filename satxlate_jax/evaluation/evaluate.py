"""`satxlate evaluate`, which scores translations and baselines, and `satxlate pool`, which merges partial evaluations.

`evaluate --part 1/8` scores every eighth file, with baselines fitted as for all; the parts may be computed by as many
jobs. Errors, percentiles, spectra and calibration are sums over pixels and modes, so that what is pooled is the same
but for rounding. Pictures and the report stay with the parts.
"""

import argparse
import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from satxlate_jax.cli import (
    CommandParser,
    InputError,
    add_archive_filters,
    add_beam,
    add_part,
    archive_filters,
    at_least,
    parse_names,
    user_path,
    words_of_part,
)
from satxlate_jax.evaluation.anomalies import score_likelihood
from satxlate_jax.evaluation.baselines import BASELINES, SLOW, make_baselines
from satxlate_jax.evaluation.baselines.simple import Baseline
from satxlate_jax.evaluation.cases import Comparison, Task, find_comparison
from satxlate_jax.evaluation.compare import read_scores
from satxlate_jax.evaluation.report import headline, write_report
from satxlate_jax.evaluation.results import LACKING, SUMS_FILE, TRUTHS, Results, read_sums, write_sums, write_tables
from satxlate_jax.evaluation.scoring import evaluate
from satxlate_jax.geometry import PIXELS
from satxlate_jax.translation.load import load
from satxlate_jax.translation.translate import TileTranslator
from satxlate_jax.translation.translate_archive import FAILURES, write_failures

PRESETS = {"paper": {"years": (2019,), "days": tuple(range(32, 54)), "hours": (0,), "minutes": (0,)}}
"""The paper's coincident test files: 2019, days 32 to 53, 00:00 UTC (Vandal et al. 2021)."""

_SAME = {
    "run": "the run (--checkpoint)",
    "step": "the checkpoint (--step)",
    "source": "the satellite that is translated (--source)",
    "target": "the satellite that is made (--target)",
    "truth": "the truth (--truth)",
    "methods": "the choice of baselines (--baselines)",
    "resolution_km": "the grid (--resolution_km)",
    "samples": "the number of ensemble members (--samples)",
    "fitted_on": "the files that baselines were fitted on (--l1g, --days and the like, --fit_files, --seed)",
}
"""Keys that must be the same in all parts, in words."""


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="satxlate evaluate",
        description="Score a run's translations against what was measured, beside baselines. Writes OUT/report.html (a "
        "page that opens offline), OUT/scores.csv, scores by file and by group of pixels, further metrics and a LaTeX "
        "table beside it, OUT/figures/*.png, OUT/sums.npz for `satxlate pool`, and OUT/failures.jsonl: files that "
        "could not be scored.",
    )
    add = parser.add_argument
    add("--checkpoint", type=user_path, required=True, metavar="RUN", help="a training run's folder (its --workdir)")
    add("--step", type=int, help="which checkpoint (default: the newest)")
    add("--l1g", type=user_path, required=True, metavar="ROOT", help="root of the tree of L1G files")
    add("--source", required=True, metavar="SATELLITE", help="translate from, such as G16")
    add("--target", required=True, metavar="SATELLITE", help="translate to, such as G17")
    add("--output", type=user_path, required=True, metavar="OUT", help="folder for scores, report and figures")
    files = parser.add_argument_group("which files")
    add = files.add_argument
    add("--preset", choices=PRESETS, help="paper: 2019, days 32-53, 00:00 UTC; other filters narrow it")
    add_archive_filters(files)
    add("--max_files", type=at_least(1), metavar="N", help="score only N files, drawn with --seed")
    add_part(files, "score only the Kth of N parts of these files (see `pool`)")
    add_beam(files)
    add = parser.add_argument_group("how").add_argument
    truth = "compare with the target's file of the same tile and time (default), with bands of the same instrument "
    truth += "that the source's file holds and the network is not given, or with simulated files of the target's "
    truth += "instrument in the source's place, without parallax"
    add("--truth", choices=TRUTHS, default="coincident", help=truth)
    simulated = "root of what `simulate --viewpoint SOURCE` wrote, for --truth same_view"
    add("--truth_l1g", type=user_path, metavar="ROOT", help=simulated)
    other = "--output of an evaluation against another truth, whose RMSE the report's first table shows beside its own"
    add("--beside", type=user_path, metavar="OUT", help=other)
    add("--tolerance", type=float, default=0.0, metavar="MINUTES", help="of coincidence (default: 0)")
    slow = f"all but the slow ones, {' and '.join(SLOW)}"
    add("--baselines", help=f"of {', '.join(BASELINES)}; or all, or none (default: {slow})")
    add("--fit_files", type=at_least(1), default=64, metavar="N", help="fit baselines on at most N files (64)")
    grid = "of the grid (2); finer, the translation at 2 km, interpolated, is scored beside, as model_2km"
    add("--resolution_km", type=float, default=2.0, choices=tuple(PIXELS), help=grid)
    add("--samples", type=int, default=0, metavar="N", help="score the mean and standard deviation of N members")
    add("--seed", type=int, default=0, help="of files and ensemble members (0)")
    add("--pictures", type=at_least(0), default=3, metavar="N", help="cases to show in pictures (3)")
    unlike = "the source is of an instrument that the run does not know, whose bands have its wavelengths"
    add("--as_instrument", action="store_true", help=unlike)
    likelihood = "also tell how usual the source's measurements are and whether simulated faults would stand out "
    likelihood += "(OUT/likelihood.csv, OUT/faults.csv; of the spectral flow)"
    add("--likelihood", action="store_true", help=likelihood)
    add("--coastlines", action="store_true", help="draw them (simulated scenes have their own land)")
    return parser


def _filters(options: argparse.Namespace) -> dict[str, Any]:
    preset: dict[str, Any] = PRESETS.get(options.preset or "", {})
    given = {name: values for name, values in archive_filters(options).items() if values is not None}
    narrowed = {
        name: tuple(value for value in values if value in preset[name])
        for name, values in given.items()
        if name in preset
    }
    return preset | given | narrowed


def _prepare(options: argparse.Namespace) -> tuple[TileTranslator, Comparison, list[Baseline]]:
    """The model, what is to be compared of this part, and baselines to fit; a mistake is told before any work."""
    if (options.truth == "same_view") != (options.truth_l1g is not None):
        raise InputError("--truth same_view and --truth_l1g ROOT (what `simulate --viewpoint` wrote) go together")
    translator = load(options.checkpoint, options.step).ready_for(options.source, options.as_instrument)
    if options.likelihood:
        translator.check_surprise(translator.domain(options.source))
    comparison = find_comparison(
        translator,
        options.l1g,
        options.source,
        options.target,
        truth=options.truth,
        truth_root=options.truth_l1g,
        tolerance=timedelta(minutes=options.tolerance),
        max_files=options.max_files,
        fit_files=options.fit_files,
        seed=options.seed,
        resolution_km=options.resolution_km,
        **_filters(options),
    )
    part, n_parts = options.part or (1, 1)
    cases = comparison.cases[part - 1 :: n_parts]  # the baselines' files stay those of all
    if not cases:
        raise InputError(f"part {part}/{n_parts} of {len(comparison.cases)} files is empty; choose fewer parts")
    chosen = [] if options.baselines == "none" else parse_names(options.baselines) if options.baselines else None
    return translator, dataclasses.replace(comparison, cases=cases), make_baselines(comparison.task, chosen)


def _score(options: argparse.Namespace, *prepared: Any) -> Results:
    how = {name: getattr(options, name) for name in ("pictures", "coastlines", "samples", "seed")}
    return evaluate(*prepared, **how, may_be_empty=bool(options.part))


def _score_part(argv: Sequence[str], part: tuple[int, int]) -> Results:
    """What a worker of Beam does."""
    options = _parser().parse_args([*words_of_part(argv, part), "--pictures=0"])
    return _score(options, *_prepare(options))


def main(argv: list[str]) -> None:
    """Runs `evaluate`."""
    options = _parser().parse_args(argv)
    on_beam, output = options.beam_pipeline_options, Path(options.output)
    if on_beam and (options.part or options.likelihood or options.beside):
        raise InputError("--part, --likelihood and --beside are for an evaluation without --beam_pipeline_options")
    translator, comparison, baselines = _prepare(options)
    beside = _read_beside(options.beside, comparison.task) if options.beside else None
    try:
        (output / "figures").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder '{output}': {error.strerror}; choose another --output") from error
    if on_beam:
        from satxlate_jax.beam import run_parts

        count = min(options.beam_parts, len(comparison.cases))
        results = run_parts(partial(_score_part, argv), count, merge, on_beam, output)
        results.files.sort()  # by time and tile, as their names begin
    else:
        results = _score(options, translator, comparison, baselines)
    write_failures([{"file": name, "reason": reason} for name, reason in results.left_out], output)
    write_sums(results, translator.run, translator.step, output, options.part or (1, 1))
    if not results.scored_bands:
        print(f"none of {len(comparison.cases)} files of this part could be scored; {output / SUMS_FILE} tells `pool`")
        return
    write_tables(results, output)  # before anything is drawn: scores outlive a fault of drawing
    print(headline(results))
    if options.likelihood:
        paths, domain = [case.source.path for case in comparison.cases], translator.domain(options.source)
        print(score_likelihood(translator, paths, domain, output, options.seed))
    undrawn = []
    if not on_beam:
        undrawn = write_report(results, translator, output, shlex.join(["satxlate", "evaluate", *argv]), beside)
    if results.left_out:
        name, reason = results.left_out[0]
        count = f"{len(results.left_out)} of {len(comparison.cases)} files"
        reason = reason if name in reason else f"{name}: {reason}"
        print(f"{count} could not be scored, the report and {FAILURES} list them; the first: {reason}")
    if undrawn:
        count = f"{len(undrawn)} figure{'s' * (len(undrawn) > 1)}"
        print(f"{count} could not be drawn; the report says which and why, the scores are whole")
    print(f"scores: {output / 'scores.csv'}" if on_beam else f"report: {output / 'report.html'}")


def _read_beside(folder: str, task: Task) -> pd.DataFrame:
    """The scores of another evaluation of the same translation; InputError where they are of another."""
    table = read_scores(folder, folder, all_bands=True)
    if (table.at[0, "source"], table.at[0, "target"]) != (task.source, task.target) or "truth" not in table:
        pair = f"{task.source} to {task.target}"
        raise InputError(f"--beside '{folder}' is not of {pair}, or of a version that did not name its truth")
    return table


def merge(total: Results, part: Results) -> Results:
    """Adds the sums of other files to the first, in place, and returns it."""
    total.files += part.files
    total.left_out += part.left_out
    total.add(part.sums, part.distributions)
    return total


def add_up(parts: Mapping[str, Results]) -> Results:
    """Adds up parts of one evaluation, by their names, into the first.

    Raises:
      InputError: they are not of one evaluation, two of them scored the same file, or none scored any.
    """
    (first, total), *others = parts.items()
    made_of, count = total.about["made_of"], total.about["part"][1]
    scored_by = dict.fromkeys(dict(total.files), first)
    for name, part in others:
        if different := [key for key, value in made_of.items() if part.about["made_of"].get(key) != value]:
            what = _SAME.get(different[0], f"{different[0]} of the run")
            raise InputError(f"'{name}' is no part of the same evaluation as '{first}': {what} differs")
        if part.about["part"][1] != count:
            raise InputError(f"'{name}' is one of {part.about['part'][1]} parts, '{first}' one of {count}")
        if twice := sorted(scored_by.keys() & dict(part.files)):
            raise InputError(f"'{name}' and '{scored_by[twice[0]]}' both scored {twice[0]}; give each part once")
        scored_by |= dict.fromkeys(dict(part.files), name)
        merge(total, part)
    total.files.sort()  # by time and tile, as their names begin
    if not total.scored_bands:
        raise InputError("in none of these parts could a file be scored")
    return total


def pool(argv: list[str]) -> None:
    """Runs `pool`."""
    parser = CommandParser(
        prog="satxlate pool",
        description="Pool evaluations of parts of an archive (evaluate --part K/N): OUT/scores.csv and the other "
        "tables, as if all had been evaluated at once.",
    )
    add = parser.add_argument
    add("parts", type=user_path, nargs="+", metavar="PART", help="the --output of `evaluate --part K/N`, for each K")
    add("--output", type=user_path, required=True, metavar="OUT", help="folder for the tables")
    options = parser.parse_args(argv)
    if twice := [name for name in options.parts if options.parts.count(name) > 1]:
        raise InputError(f"'{twice[0]}' is given twice; give each part once")
    parts = {name: read_sums(name) for name in options.parts}
    results = add_up(parts)
    output = Path(options.output)
    output.mkdir(parents=True, exist_ok=True)
    write_tables(results, output)
    print(headline(results))
    numbers, count = [part.about["part"][0] for part in parts.values()], results.about["part"][1]
    print(f"{len(results.files)} files of {len(parts)} of {count} parts: {output / 'scores.csv'}")
    for number, lacking in LACKING.items():
        if old := [name for name, part in parts.items() if part.about["format"] == number]:
            print(f"written by an older version, without {lacking}: {', '.join(old)}; evaluate again to have them")
    if missing := sorted(set(range(1, count + 1)) - set(numbers)):
        print(f"missing: {', '.join(f'{number}/{count}' for number in missing)}; the scores are those of the others")
