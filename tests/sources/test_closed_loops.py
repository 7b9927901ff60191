"""A known field, written in the sensor's own geometry and format, comes back from `satxlate tiles` as it was."""

from datetime import datetime

import numpy as np
import pytest

from satxlate_jax import read_tile
from satxlate_jax.__main__ import main
from satxlate_jax.archive.catalog import relative_path
from tests.sources import granule_writers as writers

pytest.importorskip("satpy")


def tile_of(folder, root, satellite, tile, start, bands):
    words = ["tiles", str(folder), "--output", str(root), "--tiles", tile, "--bands", ",".join(map(str, bands))]
    assert main([*words, "--workers", "1"]) == 0
    return read_tile(root / relative_path(satellite, tile, start), bands=bands)


def rmse(tile, name, field):
    latitude, longitude = tile["lat"].values[:, None], tile["lon"].values[None]
    error = tile[name].values - field(latitude, longitude)
    assert np.isfinite(error).mean() > 0.99
    return np.sqrt(np.nanmean(error**2))


@pytest.mark.parametrize("packed", [False, True])
def test_himawari(packed, tmp_path):
    """Two of ten segments, by line; each has its own minute, by which the sun is reckoned."""
    start = datetime(2019, 6, 21, 3, 0)
    (tmp_path / "in").mkdir()
    for band in (5, 13) if not packed else (13,):
        for segment in (2, 3):
            writers.write_hsd(tmp_path / "in", band, segment, start, packed)
    tile = tile_of(tmp_path / "in", tmp_path / "out", "H8", "h52v05", start, (13,) if packed else (5, 13))
    assert rmse(tile, "BAND13", writers.temperature) <= 0.03
    if not packed:
        assert rmse(tile, "BAND05", writers.reflectance) <= 2e-4


def test_gk2a(tmp_path):
    """Part of the disk; a pixel with KMA's error flag is missing, and only it."""
    pytest.importorskip("pyspectral")
    start = datetime(2020, 6, 1, 3, 10)
    (tmp_path / "in").mkdir()
    writers.write_ami(tmp_path / "in", start, range(1180, 1580), range(2560, 3010))
    tile = tile_of(tmp_path / "in", tmp_path / "out", "GK2A", "h51v05", start, (13,))
    assert rmse(tile, "BAND13", writers.temperature) <= 0.03
    assert 1 <= np.isnan(tile["BAND13"].values).sum() <= 9


def test_meteosat_fci(tmp_path):
    """Two of forty chunks, which begin in the south."""
    start = datetime(2024, 6, 1, 12, 0)
    (tmp_path / "in").mkdir()
    for chunk, rows in ((34, range(4595, 4735)), (35, range(4735, 4875))):
        writers.write_fci(tmp_path / "in", start, chunk, rows)
    words = ["tiles", str(tmp_path / "in"), "--output", str(tmp_path / "out"), "--tiles", "h30v03", "--bands", "14"]
    assert main([*words, "--workers", "1"]) == 0
    tile = read_tile(tmp_path / "out" / relative_path("MTG1", "h30v03", start), bands=(14,))
    error = tile["BAND14"].values - writers.temperature(tile["lat"].values[:, None], tile["lon"].values[None])
    assert np.isfinite(error).mean() > 0.9
    assert np.sqrt(np.nanmean(error**2)) <= 0.03
