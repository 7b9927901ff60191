"""Results of an evaluation: additive sums, the scores and ranking derived from them, and their files."""

import hashlib
import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from satxlate_jax import atomic
from satxlate_jax.archive.catalog import parse_name
from satxlate_jax.cli import InputError
from satxlate_jax.evaluation import metrics
from satxlate_jax.evaluation.baselines import BASELINES, COARSE, MODEL, PAIRED, method_name
from satxlate_jax.evaluation.case_selection import Case, Comparison, Task
from satxlate_jax.evaluation.diagnostics import ALL, FLAGS, GROUPS, Consistency
from satxlate_jax.evaluation.distributions import Calibration, Flicker, JointHistogram, PowerSpectrum
from satxlate_jax.instruments import Band, get_satellite

KEYS = ("method", "source", "target", "band", "wavelength_um", "unit")
PIXEL_COLUMNS = (*KEYS, *metrics.METRICS)
"""The columns of every scores.csv; those of older evaluations end here."""
_POWER = {"power_ratio": "spectrum", "power_ratio_sample": "sample_spectrum"}  # of the kind of distribution
COLUMNS = (*PIXEL_COLUMNS, *metrics.AREA_METRICS, *metrics.SPREAD_METRICS, *_POWER, "truth")
"""Beside the metrics: the spectral power ratio of the output and of one sample, of all files and pixels only, and where
the truth is from, a value of `TRUTHS`."""
DETAILS = (
    *("error_p50", "error_p90", "error_p99", "histogram_distance"),
    *("sharpness", "effective_resolution_km", "coherence", "sharpness_finest", "sharpness_finest_sample"),
    *("change_ratio", "change_ratio_sample", "change_rmse"),
)
"""Of the distribution of errors, of spectra and of what changes from one time to the next: the return values of
`error_percentiles`, `distance`, `power_ratio`, `effective_resolution`, `coherence_below`, `finest`, `change_ratio` and
`change_rmse` in distributions.py, of the output and of one sample."""
TRUTHS = {"coincident": "target", "source": "source", "same_view": "same_view"}
"""A value of --truth -> that of the column truth."""

TIE = 0.005
"""Relative difference in RMSE up to which the model and a method are called equal."""
DIGITS = 7
"""Significant digits of a number in scores.csv."""

SUMS_FILE = "sums.npz"
FORMAT = 4
LACKING = {
    1: "scores by area, limits on the baselines' output, CRPS and coverage",
    2: "CRPS and coverage",
    3: "changes from time to time",
}
"""What sums of older formats are without."""

LABELS = ["file", "group", "method", "band"]
"""The labels of a row of sums. The file is '' in sums over all files; the sums of one file are over all its pixels."""
_KINDS: dict[str, Any] = {
    "histogram": JointHistogram,
    "calibration": Calibration,
    **dict.fromkeys(("spectrum", "sample_spectrum"), PowerSpectrum),
    **dict.fromkeys(("flicker", "sample_flicker"), Flicker),
}


def empty_sums() -> pd.DataFrame:
    """A table of sums without a row."""
    return pd.DataFrame(
        columns=list(metrics.SUMS), index=pd.MultiIndex.from_arrays([[]] * 4, names=LABELS), dtype=np.float64
    )


@dataclass
class Example:
    """One scored case, kept for pictures: lat [h] and lon [w] in degrees, all fields [h, w], by band.

    The source's bands are all that were read; the others, empty where there are none, are of the target's bands; the
    solar zenith angle is in degrees; `extrapolated` is true where the model says so.
    """

    case: Case
    lat: np.ndarray
    lon: np.ndarray
    solar_zenith: np.ndarray | None
    source: Mapping[int, np.ndarray]
    truth: Mapping[int, np.ndarray]
    predictions: Mapping[str, Mapping[int, np.ndarray]]
    std: Mapping[int, np.ndarray] = field(default_factory=dict)
    sample: Mapping[int, np.ndarray] = field(default_factory=dict)
    extrapolated: Mapping[int, np.ndarray] = field(default_factory=dict)

    def shows(self, band: Band) -> bool:
        """Tell if it has a pixel of the target's band with both a translation and a truth."""
        return bool((np.isfinite(self.truth[band.number]) & np.isfinite(self.predictions[MODEL][band.number])).any())


@dataclass
class Results:
    """Results of an evaluation.

    The sums are rows labelled `LABELS` with the columns `metrics.SUMS`, of all files and of each. What was read from a
    file is `about` its `format`, its `part` (number, count), and what it is `made_of`, the same in all parts.
    """

    comparison: Comparison
    methods: Sequence[str]  # the model first, then the baselines
    samples: int = 0  # ensemble members
    splits: Mapping[str, Sequence[str]] = field(default_factory=dict)  # days or tiles of the run's, as far as known
    sums: pd.DataFrame = field(default_factory=empty_sums)
    distributions: dict[tuple[str, str, int], Any] = field(default_factory=dict)  # (kind of `_KINDS`, method, band) ->
    files: list[tuple[str, str]] = field(default_factory=list)  # the scored ones and what they were compared with
    consistency: Consistency = field(default_factory=Consistency)
    examples: list[Example] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)  # file name and reason
    coastlines: bool = False  # in pictures
    about: Mapping[str, Any] = field(default_factory=dict)

    def add(self, sums: pd.DataFrame, distributions: Mapping[tuple[str, str, int], Any]) -> None:
        """Add sums of other files."""
        self.sums = metrics.merge_sums(pd.concat([self.sums, sums]))
        for stale in ("scores", "total", "ranking"):
            self.__dict__.pop(stale, None)
        for key, other in distributions.items():
            self.distributions[key] = self.distributions[key].merge(other) if key in self.distributions else other

    @cached_property
    def scores(self) -> pd.DataFrame:
        """The scores of all rows, sorted by file, group, band and method: the columns file, group and `COLUMNS`."""
        task = self.comparison.task
        table = metrics.band_scores(self.sums).reset_index()
        order = {"method": self.methods, "group": GROUPS, "file": ["", *dict(self.files)]}
        for label, names in order.items():
            table[label] = pd.Categorical(table[label], names)
        table = table.sort_values(["file", "group", "band", "method"]).astype(dict.fromkeys(order, object))
        bands = table["band"].map({number: self.band(number) for number in table["band"].unique()})
        words = {"source": task.source, "target": task.target, "unit": bands.map(lambda band: band.unit)}
        words["wavelength_um"] = bands.map(lambda band: band.wavelength)
        words["truth"] = TRUTHS[self.comparison.truth]
        for name, kind in _POWER.items():
            keys = zip(table["file"], table["group"], table["method"], table["band"], strict=True)
            spectra = (self.distributions.get((kind, *key[2:])) if key[:2] == ("", ALL) else None for key in keys)
            words[name] = [spectrum.power_ratio() if spectrum else math.nan for spectrum in spectra]
        return table.assign(**words)[["file", "group", *COLUMNS]]

    @cached_property
    def total(self) -> pd.DataFrame:
        """The scores over all files and pixels, with the columns `COLUMNS`."""
        return self.scores[(self.scores["file"] == "") & (self.scores["group"] == ALL)][list(COLUMNS)]

    @property
    def by_group(self) -> pd.DataFrame:
        """The scores over all files, with the column group before `COLUMNS`."""
        return self.scores[self.scores["file"] == ""][["group", *COLUMNS]]

    @property
    def per_file(self) -> pd.DataFrame:
        """The scores of each file, with its tile, time and name before `COLUMNS`."""
        table = self.scores[self.scores["file"] != ""]
        files = {name: file for name in dict(self.files) if (file := parse_name(name))}
        times = {name: f"{file.time:%Y-%m-%dT%H:%M}Z" for name, file in files.items()}
        tiles = table["file"].map({name: file.tile for name, file in files.items()})
        return table.assign(tile=tiles, time=table["file"].map(times))[["tile", "time", "file", *COLUMNS]]

    @property
    def details(self) -> pd.DataFrame:
        """Metrics that scores.csv has no column for, by method and band: the columns `KEYS` and `DETAILS`."""
        table = self.total[list(KEYS)].reset_index(drop=True)
        rows = []
        for method, band in zip(table["method"], table["band"], strict=True):
            histogram = self.distributions["histogram", method, band]
            spectrum, sample, change, drawn = (
                self.distributions.get((kind, method, band), _KINDS[kind]())
                for kind in ("spectrum", "sample_spectrum", "flicker", "sample_flicker")
            )
            errors = *histogram.error_percentiles((50, 90, 99)), histogram.distance()
            resolved = spectrum.power_ratio(), spectrum.effective_resolution(), spectrum.coherence_below()
            changes = change.change_ratio(), drawn.change_ratio(), change.change_rmse()
            rows.append((*errors, *resolved, spectrum.finest(), sample.finest(), *changes))
        return table.join(pd.DataFrame(rows, columns=list(DETAILS), dtype=np.float64))

    @property
    def extrapolated(self) -> pd.Series:
        """The share of each band's scored pixels that the model flags as outside of what it has seen; no band without.

        Only bands that the model infers or adjusts count.
        """
        n = self.by_group[self.by_group["method"] == MODEL].pivot(index="band", columns="group", values="n")
        told = n.index.isin([*self.calibrations]) & n.columns.isin(FLAGS).any()
        return (n.reindex(columns=[FLAGS[0]]).fillna(0)[FLAGS[0]] / n[ALL])[told]

    @property
    def files_in_splits(self) -> dict[str, tuple[int, list[str]]]:
        """Split -> how many scored files are of its days or tiles, and of which; {} where splits are not known."""
        files = [file for file in map(parse_name, dict(self.files)) if file]
        found = {split: [{file.day, file.tile} & {*names} for file in files] for split, names in self.splits.items()}
        return {split: (sum(map(bool, common)), sorted(set().union(*common))) for split, common in found.items()}

    @property
    def shown_methods(self) -> list[str]:
        """Two that stand for all: the model and linear regression, or else the first baseline with an answer."""
        answering = set(self.total["method"])
        order = sorted(self.methods[1:], key=lambda method: method != "linear")
        return [MODEL, *[method for method in order if method in answering][:1]]

    def band(self, number: int) -> Band:
        """The target's band of that number."""
        return get_satellite(self.comparison.task.target).band(number)

    @property
    def scored_bands(self) -> list[Band]:
        """Bands for which the model was scored on at least one pixel."""
        return [self.band(number) for number in self.total["band"][self.total["method"] == MODEL]]

    @property
    def calibrations(self) -> dict[int, Calibration]:
        """The calibration of the model's standard deviation in each scored band that has one."""
        found = {band.number: self.distributions.get(("calibration", MODEL, band.number)) for band in self.scored_bands}
        return {number: sums for number, sums in found.items() if sums}

    def rmse(self, *, by_area: bool = False) -> pd.DataFrame:
        """RMSE in the band's unit of each scored band, [band, method]; NaN where a method has no answer."""
        table = self.total.pivot(index="band", columns="method", values="rmse_area" if by_area else "rmse")
        return table.reindex(columns=list(self.methods), index=[band.number for band in self.scored_bands])

    @cached_property
    def ranking(self) -> pd.DataFrame:
        """The model against the baselines in each band that it was scored in, see `rank_methods`."""
        return rank_methods(self.rmse())


def best_baseline(rmse: pd.DataFrame, *, paired: bool = False) -> tuple[pd.Series, pd.Series]:
    """The baseline, of the paired or of the others, of the smallest RMSE and its RMSE, row by row; '' and NaN without.

    `rmse` has a column for each method, NaN is no answer. Where several are the smallest but for rounding (a regression
    on the band itself is the band copy), the first in the order of `BASELINES` is named, the simplest. Numbers are
    compared as scores.csv holds them.
    """
    order = [name for name in dict.fromkeys([*BASELINES, *rmse]) if name in rmse and name not in (MODEL, COARSE)]
    rivals = rmse[[name for name in order if (name in PAIRED) == paired]].assign(**{"": math.nan})
    written = rivals.map(_as_written)
    is_smallest = written.le(written.min(axis=1) * (1 + 1e-4) + 1e-6, axis=0)
    names = is_smallest.idxmax(axis=1).where(is_smallest.any(axis=1), "")
    return names, pd.Series([rivals.at[row, name] for row, name in names.items()], rmse.index, dtype=float)


def compare(model: pd.Series, rival: pd.Series) -> tuple[pd.Series, pd.Series]:
    """The model's outcome ('ahead', 'equal' within `TIE`, 'behind', '' without an answer) and ratio, from both RMSE."""
    model, rival = model.map(_as_written), rival.map(_as_written)
    ratio = (model / rival).mask((model == 0) & (rival == 0), 1.0)
    outcome = np.select([ratio < 1 - TIE, ratio > 1 + TIE, ratio.notna()], ["ahead", "behind", "equal"], "")
    return pd.Series(outcome, ratio.index), ratio


def rank_methods(rmse: pd.DataFrame) -> pd.DataFrame:
    """The model against the best baselines; the report and the subcommand `compare` both judge by it.

    The columns are model, best_name and best (the best unpaired baseline and its RMSE), outcome and ratio against it
    (see `compare`), paired_name and paired (the best paired baseline).
    """
    (best_name, best), (paired_name, paired) = best_baseline(rmse), best_baseline(rmse, paired=True)
    outcome, ratio = compare(rmse[MODEL], best)
    columns = {"model": rmse[MODEL], "best_name": best_name, "best": best, "outcome": outcome, "ratio": ratio}
    return pd.DataFrame(columns | {"paired_name": paired_name, "paired": paired})


def _as_written(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table; numbers with `DIGITS` significant digits."""
    text = table.to_csv(index=False, float_format=f"%.{DIGITS}g", na_rep="nan", lineterminator="\r\n")
    atomic.write_text(path, text)


def write_tables(results: Results, output: Path) -> None:
    """Write scores.csv and the other tables."""
    tables = {"scores": results.total, "scores_per_file": results.per_file, "scores_by_group": results.by_group}
    for name, table in (tables | {"details": results.details}).items():
        write_csv(table, output / f"{name}.csv")
    atomic.write_text(output / "scores.tex", latex_table(results))


def latex_table(results: Results) -> str:
    """Model, best unpaired baseline and constant by band, as a LaTeX table (booktabs)."""
    task, rmse, rows = results.comparison.task, results.rmse(), []
    scores = results.total.set_index(["method", "band"])
    for row in results.ranking.itertuples():
        band = results.band(row.Index)
        values = row.model, row.best, rmse.get("constant", rmse[MODEL] * math.nan)[row.Index]
        model, best, constant = ("--" if math.isnan(value) else f"{value:#.3g}" for value in values)
        if row.outcome in ("ahead", ""):
            model = rf"\textbf{{{model}}}"
        name, ssim = method_name(row.best_name) or "--", f"{scores.loc[(MODEL, band.number), 'ssim']:.3f}"
        rows.append((str(band.number), f"{band.wavelength:g}", band.unit, model, best, name, constant, ssim))
    heads = ["band", r"$\lambda$ ($\mu$m)", "unit", "model", "best unpaired baseline", "", "constant", "SSIM"]
    table = pd.DataFrame(rows, columns=heads).to_latex(index=False, escape=False, column_format="rrlrrlrr")
    what = f"% {task.source} to {task.target}; RMSE over all pixels of {len(results.files)} files"
    return f"{what}\n% needs \\usepackage{{booktabs}}\n{table}"


def write_sums(results: Results, run: str, step: int, folder: Path, part: tuple[int, int] = (1, 1)) -> None:
    """Write FOLDER/sums.npz, from which parts (a number from 1 and their count) of an evaluation are pooled."""
    comparison = results.comparison
    pairs = [file for pair in comparison.fit_pairs for file in pair]
    fitted = sorted(file.path.name for file in [*comparison.fit_files, *comparison.fit_sources, *pairs])
    made_of = {"run": run, "step": step, **asdict(comparison.task), "truth": comparison.truth}
    made_of |= {"resolution_km": comparison.resolution_km, "methods": list(results.methods), "samples": results.samples}
    made_of["fitted_on"] = hashlib.sha256("\n".join(fitted).encode()).hexdigest()
    about = {"format": FORMAT, "made_of": made_of, "files": results.files, "part": part, "splits": results.splits}
    arrays = {"about": np.array(json.dumps(about))}
    places = {name: index for index, (name, _) in enumerate(results.files)}
    for (file, group, method, band), row in zip(results.sums.index, results.sums.to_numpy(), strict=True):
        arrays[f"file/{places[file]}/{method}/{band}" if file else f"group/{group}/{method}/{band}"] = row
    for (kind, method, band), sums in results.distributions.items():
        arrays |= {f"{kind}/{name}/{method}/{band}": np.asarray(value) for name, value in vars(sums).items()}
    with atomic.replacing(folder / SUMS_FILE) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def read_sums(folder: str | Path) -> Results:
    """Read FOLDER/sums.npz, or InputError: all that tables need; no pictures, no consistency."""
    path = Path(folder) / SUMS_FILE
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = dict(stored)
        about = json.loads(str(arrays.pop("about")))
        if about["format"] in (*LACKING, FORMAT):
            return _assemble(about, arrays)
    except OSError as error:
        raise InputError(f"'{folder}' holds no {SUMS_FILE}; give the --output of `satxlate evaluate`") from error
    except (ValueError, KeyError, TypeError, IndexError, zipfile.BadZipFile, EOFError) as error:
        raise InputError(f"'{path}' is damaged; evaluate that part again") from error
    raise InputError(f"'{path}' was written by another version of satxlate; evaluate again")


def _assemble(about: dict[str, Any], arrays: dict[str, np.ndarray]) -> Results:
    made_of = about["made_of"]
    made_of.setdefault("resolution_km", 2.0)  # of before there was another
    task = Task(made_of["source"], tuple(made_of["source_bands"]), made_of["target"], tuple(made_of["target_bands"]))
    comparison, splits = Comparison(task, made_of["truth"], {}), about.get("splits", {})
    results = Results(comparison, made_of["methods"], made_of["samples"], splits, about=about)
    results.files = [(source, truth) for source, truth in about["files"]]
    if unknown := [name for pair in results.files for name in pair if parse_name(name) is None]:
        raise ValueError(f"'{unknown[0]}' is no name of an L1G file")
    sums: dict[tuple[str, str, str, int], np.ndarray] = {}
    values: dict[tuple[str, str, int], dict[str, Any]] = {}
    for name, array in arrays.items():
        kind, which, method, number = name.split("/")
        if kind in _KINDS:
            values.setdefault((kind, method, int(number)), {})[which] = array if array.ndim else array.item()
        else:
            label = ("", which) if kind == "group" else (results.files[int(which)][0], ALL)
            sums[(*label, method, int(number))] = np.pad(
                array, (0, len(metrics.SUMS) - len(array)), constant_values=np.nan
            )
    index = pd.MultiIndex.from_tuples(sums, names=LABELS) if sums else empty_sums().index
    table = pd.DataFrame(np.reshape(list(sums.values()), (-1, len(metrics.SUMS))), index, list(metrics.SUMS))
    results.add(table, {key: _KINDS[key[0]](**given) for key, given in values.items()})
    return results
