"""Translations as Zarr: one store per satellite and tile, filled and continued."""

import shutil

import numpy as np
import pytest
import xarray as xr

from satxlate_jax import load, read_tile
from satxlate_jax.__main__ import main
from tests.random_run import save_random_run

zarr = pytest.importorskip("zarr")

BANDS = {"G16": (7, 8, 9, 10, 12, 16), "G17": (8, 9, 10, 16)}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return save_random_run(tmp_path_factory.mktemp("zarr") / "run", BANDS)


def translate(run, output, *words):
    arguments = ["--checkpoint", run, "--to", "G16", "--output", output, "--zarr", "--workers", "1", *words]
    return main(["translate", *map(str, arguments)])


@pytest.fixture(scope="module")
def files(realdata_dir):
    return sorted((realdata_dir / "l1g").rglob("GO17*_h09v03_02.hdf"))


def test_a_store_grows_along_time_and_reads_as_cf(run, files, tmp_path, capsys):
    assert translate(run, tmp_path, files[0]) == 0
    assert translate(run, tmp_path, *files) == 0
    assert "2 written, 1 already there" in capsys.readouterr().out
    store = tmp_path / "G16_h09v03.zarr"
    assert [path.name for path in tmp_path.iterdir()] == [store.name]
    with xr.open_zarr(store, consolidated=True) as output:
        assert output["BAND12"].dims == ("time", "lat", "lon") and output.sizes["time"] == 3
        assert list(output["time"].values) == [read_tile(path)["time"].values for path in files]
        assert [str(name) for name in output["source_file"].values] == [path.name for path in files]
        assert (output["complete"] == 7).all()
        expected = load(run).translate(read_tile(files[2]), "G16")
        np.testing.assert_allclose(output["BAND12"][2], expected["BAND12"], atol=0.006)
        np.testing.assert_array_equal(output["quality"][2], expected["quality"])
        np.testing.assert_allclose(output["lat"], expected["lat"])
        assert output["BAND07"].attrs["units"] == "K" and output.attrs["Conventions"] == "CF-1.8"
        assert output.attrs["checkpoint_step"] == 7


def test_a_half_written_moment_is_written_again(run, files, tmp_path, capsys):
    translate(run, tmp_path, files[0], files[1])
    store = zarr.open_group(tmp_path / "G16_h09v03.zarr", mode="r+", zarr_format=2, use_consolidated=False)
    store["complete"][1] = -1  # as a process killed while writing leaves it
    store["BAND12"][1] = 0
    capsys.readouterr()
    assert translate(run, tmp_path, files[0], files[1]) == 0
    assert "1 written, 1 already there" in capsys.readouterr().out
    with xr.open_zarr(tmp_path / "G16_h09v03.zarr") as output:
        expected = load(run).translate(read_tile(files[1]), "G16")
        np.testing.assert_allclose(output["BAND12"][1], expected["BAND12"], atol=0.006)


def test_another_runs_or_other_bands_are_refused(run, files, tmp_path, capsys):
    translate(run, tmp_path, files[0])
    other = shutil.copytree(run, tmp_path / "other_run")
    assert translate(other, tmp_path, files[1]) == 2
    assert "holds translations of run 'run'" in capsys.readouterr().err
    assert translate(run, tmp_path, files[1], "--bands", "7") == 2
    assert "holds other bands" in capsys.readouterr().err
