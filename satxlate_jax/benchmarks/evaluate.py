"""`satxlate bench evaluate`: seconds that scoring a pair of files takes, set against reading and translating it.

Reading is that of both files of a pair, in the processes that an evaluation reads in, while nothing else is done;
translating is one translation of what was read; of both the median of three times, before, between and after the
evaluations. The evaluation is run on half of the pairs and on all of them: the difference is the cost of a pair, what
both have in common is spent once (baselines, compilation, consistency). CPU seconds are those of all its processes that
have ended; they depend less on what else the machine does.
"""

import resource
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from satxlate_jax.benchmarks import bench_parser
from satxlate_jax.benchmarks.train import clocks
from satxlate_jax.cli import InputError, at_least, user_path
from satxlate_jax.cpus import count_cpus
from satxlate_jax.evaluation.baselines import make_baselines
from satxlate_jax.evaluation.case_selection import Comparison, find_comparison
from satxlate_jax.evaluation.scoring import evaluate, read_cases
from satxlate_jax.translation.load import load
from satxlate_jax.translation.translate import TileTranslator

TRANSLATED = 20  # pairs whose source is translated, all kept in memory
TARGET = 2.0  # times reading and translating
PAPER = 4400, 2.0  # pairs of the paper's test set, and hours that they may take


def _verdict(measured: float, most: float) -> str:
    """Whether a target is met; a difference of two times that noise has made negative tells nothing."""
    outcome = "not measurable: take more pairs" if measured <= 0 else "met" if measured <= most else "missed"
    return f"target {most:g}: {outcome}"


def _read_and_translate(translator: TileTranslator, comparison: Comparison) -> tuple[float, float, float]:
    """Seconds that reading a pair and translating its source take, and CPU seconds of the latter."""
    found, task = read_cases(comparison), comparison.task
    kept, begin = [next(found)], time.perf_counter()  # the processes have started
    for number, tiles in enumerate(found):
        kept += [tiles] * (number < TRANSLATED)
    reading = (time.perf_counter() - begin) / (len(comparison.cases) - 1)
    sources = [tiles[0] for tiles in kept if isinstance(tiles, list)]
    translator.translate(sources[0], task.target, source=task.source)  # compiles
    before = clocks()
    for tile in sources:
        translator.translate(tile, task.target, source=task.source)
    translating, cpu = (clocks() - before) / len(sources)
    return reading, translating, cpu


def main(argv: Sequence[str]) -> None:
    """Run the benchmark."""
    parser = bench_parser("evaluate", __doc__)
    add = parser.add_argument
    add("--checkpoint", type=user_path, required=True, metavar="RUN", help="a training run's folder")
    add("--l1g", type=user_path, required=True, metavar="ROOT", help="root of the tree of L1G files")
    add("--source", required=True, metavar="SATELLITE", help="translate from, such as G16")
    add("--target", required=True, metavar="SATELLITE", help="translate to, such as G17")
    add("--pairs", type=at_least(2), default=100, metavar="N", help="score at most N pairs (100)")
    options = parser.parse_args(argv)
    translator = load(options.checkpoint).ready_for(options.source)
    comparison = find_comparison(
        translator, options.l1g, options.source, options.target, max_files=options.pairs, fit_files=16
    )
    cases, task = comparison.cases, comparison.task
    if len(cases) < 2:
        raise InputError(f"'{options.l1g}' holds one pair of {options.source} and {options.target}; two are needed")
    evaluate(translator, replace(comparison, cases=cases[:2]), make_baselines(task), pictures=0)  # compiles
    parts, spent, peaks = [_read_and_translate(translator, comparison)], [], []
    for chosen in (cases[::2], cases):
        before = clocks()
        evaluate(translator, replace(comparison, cases=chosen), make_baselines(task), pictures=0)
        spent.append(clocks() - before)
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        parts.append(_read_and_translate(translator, comparison))
    (reading, translating, translating_cpu), half = np.median(parts, 0), len(cases[::2])
    pair, pair_cpu = (spent[1] - spent[0]) / (len(cases) - half)
    ratio, once, (paper, most) = pair / (reading + translating), spent[1][0] - len(cases) * pair, PAPER
    print(f"{count_cpus()} CPUs; a pair: reading {reading:.3f} s, ", end="")
    print(f"translating {translating:.3f} s (CPU {translating_cpu:.3f}), scoring {pair:.3f} s (CPU {pair_cpu:.3f})")
    print(f"scoring, which reads and translates, takes {ratio:.2f} times both ({_verdict(ratio, TARGET)})")
    hours = (once + paper * pair) / 3600
    print(f"{once:.1f} s once; {paper:,} pairs would take {hours:.2f} h ({_verdict(hours, most)})")
    print(f"peak memory: {peaks[0]:,.0f} MB after {half} pairs, {peaks[1]:,.0f} MB after {len(cases)}")
