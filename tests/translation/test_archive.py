"""The verb `translate` on real tiles: files and folders, restart, bad inputs, exit codes."""

import json
import shutil

import numpy as np
import pytest
import xarray as xr

from satxlate_jax import load, read_tile
from satxlate_jax.__main__ import main
from tests.random_run import save_random_run

BANDS = {"G16": (7, 8, 9, 10, 12, 16), "G17": (8, 9, 10, 16)}
DAY = "GO17_ABI05_20191027_2000_GLBG_h09v03_02.hdf"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return save_random_run(tmp_path_factory.mktemp("archive") / "run", BANDS)


@pytest.fixture
def tiles(realdata_dir, tmp_path):
    """A folder with a day and a night tile, a damaged one and one of another product."""
    folder = tmp_path / "in" / "h09v03"
    folder.mkdir(parents=True)
    for path in (realdata_dir / "l1g").rglob("GO17*_h09v03_02.hdf"):
        if "_2001_" not in path.name:
            shutil.copy(path, folder)
    return tmp_path / "in"


def translate(run, output, *words):
    return main(["translate", "--checkpoint", str(run), "--to", "G16", "--output", str(output), *map(str, words)])


def test_a_folder_gives_one_file_per_input(run, tiles, tmp_path, capsys):
    assert translate(run, tmp_path / "out", tiles) == 0
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [DAY.replace(".hdf", "_G16.nc"), "GO17_ABI05_20191201_1027_GLBG_h09v03_02_G16.nc"]
    assert "2 written, 0 already there, 0 failed" in capsys.readouterr().out
    with xr.open_dataset(tmp_path / "out" / names[0]) as other:
        source = read_tile(tiles / "h09v03" / DAY)
        expected = load(run).translate(source, "G16")
        assert [name for name in other if name.startswith("BAND")] == [f"BAND{band:02d}" for band in BANDS["G16"]]
        np.testing.assert_allclose(other["BAND12"], expected["BAND12"], atol=0.006)
        np.testing.assert_allclose(other["lat"], source["lat"])
        assert other.attrs["source_file"] == DAY


def test_started_again_it_makes_only_what_is_missing(run, tiles, tmp_path, capsys):
    output = tmp_path / "out"
    translate(run, output, tiles)
    first, second = sorted(output.iterdir())
    before = first.stat().st_mtime_ns
    second.unlink()
    (output / f".{second.name}.part").write_bytes(b"left by a killed run")
    assert translate(run, output, tiles) == 0
    assert first.stat().st_mtime_ns == before and sorted(output.iterdir()) == [first, second]
    assert "1 written, 1 already there" in capsys.readouterr().out
    assert translate(run, output, tiles, "--overwrite") == 0
    assert first.stat().st_mtime_ns != before


def test_bad_inputs_are_named_and_the_rest_goes_on(run, tiles, realdata_dir, tmp_path, capsys):
    short = tiles / "h09v03" / "GO17_ABI05_20191028_2000_GLBG_h09v03_02.hdf"
    short.write_bytes((tiles / "h09v03" / DAY).read_bytes()[:5000])
    other = next((realdata_dir / "other_hdf4").iterdir())
    sixteen = next((realdata_dir / "l1g").rglob("GO16*.hdf"))
    files = [tiles / "h09v03" / DAY, short, other, sixteen]
    assert translate(run, tmp_path / "out", *files) == 0
    printed = capsys.readouterr()
    assert "1 written, 0 already there, 3 failed" in printed.out
    failures = [json.loads(line) for line in (tmp_path / "out" / "failures.jsonl").read_text().splitlines()]
    assert [failure["file"] for failure in failures] == [str(path) for path in files[1:]]
    assert "is already G16" in failures[2]["reason"]
    assert all("\n" not in failure["reason"] for failure in failures)
    assert translate(run, tmp_path / "none", short, other) == 2


def test_one_line_for_what_cannot_work(run, tiles, tmp_path, capsys):
    output, empty = tmp_path / "out", tmp_path / "empty"
    empty.mkdir()
    for words, message in (
        ([tmp_path / "nowhere.hdf"], "does not exist"),
        ([empty], "holds no L1G file of G17"),
        ([tiles, "--days", "1-5"], "passes the filters"),
        ([tiles, "--days", "x"], "not a list of numbers"),
        ([tiles, "--source", "H8"], "translates between G16, G17, not 'H8'"),
    ):
        assert translate(run, output, *words) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    assert main(["translate", "--checkpoint", str(tiles), "--to", "G16", "--output", str(output), str(tiles)]) == 2
    assert "is not a run" in capsys.readouterr().err
    assert not output.exists()
