"""All methods are scored alike: limited to the bands' valid ranges, on the same pixels, by one rule of who is ahead."""

import csv

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from satxlate_jax import load, write_tile
from satxlate_jax.__main__ import main
from satxlate_jax.evaluation.baselines import BASELINES, MODEL, Baseline
from satxlate_jax.evaluation.case_selection import Comparison, Task, find_comparison
from satxlate_jax.evaluation.compare import read_scores
from satxlate_jax.evaluation.metrics import band_sums
from satxlate_jax.evaluation.report import headline
from satxlate_jax.evaluation.results import LABELS, Results, latex_table, write_csv
from satxlate_jax.evaluation.scoring import evaluate
from satxlate_jax.geometry import tile_grid
from satxlate_jax.instruments import get_satellite
from tests.random_run import save_random_run

BANDS = {"G16": (2, 13), "H8": (2, 3, 13)}
SCORED, FITTED = 1, 2  # days of the archive


def make_tile(satellite, day):
    """By a parabola green follows from the window; on the scored day a corner is colder than anything fitted on."""
    lat, lon = tile_grid("h02v05", 300)
    random = np.random.default_rng(day)
    red = 0.3 + 0.05 * random.standard_normal((300, 300))
    warm = 290 + 2 * random.standard_normal((300, 300))
    if day == SCORED:
        warm[:150, :200] = 205
    green = np.clip(0.5 * red + 0.02 * (warm - 290) ** 2, 0, 1.2)
    bands = {"G16": {2: red, 13: warm}, "H8": {2: green, 3: red, 13: warm}}[satellite]
    variables = {
        f"BAND{number:02d}": (
            ("lat", "lon"),
            field.astype(np.float32),
            {"units": get_satellite(satellite).band(number).unit},
        )
        for number, field in bands.items()
    }
    variables["solar_zenith"] = (("lat", "lon"), np.full((300, 300), 30, np.float32), {"units": "degree"})
    coordinates = {"lat": lat, "lon": lon, "time": np.datetime64(f"2019-02-0{day}T22:00", "ns")}
    return xr.Dataset(variables, coordinates, {"satellite": satellite, "tile": "h02v05"})


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("terms")
    save_random_run(folder / "run", BANDS, dim=4)
    for satellite in BANDS:
        for day in (SCORED, FITTED):
            name = f"{get_satellite(satellite).file_code}_2019020{day}_2200_GLBG_h02v05_02.hdf"
            path = folder / "l1g" / satellite / "GEONEX-L1G" / "h02v05" / "2019" / f"{31 + day:03d}" / name
            write_tile(make_tile(satellite, day), path)
    return folder


def test_a_regression_gone_wild_is_limited_as_the_model_is(made, tmp_path):
    words = ["--source", "G16", "--target", "H8", "--days", str(31 + SCORED), "--pictures", "0"]
    folders = ["--checkpoint", str(made / "run"), "--l1g", str(made / "l1g"), "--output", str(tmp_path)]
    assert main(["evaluate", *folders, *words]) == 0
    with (tmp_path / "scores.csv").open() as file:
        scores = {(row["method"], int(row["band"])): row for row in csv.DictReader(file)}
    # (warm - 290)^2 * 0.02 is 144 in the cold corner: far beyond what a reflectance can be
    truth = make_tile("H8", SCORED)["BAND02"].values.astype(np.float64)
    low, high = get_satellite("H8").band(2).valid_range
    corner = np.zeros(truth.shape, bool)
    corner[:150, :200] = True
    exact = np.where(corner, high, truth)  # a parabola is fitted exactly elsewhere
    expected = np.sqrt(np.mean((exact - truth) ** 2))
    assert float(scores["quadratic", 2]["rmse"]) == pytest.approx(expected, abs=2e-3)
    for band in (2, 3, 13):
        counts = {row["n"] for (_, number), row in scores.items() if number == band}
        assert counts == {str(truth.size)}


class Wild(Baseline):
    """Beyond the valid range in one column, without an answer in another."""

    name = "wild"

    def predict(self, values):
        predicted = np.repeat(np.array([0.5, -3.0, 280.0])[None, None], 300, 0).repeat(300, 1)
        predicted[:, 0] = 1e5
        predicted[:, 1, 1:] = np.nan
        return dict(zip(self.task.target_bands, np.moveaxis(predicted, -1, 0), strict=True))


class Silent(Baseline):
    """Without any answer, or only where the model has none."""

    name = "silent"

    def predict(self, values):
        return {3: np.where(np.isnan(values[..., 0]), 1.0, np.nan)}


def test_every_method_counts_the_same_pixels_within_the_valid_range(made, tmp_path):
    translator = load(made / "run")
    found = find_comparison(translator, made / "l1g", "G16", "H8", days=[31 + SCORED])
    wild, silent = Wild(found.task), Silent(found.task)
    results = evaluate(translator, found, [wild, BASELINES["band_copy"](found.task), silent], pictures=1)
    truth = make_tile("H8", SCORED)
    n = results.total.set_index(["method", "band"])["n"]
    assert n[MODEL].to_dict() == {2: 90_000, 3: 89_700, 13: 89_700}
    assert all(n[method, number] == 89_700 for method in ("band_copy", "wild") for number in (3, 13))
    values = truth["BAND13"].values.astype(np.float64)
    predicted = np.full((300, 300), 280.0)
    predicted[:, 0] = get_satellite("H8").band(13).valid_range[1]
    errors = np.delete(predicted - values, 1, axis=1)
    assert results.rmse()["wild"][13] == pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-4)
    green = truth["BAND02"].values.astype(np.float64)
    predicted = np.full((300, 300), 0.5)
    predicted[:, 0] = 1.6
    assert results.rmse()["wild"][2] == pytest.approx(np.sqrt(np.mean((predicted - green) ** 2)), rel=1e-3)
    # who never answers costs the others nothing; what is drawn is what is scored
    assert "silent" not in n
    assert np.nanmax(results.examples[0].predictions["wild"][3]) <= 1.6
    assert np.nanmin(results.examples[0].predictions["wild"][3]) == 0.0


def results_of(rmse, band=13):
    """An evaluation whose methods have these RMSE in one band: errors of one size."""
    task = Task("G16", (8, 9), "G17", (band,))
    results = Results(Comparison(task, "coincident", {band: band}), list(rmse))
    truth = np.full((12, 12), 280.0)
    truth[::2] = 270.0
    for method, value in rmse.items():
        sums = band_sums(truth + value, truth, 200.0)
        results.add(sums.set_axis(pd.MultiIndex.from_tuples([("", "all", method, band)], names=LABELS)), {})
    return results


def outcome_of(results, folder):
    """What `compare` makes of the scores that `evaluate` writes."""
    folder.mkdir()
    write_csv(results.total, folder / "scores.csv")
    (outcome,) = read_scores(folder, "run", all_bands=True).itertuples()
    return outcome


CASES = {
    "equal but for rounding": {"model": 2.0, "band_copy": 1.0, "linear": 0.99995},
    "a little better": {"model": 2.0, "band_copy": 1.0, "linear": 0.9995},
    "three within rounding": {"model": 2.0, "band_copy": 1.0, "linear": 0.99994, "quadratic": 0.99988},
    "a chain of small steps": {"model": 1.0, "band_copy": 1.0, "linear": 0.99985, "quadratic": 0.99978},
    "exactly at the tie": {"model": 0.995, "linear": 1.0},
    "exactly at the tie, behind": {"model": 1.005, "linear": 1.0},
    "a hair inside": {"model": 0.99500004, "linear": 1.0},
    "both perfect": {"model": 0.0, "linear": 0.0},
    "perfect baseline": {"model": 1.0, "linear": 0.0},
    "paired alone": {"model": 1.0, "sbaf": 0.5},
    "paired best": {"model": 1.0, "linear": 1.2, "sbaf": 0.5},
    "no baseline": {"model": 1.0},
}


@pytest.mark.parametrize("rmse", CASES.values(), ids=CASES.keys())
def test_the_report_and_compare_name_the_same_best_and_the_same_verdict(rmse, tmp_path):
    results = results_of(rmse)
    outcome = outcome_of(results, tmp_path / "out")
    ours = results.ranking.loc[13]
    for name in ("best_name", "paired_name", "outcome"):
        assert ours[name] == getattr(outcome, name)
    for name in ("model", "best", "paired", "ratio"):
        np.testing.assert_allclose(ours[name], getattr(outcome, name), rtol=1e-6)
    assert (outcome.outcome == "ahead") == ("1 of 1 band (13)" in headline(results))
    # the LaTeX table sets in bold where the report says that the model is ahead, or alone
    assert (r"\textbf" in latex_table(results)) == (outcome.outcome in ("ahead", ""))


def test_the_verdicts_agree_near_every_tie(tmp_path):
    random = np.random.default_rng(0)
    names = ("band_copy", "linear", "quadratic", "constant", "sbaf")
    for index in range(60):
        steps = random.choice([0, 1e-8, 9.9e-5, 1e-4, 1.01e-4, 4.9e-3, 5e-3, 5.1e-3], size=6)
        rmse = dict(zip(("model", *names), 0.3 * (1 + steps * random.choice([-1, 1], size=6)), strict=True))
        results = results_of(rmse)
        outcome = outcome_of(results, tmp_path / str(index))
        ours = results.ranking.loc[13]
        assert (ours["best_name"], ours["outcome"]) == (outcome.best_name, outcome.outcome), rmse


def test_of_two_that_are_equal_but_for_rounding_the_simpler_one_is_named():
    assert results_of(CASES["equal but for rounding"]).ranking["best_name"][13] == "band_copy"
    assert results_of(CASES["a little better"]).ranking["best_name"][13] == "linear"
    backwards = dict(reversed(CASES["three within rounding"].items()))
    best = {results_of(rmse).ranking["best_name"][13] for rmse in (CASES["three within rounding"], backwards)}
    assert len(best) == 1
