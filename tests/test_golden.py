"""What version 0.1.0 wrote is loaded, translated with, continued, pooled and drawn today (tests/golden/README.md)."""

import csv
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from satxlate_jax import load, read_tile
from satxlate_jax.__main__ import main
from tests import golden_run, tiny_run

FOLDER = Path(__file__).resolve().parent / "golden"
TILES = tiny_run.PROJECT / "datasets" / "geonex_l1g" / "dummy_data"
TILE = next(TILES.rglob("GO16_ABI05_20190110_1800_GLBG_h12v04_02.hdf"))
NETCDF = f"{TILE.stem}_G17.nc"


@pytest.fixture
def run(tmp_path):
    with tarfile.open(FOLDER / "run_0.1.0.tar.gz") as file:
        file.extractall(tmp_path, filter="data")
    return tmp_path / "run"


@pytest.mark.filterwarnings("ignore::satxlate_jax.l1g.reader.MissingBandWarning")  # the dummy tiles hold three bands
def test_the_run_translates_as_it_did(run):
    translated = load(run).translate(read_tile(TILE), to="G17")
    with np.load(FOLDER / "translated_0.1.0.npz") as golden:
        for name, values in golden.items():
            np.testing.assert_allclose(translated[name].values[::15, ::15], values, rtol=1e-5)


def test_the_command_writes_the_netcdf_that_it_wrote(run, tmp_path):
    main(["translate", "--checkpoint", str(run), "--to", "G17", str(TILE), "--output", str(tmp_path / "out")])
    with xr.open_dataset(FOLDER / NETCDF) as golden, xr.open_dataset(tmp_path / "out" / NETCDF) as written:
        for name, variable in golden.data_vars.items():
            step = variable.encoding.get("scale_factor", 0)
            np.testing.assert_allclose(written[name].values, variable.values, rtol=0, atol=0.51 * step)
            for key in variable.attrs.keys() - {"valid_range"}:  # of temperatures: from 150 K up since version 0.2.0
                np.testing.assert_array_equal(written[name].attrs[key], variable.attrs[key], key)


def test_a_translation_that_is_there_is_kept_and_drawn(run, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    shutil.copy(FOLDER / NETCDF, out)
    main(["translate", "--checkpoint", str(run), "--to", "G17", str(TILE), "--output", str(out)])
    assert "0 written, 1 already there" in capsys.readouterr().out
    main(["quicklook", str(out / NETCDF), "--output", str(tmp_path / "pictures")])
    assert list((tmp_path / "pictures").glob("*.png"))


def test_the_run_is_continued(run, tmp_path):
    tiny_run.write_records(tmp_path / "data", satellites=golden_run.SATELLITES)
    command = tiny_run.train_command(run, tmp_path / "data", f"--config={golden_run.__file__}", "--config.steps=10")
    done = tiny_run.run_training(command, tiny_run.environment())
    assert done.returncode == 0, done.stderr
    assert "format 1" in done.stdout + done.stderr
    assert load(run).step == 10


def test_parts_are_pooled_as_they_were(tmp_path):
    for part in (1, 2):
        (tmp_path / f"part{part}").mkdir()
        shutil.copy(FOLDER / f"sums_part{part}_0.1.0.npz", tmp_path / f"part{part}" / "sums.npz")
    main(["pool", str(tmp_path / "part1"), str(tmp_path / "part2"), "--output", str(tmp_path / "pooled")])
    with (FOLDER / "pooled_scores_0.1.0.csv").open() as golden, (tmp_path / "pooled" / "scores.csv").open() as pooled:
        for before, now in zip(csv.DictReader(golden), csv.DictReader(pooled), strict=True):
            assert before.items() <= now.items()
