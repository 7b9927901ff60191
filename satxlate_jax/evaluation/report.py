"""The HTML report, from templates/report.html.j2, and its plain-language summary."""

import base64
import io
import itertools
import json
import math
import platform
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from matplotlib.figure import Figure
from PIL.Image import Dither, Quantize

from satxlate_jax import __version__, atomic
from satxlate_jax.cli import InputError, list_some
from satxlate_jax.evaluation import plots
from satxlate_jax.evaluation.baselines import BASELINES, MODEL, method_name
from satxlate_jax.evaluation.diagnostics import ALL, FLAGS
from satxlate_jax.evaluation.maps import band_label, save_figure
from satxlate_jax.evaluation.metrics import band_scores
from satxlate_jax.evaluation.results import Results, best_baseline, compare, rank_methods
from satxlate_jax.instruments import get_satellite
from satxlate_jax.translation.flags import FEW
from satxlate_jax.translation.translate import TileTranslator

FEW_FILES = 10
"""With fewer, other files or another seed could turn a small lead round (docs/results.md shows by how much)."""
_MANY = 0.02  # share of the pixels that makes a group worth a word
_RIVAL = "best unpaired baseline"  # in each group of pixels another
_MAPS = 8  # figures of maps to draw, more only if there are more bands: each takes half a second and 60 kB


class Plots:
    """Draws plots into a folder, for the template; `failed` are the names of those that could not be drawn."""

    def __init__(self, folder: Path):
        self._folder = folder
        self.failed: list[str] = []

    def draw(self, name: str, function: Callable[..., Figure | None], *arguments: Any) -> dict[str, str]:
        """Draw a plot into NAME.png; one that cannot be drawn costs only itself: the page and stderr say so.

        Returns:
          'source', the image as a data URL, and 'kind', 'map' or 'chart'; or 'error'; nothing where there is nothing to
          draw. A chart, which dark pages invert, keeps its edges and 64 colours; a map loses what the eye misses.
        """
        try:
            figure = function(*arguments)
            if figure is None:
                return {}
            picture, packed = save_figure(figure, self._folder / f"{name}.png"), io.BytesIO()
            kind = "map" if any(axes.images for axes in figure.axes) else "chart"
            if kind == "map":
                picture.save(packed, "webp", quality=40)
            else:
                picture.quantize(64, Quantize.MAXCOVERAGE, dither=Dither.NONE).save(packed, "webp", lossless=True)
            return {"source": f"data:image/webp;base64,{base64.b64encode(packed.getvalue()).decode()}", "kind": kind}
        except InputError:
            raise
        except Exception as error:  # whatever the drawing library raises: hours of scoring wait for their report
            self.failed.append(f"{name}.png")
            print(words := f"{name}.png could not be drawn ({type(error).__name__}: {error})", file=sys.stderr)
            return {"error": words}


def environment() -> jinja2.Environment:
    """Renders the report's templates, all text escaped."""
    loader = jinja2.PackageLoader("satxlate_jax.evaluation")
    templates = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    templates.undefined = jinja2.StrictUndefined
    templates.globals |= {"plots": plots, "band_label": band_label, "verdict": describe_verdict}
    templates.filters |= {"number": format_number, "method": method_name, "ranges": list_bands}
    return templates


def write_report(
    results: Results, translator: TileTranslator, folder: Path, command: str, beside: pd.DataFrame | None = None
) -> list[str]:
    """Write FOLDER/report.html and FOLDER/figures/*.png; the folders exist. `command` makes this report again.

    Scores `beside`, as `compare.read_scores` gives them, are of the same translation against another truth.

    Returns:
      The names of plots that could not be drawn; the report says why.
    """
    comparison, task, per_file = results.comparison, results.comparison.task, results.per_file
    packages = ("jax", "flax", "numpy", "xarray", "matplotlib")
    settings = {
        "run": translator.run,
        "step": translator.step,
        "source": {task.source: list(task.source_bands)},
        "target": {task.target: list(task.target_bands)},
        "truth": comparison.truth,
        "bands compared (target: band of the truth file)": dict(comparison.truth_bands),
        "checkpoint": translator.metadata,
        "versions here": {"python": platform.python_version(), "satxlate_jax": __version__}
        | {package: version(package) for package in packages},
    }
    scored = [source if source == truth else f"{source} against {truth}" for source, truth in results.files]
    files = {"scored": scored, "baselines fitted on": [file.path.name for file in comparison.fit_files]}
    context = {
        "results": results,
        "translator": translator,
        "command": command,
        "made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC by satxlate_jax {__version__}",
        "drawn": Plots(folder / "figures"),
        "headline": headline(results),
        "by_area": describe_area(results),
        "fitted": [BASELINES[name] for name in results.methods if name in BASELINES],
        "summary": _summary(results, beside),
        "beside": beside,
        "groups": _groups(results),
        "cycle": _cycle(results),
        "is_calibrated": translator.network.is_calibrated,
        "apart": results.by_group[results.by_group["group"].isin(FLAGS) & results.by_group["coverage_1sd"].notna()],
        "files": per_file[
            (per_file["method"] == MODEL) | (per_file["method"] == per_file["band"].map(results.ranking["best_name"]))
        ],
        "bands": sorted(
            results.scored_bands, key=lambda band: (band.number in task.inputs, band.number not in results.calibrations)
        ),
        "n_maps": max(1, _MAPS // len(results.scored_bands)),
        "settings": json.dumps(settings, indent=1, default=str),
        "file_names": json.dumps(files, indent=1),
    }
    page = environment().get_template("report.html.j2").render(context, comparison=comparison, task=task)
    atomic.write_text(folder / "report.html", page)
    return context["drawn"].failed


def _summary(results: Results, beside: pd.DataFrame | None) -> pd.DataFrame:
    """The first table: the ranking, other scores of the model, its standard deviation over files, scores `beside`."""
    model, files = (table[table["method"] == MODEL] for table in (results.total, results.per_file))
    given, calibrations = results.comparison.task.inputs, results.calibrations
    scores = ["n", "wavelength_um", "unit", "coverage_1sd", "coverage_2sd", "power_ratio", "power_ratio_sample"]
    others = pd.DataFrame() if beside is None else beside.set_index("band")[["model", "best"]].add_suffix("_beside")
    table = results.ranking.join([model.set_index("band")[scores], others]).assign(
        spread=files.groupby("band")["rmse"].std(),
        std_to_error=pd.Series({number: sums.scores()["std_to_error"] for number, sums in calibrations.items()}),
    )
    return table.reset_index().assign(
        given=[
            "inferred" if number not in given else "given, adjusted" if number in calibrations else "given"
            for number in table.index
        ],
        verdict=list(map(describe_verdict, table["outcome"], table["ratio"])),
        good=table["outcome"].map({"ahead": "good", "behind": "bad"}).fillna("").to_list(),
    )


def _groups(results: Results) -> pd.DataFrame:
    """RMSE by group of pixels, the model's and that of the group's best unpaired baseline."""
    table = results.by_group
    rmse = table.pivot(index=["band", "unit", "group"], columns="method", values="rmse")
    parts = {MODEL: rmse[MODEL], _RIVAL: best_baseline(rmse)[1]}
    wide = pd.concat({method: part.unstack("group") for method, part in parts.items()}, names=["method"])
    wide = wide[list(table["group"].unique())].dropna(how="all")
    return wide.sort_index(level="band", sort_remaining=False, kind="stable").reset_index()[
        ["band", "method", "unit", *wide.columns]
    ]


def _behind_in_groups(results: Results, bands: Sequence[int]) -> list[str]:
    """Of bands in which the model is ahead over all, the groups of many pixels in which it is not, in words."""
    groups = _groups(results).drop(columns="unit").set_index(["method", "band"])
    counts = results.by_group[results.by_group["method"] == MODEL].pivot(index="band", columns="group", values="n")
    places = []
    for band in bands:
        outcome = compare(groups.loc[MODEL, band], groups.loc[_RIVAL, band])[0]
        shares = counts.loc[band] / counts.loc[band, ALL]
        if lost := [group for group in outcome.index[outcome == "behind"] if shares[group] >= _MANY]:
            places.append(f"band {band} ({', '.join(lost)})")
    return places


def _cycle(results: Results) -> pd.DataFrame:
    scores = band_scores(results.consistency.cycle).rename_axis("band").sort_index().reset_index()
    bands = [get_satellite(results.comparison.task.source).band(number) for number in scores["band"]]
    return scores.assign(unit=[band.unit for band in bands], wavelength_um=[band.wavelength for band in bands])


def format_number(value: float, digits: int = 4) -> str:
    """A number for reading: integers with thin spaces, others with so many significant digits, '–' for none."""
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u202f")
    if not math.isfinite(value):
        return "–" if math.isnan(value) else "∞" if value > 0 else "-∞"
    magnitude = math.floor(math.log10(abs(value))) if value else 0
    return f"{value:.{max(0, digits - 1 - magnitude)}f}" if -4 <= magnitude < digits else f"{value:.{digits}g}"


def headline(results: Results) -> str:
    """The outcome in plain words, good or bad."""
    task, ranking, rmse = results.comparison.task, results.ranking, results.rmse().reindex(columns=[*BASELINES])

    def bands(chosen: Any) -> list[int]:
        return list(ranking.index[chosen])

    def behind(rival: pd.Series, *outcomes: str) -> list[int]:
        return bands(compare(ranking["model"], rival)[0].isin(["behind", *outcomes]))

    outcome = ranking["outcome"]
    ahead, equal, judged = bands(outcome == "ahead"), bands(outcome == "equal"), bands(outcome != "")
    passed = [number for number in equal if results.calibrations and number not in results.calibrations]
    judged = [number for number in judged if number not in passed]
    lead = f"the model is closer to the truth than the best unpaired baseline in {len(ahead)} of "
    lead += _count(len(judged), "band") + (f" ({list_bands(ahead)})" if ahead else "")
    lead += f"; it passes {_bands_in_words(passed)} on as measured" if passed else ""
    if not judged:
        lead = "no unpaired baseline has an answer to compare the model with"
        lead += f", and no file of {task.target} is there to fit any on" * (not results.comparison.fit_files)
    where = f", simulated as from {task.source}'s place" if results.comparison.truth == "same_view" else ""
    sentences = [f"{task.source} to {task.target}{where}: {lead}."]
    lost = {name: bands((outcome == "behind") & (ranking["best_name"] == name)) for name in results.methods}
    if better := [f"{method_name(name)} in {_bands_in_words(found)}" for name, found in lost.items() if found]:
        sentences.append(f"Elsewhere a baseline is closer: {'; '.join(better)}.")
    linear = behind(rmse["linear"])
    if linear and linear != lost["linear"]:  # which is said already
        sentences.append(f"Linear regression is better than the model in {_bands_in_words(linear)}.")
    if close := [number for number in equal if number not in passed]:
        sentences.append(f"Model and best unpaired baseline are equal within 0.5 % in {_bands_in_words(close)}.")
    if places := _behind_in_groups(results, ahead):
        sentences.append(f"Among some pixels (Where) a baseline is closer all the same: {'; '.join(places)}.")
    if beaten := behind(rmse["constant"], "equal"):
        sentences.append(f"In {_bands_in_words(beaten)} the model is no better than a constant.")
    if paired := behind(ranking["paired"]):
        words = "A line fitted on coincident pairs, more than the model is given, is closer in"
        sentences.append(f"{words} {_bands_in_words(paired)}.")
    made = [number for number in ranking.index if number not in task.inputs]
    if made and len(made) < len(ranking):
        inside = [number for number in made if number in ahead]
        words = f"Of what {task.source}'s input lacks ({_bands_in_words(made)}), the model is ahead in"
        sentences.append(f"{words} {_bands_in_words(inside) if inside else 'none'}.")
    if (shares := results.extrapolated).size:
        flagged = [f"{share:.1%} of the pixels in band {band}" for band, share in shares.items() if share >= FEW]
        sentences.append(f"The model flags {', '.join(flagged) or 'few pixels'} as extrapolated.")
    sentences += _overlap(results)
    if len(results.files) < FEW_FILES:
        sentences.append(f"Scored on {_count(len(results.files), 'file')} only: a lead of some percent may be chance.")
    return " ".join(sentences)


def _overlap(results: Results) -> list[str]:
    """Which of the scored files the run was trained on or validated on, or that this is not known, in words."""
    is_withheld = results.comparison.truth == "source"
    words = {"train": "training data", "validation": "validation data"}
    words["validation"] += ", which calibrate standard deviations" * (not is_withheld)
    found = {split: common for split, common in results.files_in_splits.items() if common[0]}
    if not results.splits:
        return ["On which days or tiles the run was trained is not known."]
    if not found:
        return ["No scored file is of a day or tile of the run's training or validation."]
    total = _count(len(results.files), "scored file")
    withheld = (
        f"; {results.comparison.task.source}'s own bands that are compared here were not given to it" * is_withheld
    )
    return [
        f"{count} of {total} {'is' if count == 1 else 'are'} of days or tiles of the run's {words[split]} "
        f"({list_some(names, 'info RUN lists all')}){withheld}."
        for split, (count, names) in found.items()
    ]


def list_bands(numbers: Sequence[int]) -> str:
    """Such as '1, 3-5, 7'; two neighbours are not a range."""
    words: list[str] = []
    for _, pairs in itertools.groupby(enumerate(sorted(numbers)), lambda pair: pair[1] - pair[0]):
        run = [str(number) for _, number in pairs]
        words += [f"{run[0]}-{run[-1]}"] if len(run) > 2 else run
    return ", ".join(words)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"


def _bands_in_words(numbers: Sequence[int]) -> str:
    return f"band{'s' * (len(numbers) > 1)} {list_bands(numbers)}"


def describe_verdict(outcome: str, ratio: float) -> str:
    """An outcome against the best unpaired baseline, in words."""
    if outcome == "ahead":
        return f"model better by {1 - ratio:.0%}"
    if outcome == "behind":
        return "model worse" + ("" if math.isinf(ratio) else f": error × {ratio:.3g}")
    return outcome or "no unpaired baseline"


def describe_area(results: Results) -> str:
    """The bands whose verdict would be another if scores were weighted by area, in words."""
    by_pixel, by_area = results.ranking, rank_methods(results.rmse(by_area=True))
    same = by_pixel["outcome"] == by_area["outcome"]
    same &= (by_pixel["outcome"] != "behind") | (by_pixel["best_name"] == by_area["best_name"])
    others = list(by_pixel.index[~same])
    verdict = f"another in {_bands_in_words(others)}" if others else "the same in every band"
    return f"By area the verdict would be {verdict}."
