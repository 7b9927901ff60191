"""Scores of what changes from one time to the next, against sums over the very pixels; and their curve."""

import csv
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from satxlate_jax import load, read_tile, write_tile
from satxlate_jax.__main__ import main
from satxlate_jax.archive.catalog import file_name, find_tiles, parse_name, relative_path
from satxlate_jax.evaluation.animate import find_changes
from satxlate_jax.evaluation.plots import draw_flicker
from satxlate_jax.evaluation.quicklook import View
from satxlate_jax.evaluation.results import read_sums
from tests import tiny_flow
from tests.tiny_flow import TILE, draw_tile

TIMES = ("2019-01-03T18:30", "2019-01-03T18:40", "2019-01-03T20:40")  # of these only the first two are neighbours


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """An archive of three times, and the folder of its scores."""
    folder = tmp_path_factory.mktemp("flicker")
    for seed, time in enumerate(TIMES):
        for satellite in ("G16", "G17"):
            tile = draw_tile(satellite, seed, shape=(300, 300)).assign_coords(time=np.datetime64(time, "ns"))
            write_tile(tile, folder / "l1g" / relative_path(satellite, TILE, datetime.fromisoformat(time)))
    words = ["--source", "G17", "--target", "G16", "--baselines", "linear", "--pictures", "0"]
    run = str(tiny_flow.finished_run())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("satxlate_jax.evaluation.report.Plots.draw", lambda *_: {})
        command = ["evaluate", "--checkpoint", run, "--l1g", str(folder / "l1g"), *words, "--output"]
        assert main([*command, str(folder / "scores")]) == 0
    return folder


def read_details(folder):
    with (folder / "details.csv").open() as file:
        return {(row["method"], int(row["band"])): row for row in csv.DictReader(file)}


def test_changes_are_those_of_neighbours_in_time(scored):
    rows, translator = read_details(scored / "scores"), load(tiny_flow.finished_run())
    sources, truths = (
        [
            read_tile(file.path, bands=tiny_flow.SATELLITES[name])
            for file in find_tiles(scored / "l1g", satellites=[name])[:2]
        ]
        for name in ("G17", "G16")
    )
    made = [translator.translate(tile, "G16") for tile in sources]
    for band in (2, 7, 12):
        name = f"BAND{band:02d}"
        change, truth = (np.diff([tile[name].values for tile in tiles], axis=0) for tiles in (made, truths))
        row = {key: float(value) for key, value in rows["model", band].items() if key.startswith("change")}
        assert row["change_ratio"] == pytest.approx(np.sqrt(np.mean(change**2) / np.mean(truth**2)), rel=1e-3)
        assert row["change_rmse"] == pytest.approx(np.sqrt(np.mean((change - truth) ** 2)), rel=1e-3, abs=1e-6)
    assert 0.9 < float(rows["model", 7]["change_ratio_sample"]) < 1.1  # its noise stands still
    assert rows["linear", 7]["change_ratio_sample"] == "nan"


def test_pooled_and_drawn_they_are_the_same(scored, capsys):
    assert main(["pool", str(scored / "scores"), "--output", str(scored / "pooled")]) == 0
    assert (scored / "pooled" / "details.csv").read_text() == (scored / "scores" / "details.csv").read_text()
    results = read_sums(scored / "scores")
    axes = draw_flicker(results).axes[0]
    assert len(axes.get_xticks()) == len(results.scored_bands)
    drawn = axes.get_lines()[0].get_ydata()
    np.testing.assert_allclose(drawn, results.details.query("method == 'model'")["change_ratio"])


def test_a_curve_of_changes_beside_the_frames():
    """Steps of 3 K in what was made, of 1 K in what was seen; a frame that cannot be read is passed over."""
    frames = [
        (Path(str(number)), [parse_name(file_name("G17", TILE, datetime(2019, 1, 3, number)))]) for number in range(3)
    ]

    def read(path):
        title, step = ("G16 synthesised from G17, tile", 3) if path.suffix != ".hdf" else ("G17 observed, tile", 1)
        hour = int(path.name) if path.suffix != ".hdf" else int(path.name.split("_")[3][:2])
        return View(path.name, title, title[:3], {13: np.full((4, 4), 280.0 + step * hour)}, *np.zeros((2, 4)))

    changes = find_changes(frames, read, "infrared")
    assert list(changes) == ["G17 observed, 10.35 µm", "G16 synthesised from G17, 10.35 µm"]
    np.testing.assert_array_equal(changes.to_numpy(), [[np.nan, np.nan], [1, 3], [1, 3]])
