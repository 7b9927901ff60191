"""Translated files in the hands of other tools: a CF checker, rioxarray, ncdump."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from satxlate_jax.translation.load import load
from satxlate_jax.translation.netcdf import write_tile_netcdf
from tests.random_run import save_random_run
from tests.translation.test_translate import make_tile

BANDS = {"G16": (1, 7, 12), "G17": (8, 9, 10, 16)}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A file as translate writes it, with reflective and thermal bands, spread, flags and missing values."""
    folder = tmp_path_factory.mktemp("other_tools")
    translator = load(save_random_run(folder / "run", BANDS))
    tile = make_tile()
    tile["BAND09"][5, 6] = np.nan
    output = translator.translate(tile, "G16", samples=2)
    write_tile_netcdf(output, folder / "out.nc", metadata=translator.metadata, command="satxlate translate ...")
    return folder / "out.nc", output


def test_a_cf_checker_finds_nothing(written, tmp_path):
    pytest.importorskip("compliance_checker")
    program = Path(sys.executable).with_name("compliance-checker")
    report = tmp_path / "report.txt"
    # away from the network: no proxy can be reached, and the names' table comes with the package
    offline = os.environ | {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy")}
    words = [program, "--test=cf:1.8", "--criteria=strict", f"--output={report}", written[0]]
    seen = subprocess.run(list(map(str, words)), capture_output=True, text=True, env=offline, timeout=120)
    assert seen.returncode == 0 and "All tests passed" in report.read_text(), report.read_text() + seen.stderr


# affine warns of its own change of operators inside rioxarray and rasterio
@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
def test_rioxarray_knows_where_it_is(written):
    rioxarray = pytest.importorskip("rioxarray")
    path, output = written
    with xr.open_dataset(path, decode_coords="all") as tile:
        assert tile.rio.crs.to_epsg() == 4326 and tile["BAND12"].rio.crs.to_epsg() == 4326
        assert (tile.rio.x_dim, tile.rio.y_dim) == ("lon", "lat")
        np.testing.assert_allclose(tile.rio.transform()[:6], [0.02, 0, -126, 0, -0.02, 42], atol=1e-9)
        # a place in metres holds the value of the pixel that its latitude and longitude name
        flat = tile["BAND12"].rio.reproject("EPSG:3857")
        lon, lat = float(tile["lon"][30]), float(tile["lat"][20])
        east, north = np.radians(lon) * 6378137, np.log(np.tan(np.pi / 4 + np.radians(lat) / 2)) * 6378137
        assert float(flat.sel(x=east, y=north, method="nearest")) == pytest.approx(
            float(tile["BAND12"][20, 30]), abs=0.02
        )
    with rioxarray.open_rasterio(f"netcdf:{path}:BAND12", mask_and_scale=True) as raster:  # by GDAL
        np.testing.assert_allclose(raster[0], output["BAND12"], atol=0.0051)
        np.testing.assert_allclose(raster.rio.bounds(), [-126, 41.2, -124.96, 42], atol=1e-9)
        assert raster.rio.crs.to_epsg() == 4326
