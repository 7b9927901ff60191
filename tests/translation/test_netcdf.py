"""Translated files: CF metadata, packing, atomic writing, and reading by other tools."""

import json
from pathlib import Path
from types import SimpleNamespace

import netCDF4
import numpy as np
import pytest
import xarray as xr

from satxlate_jax.cli import InputError
from satxlate_jax.instruments import get_satellite
from satxlate_jax.translation.band_stacking import describe_band
from satxlate_jax.translation.netcdf import NetcdfFolder, write_tile_netcdf

METADATA = {"config": {"generator": {"dim": 8}}, "satellites": {"G16": {"bands": [1, 7]}}, "versions": {"jax": "0"}}


@pytest.fixture
def tile():
    random = np.random.default_rng(0)
    abi = get_satellite("G16")
    shape = (30, 40)
    red = random.uniform(0, 1.6, shape).astype(np.float32)
    hot = random.uniform(150, 420, shape).astype(np.float32)
    hot[3, 4] = np.nan
    quality = np.zeros(shape, np.int8)
    quality[3, 4] = 1
    return xr.Dataset(
        {
            "BAND01": (("lat", "lon"), red, describe_band(abi.band(1), "G16")),
            "BAND07": (("lat", "lon"), hot, describe_band(abi.band(7), "G16")),
            "quality": (
                ("lat", "lon"),
                quality,
                {"flag_masks": np.array([1], np.int8), "flag_meanings": "input_missing"},
            ),
        },
        {
            "lat": 42 - 0.02 * np.arange(shape[0]),
            "lon": -126 + 0.02 * np.arange(shape[1]),
            "time": np.datetime64("2019-10-27T20:01", "ns"),
        },
        {
            "satellite": "G16",
            "source_satellite": "G17",
            "source": "in.hdf",
            "tile": "h09v03",
            "checkpoint_run": "run",
            "checkpoint_step": 9,
        },
    )


def test_values_come_back_to_half_a_step(tile, tmp_path):
    write_tile_netcdf(tile, tmp_path / "out.nc")
    with xr.open_dataset(tmp_path / "out.nc") as back:
        assert np.abs(back["BAND01"] - tile["BAND01"]).max() <= 0.51e-4
        assert np.abs(back["BAND07"] - tile["BAND07"]).max() <= 0.51e-2
        np.testing.assert_array_equal(np.isnan(back["BAND07"]), np.isnan(tile["BAND07"]))
        np.testing.assert_array_equal(back["quality"], tile["quality"])
        np.testing.assert_array_equal(back["lat"], tile["lat"])
        assert back["time"].values == tile["time"].values


def test_cf_metadata(tile, tmp_path):
    write_tile_netcdf(tile, tmp_path / "out.nc", metadata=METADATA, command="satxlate translate ...")
    with netCDF4.Dataset(tmp_path / "out.nc") as file:
        assert file.Conventions == "CF-1.8"
        assert file.source_file == "in.hdf" and file.checkpoint_run == "run" and file.checkpoint_step == 9
        assert json.loads(file.checkpoint_config) == METADATA["config"]
        assert "satxlate translate ..." in file.history
        band = file["BAND07"]
        assert band.standard_name == "toa_brightness_temperature" and band.units == "K" and band.wavelength == 3.9
        assert (file.platform_name, file.sensor) == (band.platform_name, band.sensor) == ("GOES-16", "abi")
        assert file["BAND01"].standard_name == "toa_bidirectional_reflectance" and file["BAND01"].units == "1"
        assert band.dtype == np.int16 and band.filters()["zlib"]
        assert file[band.grid_mapping].grid_mapping_name == "latitude_longitude"
        assert file["lat"].units == "degrees_north" and file["lon"].standard_name == "longitude"
        assert "_FillValue" not in file["lat"].ncattrs()
        assert file["time"].units.startswith("seconds since") and file["time"].standard_name == "time"
        # by CF a packed variable's valid range is packed; unpacked it is the band's
        low, high = np.asarray(band.valid_range) * band.scale_factor + band.add_offset
        np.testing.assert_allclose([low, high], [150, 420])
        assert band.valid_range.dtype == np.int16
        assert file["quality"].flag_meanings == "input_missing"
        # CF 1.8 knows no unsigned and no 64-bit integers
        assert {variable.dtype.str[1:] for variable in file.variables.values()} <= {"i1", "i2", "i4", "f4", "f8"}
        # netCDF4 masks what lies outside the valid range: nothing does but the fill
        assert np.ma.count_masked(band[:]) == 1 and np.ma.count_masked(file["BAND01"][:]) == 0


def test_a_standard_deviation_has_no_offset(tile, tmp_path):
    """A tenth is read as a tenth, not as 273.25 less 273.15."""
    std = xr.full_like(tile["BAND07"], 0.1).assign_attrs(units="K")
    write_tile_netcdf(tile.assign(BAND07_std=std, BAND07_spread=std), tmp_path / "out.nc")
    with netCDF4.Dataset(tmp_path / "out.nc") as file:
        assert file["BAND07_std"].add_offset == file["BAND07_spread"].add_offset == 0 != file["BAND07"].add_offset
        assert set(file["BAND07_std"][:].compressed()) == {0.1}


def test_writing_leaves_nothing_half_written(tile, tmp_path):
    with pytest.raises(InputError, match="cannot write"):
        write_tile_netcdf(tile, tmp_path / "absent" / "out.nc")
    blocked = tmp_path / "out.nc"
    blocked.mkdir()
    with pytest.raises(InputError, match="cannot write"):
        write_tile_netcdf(tile, blocked)
    assert [path.name for path in tmp_path.iterdir()] == ["out.nc"]


def test_complete_means_this_source_and_this_checkpoint(tile, tmp_path):
    def folder(step, to="G16"):
        return NetcdfFolder(tmp_path, to, SimpleNamespace(run="run", step=step, metadata={}))

    source, path = Path("in.hdf"), tmp_path / "in_G16.nc"
    assert not folder(9).is_complete(source)
    folder(9).write(source, tile)
    assert folder(9).is_complete(source) and not folder(10).is_complete(source)
    path.rename(tmp_path / "other_G16.nc")
    assert not folder(9).is_complete(Path("other.hdf"))
    path.write_bytes((tmp_path / "other_G16.nc").read_bytes()[:100])
    assert not folder(9).is_complete(source)
