"""No imager sees 0 K: temperatures that cannot be are missing when a file is read, and counted."""

import json
from datetime import datetime

import numpy as np
import pytest
from pyhdf.SD import SDC

from satxlate_jax import load, read_tile
from satxlate_jax.archive.catalog import relative_path
from satxlate_jax.dataset.tile_patches import read_packed
from tests.archives import build_data_set, write_archive
from tests.l1g.test_l1g import NAME, write_hdf
from tests.random_run import save_random_run

KELVIN = [0.0, 119.9, 120.0, 165.0, 300.0, 450.0, 450.1, 600.0]


def scene(size, scale, offset, dtype):
    """Numbers of 280 K, in whose first row the temperatures above stand."""
    numbers = np.full((size, size), round((280 - offset) / scale), np.int64)
    numbers[0, : len(KELVIN)] = np.rint((np.array(KELVIN) - offset) / scale)
    return numbers.astype(dtype)


@pytest.mark.parametrize(
    ("scale", "offset", "dtype"),
    [
        (0.01, 0.0, "uint16"),
        (0.1, 0.0, "uint16"),
        (0.02, 0.0, "int16"),
        (0.1, -273.15, "uint16"),
        (0.02, 100.0, "int16"),
    ],
)
def test_they_are_missing_and_counted_and_cold_clouds_are_not(tmp_path, scale, offset, dtype):
    numbers = scene(300, scale, offset, dtype)
    zeros = np.zeros((300, 300), "uint16")
    path = write_hdf(tmp_path / NAME, {"BAND08": (numbers, scale, offset, None), "BAND02": (zeros, 1e-4, 0.0, None)})
    tile = read_tile(path, bands=[2, 8])
    values = (numbers[0, : len(KELVIN)] * scale + offset).round(6)  # what the file says, to its own step
    impossible = (values < 120) | (values > 450)
    np.testing.assert_array_equal(np.isnan(tile.BAND08[0, : len(KELVIN)]), impossible)
    np.testing.assert_allclose(tile.BAND08[0, : len(KELVIN)].values[~impossible], values[~impossible], rtol=1e-6)
    assert np.isnan(tile.BAND08).sum() == impossible.sum() == tile.BAND08.attrs["impossible_pixels"] > 0
    assert (tile.BAND02 == 0).all() and "impossible_pixels" not in tile.BAND02.attrs
    codes, _, _, counted = read_packed(path, [8])
    assert ((codes == 65535).sum(), counted) == (impossible.sum(), {"BAND08": impossible.sum()})


def test_fill_is_not_counted_and_a_sound_band_counts_none(tmp_path):
    numbers = np.full((300, 300), 18000, "uint16")
    numbers[:10] = 32768
    numbers[10:20] = 7  # declared as fill
    numbers[20, :5] = 0
    path = write_hdf(
        tmp_path / NAME,
        {"BAND08": (numbers, 0.01, 100.0, (SDC.UINT16, 7)), "BAND09": (numbers.clip(5000), 0.01, 100.0, None)},
    )
    tile = read_tile(path, bands=[8, 9])
    assert tile.BAND08.attrs["impossible_pixels"] == 5 and tile.BAND09.attrs["impossible_pixels"] == 0
    assert np.isnan(tile.BAND08).sum() == 20 * 300 + 5


@pytest.mark.parametrize("resampling", ["area", "bilinear"])
def test_a_finer_band_is_averaged_without_them(tmp_path, resampling):
    numbers = np.full((600, 600), 28000, "uint16")
    numbers[100:102, 100] = 0  # half of one pixel of 2 km
    path = write_hdf(tmp_path / NAME, {"BAND08": (numbers, 0.01, 0.0, None)})
    band = read_tile(path, bands=[8], resampling=resampling).BAND08
    assert band.min() == band.max() == np.float32(280) and band.attrs["impossible_pixels"] == 2
    assert np.isnan(band).sum() == 0 if resampling == "area" else np.isnan(band).any()


def test_a_build_leaves_them_out_and_its_manifest_says_how_many(tmp_path):
    write_archive(tmp_path / "l1g", {"G16": (8, 9)}, ["h09v03"], [datetime(2020, 5, 1, 18)])
    numbers = np.full((300, 300), 18000, "uint16")
    holed = numbers.copy()
    holed[:4, :4] = 0
    bad = tmp_path / "l1g" / relative_path("G16", "h09v03", datetime(2020, 5, 1, 19))
    write_hdf(bad, {"BAND08": (holed, 0.01, 100.0, None), "BAND09": (numbers, 0.01, 100.0, None)})
    folder = build_data_set(tmp_path / "l1g", tmp_path / "data", "mine", satellite="G16", bands=[8, 9], patch_size=100)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["impossible_temperatures"] == {"files": 1, "pixels": {"BAND08": 16}}
    assert sum(split["examples"] for split in manifest["splits"].values()) == 9 + 8  # one patch has a hole
    assert sum(split["dropped_patches"].get("no finite patch", 0) for split in manifest["splits"].values()) == 1


def test_they_are_missing_in_a_translation(tmp_path):
    numbers = np.full((300, 300), 18000, "uint16")
    numbers[150, 150] = 0
    path = write_hdf(tmp_path / NAME, {"BAND08": (numbers, 0.01, 100.0, None), "BAND09": (numbers, 0.01, 100.0, None)})
    run = save_random_run(tmp_path / "run", {"G16": (8, 9), "G17": (8,)}, dim=4)
    other = load(run).translate(read_tile(path, bands=[8, 9]), to="G17")
    assert np.isnan(other.BAND08).sum() == 1 and other.quality[150, 150] & 1
