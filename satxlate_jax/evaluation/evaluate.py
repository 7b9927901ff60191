"""`satxlate evaluate`, which scores translations and baselines, and `satxlate pool`, which merges partial evaluations.

`evaluate --part 1/8` scores every eighth file, with baselines fitted as for all; the parts may be computed by as many
jobs. Errors, percentiles, spectra and calibration are sums over pixels and modes, so that what is pooled is the same
but for rounding. Pictures and the report stay with the parts.
"""

import argparse
import dataclasses
import json
import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from satxlate_jax.cli import InputError, archive_filters, parse_names, part_arguments
from satxlate_jax.compilation import use_program_cache
from satxlate_jax.evaluation.baselines import Baseline, make_baselines
from satxlate_jax.evaluation.case_selection import Comparison, Task, find_comparison
from satxlate_jax.evaluation.compare import read_scores
from satxlate_jax.evaluation.fault_detection import score_likelihood
from satxlate_jax.evaluation.report import headline, write_report
from satxlate_jax.evaluation.results import LACKING, SUMS_FILE, Results, read_sums, write_sums, write_tables
from satxlate_jax.evaluation.scoring import evaluate
from satxlate_jax.options import parse
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


def _filters(options: argparse.Namespace) -> dict[str, Any]:
    preset: dict[str, Any] = PRESETS.get(options.preset or "", {})
    given = {name: values for name, values in archive_filters(options).items() if values is not None}
    return preset | {name: [one for one in values if one in preset.get(name, values)] for name, values in given.items()}


def _prepare(options: argparse.Namespace) -> tuple[TileTranslator, Comparison, list[Baseline]]:
    """The model, what is to be compared of this part, and baselines to fit; a mistake is told before any work."""
    if (options.truth == "same_view") != (options.truth_l1g is not None):
        raise InputError("--truth same_view and --truth_l1g ROOT (what `simulate --viewpoint` wrote) go together")
    use_program_cache()
    translator = load(options.checkpoint, options.step).ready_for(options.source, options.as_instrument)
    translator.check_samples(options.samples)
    if options.likelihood:
        translator.check_surprise(translator.domain(options.source))
    names = ("truth", "tolerance", "max_files", "fit_files", "seed", "resolution_km")
    how = {"truth_root": options.truth_l1g} | {name: getattr(options, name) for name in names} | _filters(options)
    comparison = find_comparison(translator, options.l1g, options.source, options.target, **how)
    part, n_parts = options.part or (1, 1)
    cases = comparison.cases[part - 1 :: n_parts]  # the baselines' files stay those of all
    if not cases:
        raise InputError(f"part {part}/{n_parts} of {len(comparison.cases)} files is empty; choose fewer parts")
    chosen = [] if options.baselines == "none" else parse_names(options.baselines) if options.baselines else None
    return translator, dataclasses.replace(comparison, cases=cases), make_baselines(comparison.task, chosen)


def _score(options: argparse.Namespace, *prepared: Any) -> Results:
    how = {name: getattr(options, name) for name in ("pictures", "coastlines", "samples", "seed")}
    return evaluate(*prepared, **how, may_be_empty=bool(options.part))


def _score_part(words: Sequence[str], part: tuple[int, int]) -> Results:
    """What a worker of Beam does."""
    options = parse("evaluate", [*part_arguments(words, part), "--pictures=0"])
    return _score(options, *_prepare(options))


def _keep(output: Path, run: str, step: int, part: tuple[int, int], results: Results) -> None:
    """Write the sums, for `pool`, and what could not be scored."""
    write_failures([{"file": name, "reason": reason} for name, reason in results.left_out], output)
    write_sums(results, run, step, output, part)


def main(options: argparse.Namespace) -> None:
    """Run the subcommand `evaluate`."""
    on_beam, output = options.beam_pipeline_options, Path(options.output)
    if on_beam and (options.part or options.likelihood or options.beside):
        raise InputError("--part, --likelihood and --beside are for an evaluation without --beam_pipeline_options")
    translator, comparison, baselines = _prepare(options)
    beside = _read_beside(options.beside, comparison.task) if options.beside else None
    output.mkdir(parents=True, exist_ok=True)
    keep = partial(_keep, output.absolute(), translator.run, translator.step, options.part or (1, 1))
    if on_beam:
        from satxlate_jax.beam import run_parts

        count = min(options.beam_parts, len(comparison.cases))
        run_parts(partial(_score_part, options.words), count, merge, keep, on_beam)
        results = read_sums(output)
    else:
        results = _score(options, translator, comparison, baselines)
        keep(results)
    if not results.scored_bands and on_beam:
        raise InputError(f"none of {len(comparison.cases)} files could be scored; {output / FAILURES} says why")
    if not results.scored_bands:
        print(f"none of {len(comparison.cases)} files of this part could be scored; {output / SUMS_FILE} tells `pool`")
        return
    write_tables(results, output)  # before anything is drawn: scores outlive a fault of drawing
    (output / "figures").mkdir(exist_ok=True)
    print(headline(results))
    if options.likelihood:
        paths, domain = [case.source.path for case in comparison.cases], translator.domain(options.source)
        print(score_likelihood(translator, paths, domain, output, options.seed))
    command = shlex.join(["satxlate", "evaluate", *options.words])
    undrawn = [] if on_beam else write_report(results, translator, output, command, beside)
    if lost := len(comparison.cases) - len(results.files):
        first = json.loads((output / FAILURES).read_text().splitlines()[0])
        reason = first["reason"] if first["file"] in first["reason"] else f"{first['file']}: {first['reason']}"
        listed = f"{FAILURES} lists" if on_beam else f"the report and {FAILURES} list"
        print(f"{lost} of {len(comparison.cases)} files were left out, {listed} them; the first: {reason}")
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
    """Add the sums of other files to the first, in place, and return it."""
    total.files = sorted(total.files + part.files)  # by time and tile, as their names begin
    total.left_out += part.left_out
    total.add(part.sums, part.distributions)
    return total


def pool(options: argparse.Namespace) -> None:
    """Run the subcommand `pool`; InputError where the parts do not belong together."""
    if twice := [name for name in options.parts if options.parts.count(name) > 1]:
        raise InputError(f"'{twice[0]}' is given twice; give each part once")
    parts = {name: read_sums(name) for name in options.parts}
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
    if not total.scored_bands:
        raise InputError("in none of these parts could a file be scored")
    output = Path(options.output)
    output.mkdir(parents=True, exist_ok=True)
    write_tables(total, output)
    print(headline(total))
    print(f"{len(total.files)} files of {len(parts)} of {count} parts: {output / 'scores.csv'}")
    for number, lacking in LACKING.items():
        if old := [name for name, part in parts.items() if part.about["format"] == number]:
            print(f"written by an older version, without {lacking}: {', '.join(old)}; evaluate again to have them")
    if missing := sorted(set(range(1, count + 1)) - {part.about["part"][0] for part in parts.values()}):
        print(f"missing: {', '.join(f'{number}/{count}' for number in missing)}; the scores are those of the others")
