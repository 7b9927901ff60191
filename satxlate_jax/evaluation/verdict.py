"""What the scores say, in plain words, good or bad."""

import math
from collections.abc import Sequence

from satxlate_jax.evaluation.baselines.methods import BASELINES, MODEL, method_name
from satxlate_jax.evaluation.ranking import rank
from satxlate_jax.evaluation.results import Results

_NEVER_PAIRS = "which the model never sees as pairs"

FEW_FILES = 10
"""With fewer, other files or another seed could turn a small lead round (README.md, "Results", shows by how much)."""


def compare(results: Results, band: int, *, by_area: bool = False) -> tuple[str, float]:
    """How the model compares with the best baseline of a band, of those that are given no more than it.

    Returns:
      'model', the name of a better baseline, 'equal', or '' where no baseline has an answer; and the model's RMSE
      relative to the baseline's, minus 1.
    """
    best, rmse = results.best_baseline(band, by_area=by_area)
    outcome, change = rank(results.rmse(MODEL, band, by_area=by_area), rmse)
    return {"ahead": MODEL, "behind": best}.get(outcome, outcome), change


def headline(results: Results) -> str:
    """The outcome in plain words, good or bad."""
    task = results.comparison.task
    bands = results.scored_bands
    won = {band.number: compare(results, band.number)[0] for band in bands}
    ahead = [number for number, winner in won.items() if winner == "model"]
    judged = [number for number, winner in won.items() if winner]
    lead = f"the model is closer to the truth than the best unpaired baseline in {len(ahead)} of "
    lead += _count(len(judged), "band") + (f" ({list_bands(ahead)})" if ahead else "")
    if not judged:
        lead = "no unpaired baseline has an answer to compare the model with"
    sentences = [f"{task.source} to {task.target}: {lead}."]
    better = [
        f"{method_name(method)} in {_bands(numbers)}"
        for method in results.methods[1:]
        if (numbers := [number for number, winner in won.items() if winner == method])
    ]
    if better:
        sentences.append(f"Elsewhere a baseline is closer: {'; '.join(better)}.")
    linear = [band.number for band in bands if _stands(results, "linear", band.number) == "behind"]
    if linear and linear != [number for number, winner in won.items() if winner == "linear"]:  # which is said already
        sentences.append(f"Linear regression is better than the model in {_bands(linear)}.")
    equal = [number for number, winner in won.items() if winner == "equal"]
    if equal:
        sentences.append(f"Model and best unpaired baseline are equal within 0.5 % in {_bands(equal)}.")
    beaten = [band.number for band in bands if _stands(results, "constant", band.number) in ("equal", "behind")]
    if beaten:
        sentences.append(f"In {_bands(beaten)} the model is no better than a constant.")
    paired = [
        band.number
        for band in bands
        if _stands(results, results.best_baseline(band.number, paired=True)[0], band.number) == "behind"
    ]
    if paired:
        sentences.append(
            f"A line fitted on coincident pairs, more than the model is given, is closer in {_bands(paired)}."
        )
    made = [band.number for band in bands if results.is_synthesised(band.number)]
    if made and len(made) < len(bands):
        inside = [number for number in made if won[number] == "model"]
        sentences.append(
            f"Of what {task.source}'s input lacks ({_bands(made)}), the model is ahead in "
            + (f"{_bands(inside)}." if inside else "none.")
        )
    if len(results.per_file) < FEW_FILES:
        sentences.append(
            f"Scored on {_count(len(results.per_file), 'file')} only: a lead of some percent may be chance."
        )
    return " ".join(sentences)


def _stands(results: Results, method: str, band: int) -> str:
    return rank(results.rmse(MODEL, band), results.rmse(method, band))[0]


def list_bands(numbers: Sequence[int]) -> str:
    """Such as '1, 3-5, 7'; two neighbours are not a range."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    words = [[f"{run[0]}-{run[-1]}"] if len(run) > 2 else [str(number) for number in run] for run in runs]
    return ", ".join(word for run in words for word in run)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"


def _bands(numbers: Sequence[int]) -> str:
    return f"band{'s' * (len(numbers) > 1)} {list_bands(numbers)}"


def describe_verdict(winner: str, change: float) -> tuple[str, str]:
    """A verdict of `compare` in words, and whether it is 'good', 'bad' or '' for the model."""
    if winner in ("", "equal"):
        return winner or "no unpaired baseline", ""
    if winner == "model":
        return "model better" + ("" if math.isnan(change) else f" by {-change:.0%}"), "good"
    return "model worse" + ("" if math.isinf(change) else f": error × {1 + change:.3g}"), "bad"


def describe_area(results: Results) -> str:
    """Whether verdicts would be others if scores were weighted by area."""
    bands = [band.number for band in results.scored_bands]
    others = [band for band in bands if compare(results, band)[0] != compare(results, band, by_area=True)[0]]
    return f"By area the verdict would be {f'another in {_bands(others)}' if others else 'the same in every band'}."


def describe_truth(results: Results) -> str:
    """What the truth is."""
    task = results.comparison.task
    if results.comparison.truth == "source":
        pairs = ", ".join(f"{theirs}" for theirs in results.comparison.truth_bands.values())
        return (
            f"Truth: bands {pairs} as {task.source} itself measured them, in the same file. The network was not given "
            f"them: its input was bands {list_bands(list(task.source_bands))}."
        )
    return (
        f"Truth: {task.target}'s own file of the same tile and time. The two satellites look from different places, so "
        "parallax, view angle and the minute of the scan are part of every method's error."
    )


def describe_fit(results: Results) -> str:
    """How the baselines came about."""
    comparison = results.comparison
    task = comparison.task
    if not comparison.fit_files:
        return f"No file of {task.target} was there to fit baselines on: only those without a fit could be scored."
    inputs = [task.target_bands[channel] for channel in task.shared[1]]
    wanted = {want for method in results.methods if method in BASELINES for want in BASELINES[method].wants}
    sentences = []
    if "linear" in results.methods:
        sentences.append(
            f"Linear regression is unpaired, as the model is: fitted on {task.target}'s own tiles, from its bands "
            f"{list_bands(inputs)} (those that {task.source}'s input shares by wavelength) to each of its bands, then "
            f"applied to what {task.source} measured; for a band that is itself among the inputs it is the band copy."
        )
    if "constant" in results.methods:
        sentences.append(f"Constant: the mean of the band over {task.target}'s own tiles.")
    if "target" in wanted:
        words = f"Fitted on {_count(len(comparison.fit_files), 'file')} of {task.target}"
        if "pairs" in wanted and comparison.fit_pairs:
            words += f" (SBAF: on {len(comparison.fit_pairs)} pairs of coincident files, {_NEVER_PAIRS})"
        same = "THE SAME FILES THAT ARE SCORED, since there are no others: this favours the baselines."
        sentences.append(f"{words}, {'none of which is scored here.' if comparison.fitted_apart else same}")
    elif "pairs" in wanted:
        sentences.append(
            f"SBAF is fitted on {len(comparison.fit_pairs)} pairs of coincident files, {_NEVER_PAIRS}, "
            "none of which is scored here."
        )
    return " ".join(sentences)
