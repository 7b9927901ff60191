"""Evaluation on pixels of 1 km: all methods on that grid, the translation at 2 km beside."""

import csv
from datetime import datetime

import numpy as np
import pytest

from satxlate_jax import write_tile
from satxlate_jax.__main__ import main
from satxlate_jax.archive.catalog import relative_path
from satxlate_jax.geometry import tile_grid
from satxlate_jax.instruments import published_statistics
from tests import tiny_flow
from tests.tiny_flow import TILE, draw_tile

SIDE = 600


def write_scene(root):
    """A scene whose red band, and by their law the band at 0.865 um, has details of hardly more than two pixels."""
    wave = np.sin(np.arange(SIDE) * np.pi * 0.8)
    axes = {name: (name, axis) for name, axis in zip(("lat", "lon"), tile_grid(TILE, SIDE), strict=True)}
    for satellite, details in (("G16", {2: 0.5, 3: 0.4}), ("G17", {2: 0.5})):
        drawn = draw_tile(satellite, shape=(SIDE // 2, SIDE // 2)).drop_vars(["lat", "lon"])
        tile = drawn.isel(lat=np.arange(SIDE) // 2, lon=np.arange(SIDE) // 2).assign_coords(axes)
        for band, amplitude in details.items():
            amplitude *= published_statistics(satellite, [band])[1][0]
            tile[f"BAND{band:02d}"] += (amplitude * wave[:, None] * wave).astype(np.float32)
        write_tile(tile, root / relative_path(satellite, TILE, datetime(2019, 1, 3, 18, 30)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Scores of a scene at 1 and 2 km."""
    folder = tmp_path_factory.mktemp("resolution")
    write_scene(folder / "l1g")
    words = ["--source", "G17", "--target", "G16", "--baselines", "band_copy", "--pictures", "1"]
    for km in ("1", "2"):
        command = ["evaluate", "--checkpoint", str(tiny_flow.finished_run()), "--l1g", str(folder / "l1g"), *words]
        assert main([*command, "--resolution_km", km, "--output", str(folder / km)]) == 0
    return folder


def read_table(folder, name):
    with (folder / f"{name}.csv").open() as file:
        return {(row["method"], int(row["band"])): row for row in csv.DictReader(file)}


def test_details_are_scored_beside_the_translation_at_2_km(folder):
    scores, details = (read_table(folder / "1", name) for name in ("scores", "details"))
    assert int(scores["model", 3]["n"]) == SIDE**2
    rmse = {method: float(scores[method, 3]["rmse"]) for method in ("model", "model_2km")}
    assert rmse["model"] < 0.85 * rmse["model_2km"]
    finest = {method: float(details[method, 3]["sharpness_finest"]) for method in ("model", "model_2km")}
    assert 5 * finest["model_2km"] < finest["model"] < 1.1
    assert float(details["model", 2]["sharpness_finest"]) == pytest.approx(1)  # passes unchanged
    assert float(details["model_2km", 2]["sharpness_finest"]) < 0.05
    assert {method for method, _ in read_table(folder / "2", "scores")} == {"model", "band_copy"}
    assert (folder / "1" / "figures" / "band03_detail.png").exists()
    assert not list((folder / "2" / "figures").glob("*_detail.png"))


def test_scores_of_two_grids_are_not_pooled(folder, capsys):
    assert main(["pool", str(folder / "1"), str(folder / "2"), "--output", str(folder / "pooled")]) == 2
    assert "the grid (--resolution_km) differs" in capsys.readouterr().err
