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


def test_a_half_written_slice_is_written_again(run, files, tmp_path, capsys):
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


def test_an_axis_that_a_killed_process_lengthened_is_laid_out_again(run, files, tmp_path, capsys):
    """The consolidated metadata are written last; until then the old axis holds."""
    translate(run, tmp_path, files[0])
    store = zarr.open_group(tmp_path / "G16_h09v03.zarr", mode="r+", zarr_format=2, use_consolidated=False)
    for name in ("time", "BAND12"):
        store[name].resize((3, *store[name].shape[1:]))
    capsys.readouterr()
    assert translate(run, tmp_path, files[0], files[1]) == 0
    assert "1 written, 1 already there" in capsys.readouterr().out
    with xr.open_zarr(tmp_path / "G16_h09v03.zarr") as output:
        assert list(output["complete"].values) == [7, 7] and output.indexes["time"].is_monotonic_increasing


def test_times_ascend_whatever_the_order_of_the_inputs(run, files, tmp_path, capsys):
    """The last first, then the first two: what is there moves, what comes goes to its place."""
    assert translate(run, tmp_path, files[2]) == 0
    assert translate(run, tmp_path, files[1], files[0]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["G16_h09v03.zarr"]
    with xr.open_zarr(tmp_path / "G16_h09v03.zarr") as output:
        assert [str(name) for name in output["source_file"].values] == [path.name for path in files]
        assert output.indexes["time"].is_monotonic_increasing
        assert output.sel(time=slice("2019-10-27", "2019-10-28")).sizes["time"] == 2
        assert (output["complete"] == 7).all()
        for index, file in enumerate(files):
            expected = load(run).translate(read_tile(file), "G16")
            np.testing.assert_allclose(output["BAND12"][index], expected["BAND12"], atol=0.006)
            np.testing.assert_array_equal(output["quality"][index], expected["quality"])
    assert translate(run, tmp_path, *files) == 0
    assert "0 written, 3 already there" in capsys.readouterr().out


def test_what_cannot_be_translated_is_missing_and_comes_later(run, files, tmp_path, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    for file in files:
        shutil.copy(file, folder)
    damaged = folder / files[1].name
    damaged.write_bytes(files[1].read_bytes()[:5000])
    assert translate(run, tmp_path / "out", folder) == 0
    with xr.open_zarr(tmp_path / "out" / "G16_h09v03.zarr") as output:
        assert list(output["complete"].values) == [7, -1, 7]
        assert np.isnan(output["BAND12"][1]).all()
    shutil.copy(files[1], damaged)
    assert translate(run, tmp_path / "out", folder) == 0
    assert "1 written, 2 already there, 0 failed" in capsys.readouterr().out
    with xr.open_zarr(tmp_path / "out" / "G16_h09v03.zarr") as output:
        assert (output["complete"] == 7).all() and np.isfinite(output["BAND12"][1]).any()


def test_a_store_whose_move_was_cut_short_is_found_again(run, files, tmp_path, capsys):
    translate(run, tmp_path, files[0])
    store = tmp_path / "G16_h09v03.zarr"
    shutil.copytree(store, tmp_path / ".G16_h09v03.zarr.part")  # killed between the two renamings
    store.rename(tmp_path / ".G16_h09v03.zarr.before")
    assert translate(run, tmp_path, files[0]) == 0
    assert "0 written, 1 already there" in capsys.readouterr().out
    assert store.is_dir()


def test_two_sources_of_one_time_are_refused(run, files, tmp_path, capsys):
    again = tmp_path / files[0].name.replace("_02.hdf", "_03.hdf")
    shutil.copy(files[0], again)
    assert translate(run, tmp_path / "out", files[0], again) == 2
    error = capsys.readouterr().err
    assert "are of one tile and time" in error and error.count("\n") == 1
    assert translate(run, tmp_path / "out", files[0]) == 0
    assert translate(run, tmp_path / "out", again) == 2
    assert "are of one tile and time" in capsys.readouterr().err


def test_another_runs_or_other_bands_are_refused(run, files, tmp_path, capsys):
    translate(run, tmp_path, files[0])
    other = shutil.copytree(run, tmp_path / "other_run")
    assert translate(other, tmp_path, files[1]) == 2
    assert "holds translations of run 'run'" in capsys.readouterr().err
    assert translate(run, tmp_path, files[1], "--bands", "7") == 2
    assert "holds other bands" in capsys.readouterr().err
