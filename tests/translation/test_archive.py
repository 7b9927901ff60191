"""The subcommand `translate` on real tiles: files and folders, restart, bad inputs, exit codes."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from satxlate_jax import load, read_tile
from satxlate_jax.__main__ import main
from satxlate_jax.archive.catalog import select_part
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
    assert translate(run, output, tiles, "--samples", "2", "--bands", "12") == 0  # what is there lacks the spread
    told = capsys.readouterr().out
    assert "2 of 2 outputs there are by another checkpoint or other options: they are replaced" in told
    assert "2 written, 0 already there" in told
    assert translate(run, output, tiles, "--samples", "2", "--bands", "12") == 0
    assert "0 written, 2 already there" in capsys.readouterr().out
    assert translate(run, output, tiles, "--bands", "12") == 0  # the mean of two draws is another number
    assert "2 written, 0 already there" in capsys.readouterr().out
    assert translate(run, output, tiles, "--bands", "12", "--resolution_km", "1") == 0
    assert "2 written, 0 already there" in capsys.readouterr().out
    assert translate(run, output, tiles, "--overwrite") == 0
    assert first.stat().st_mtime_ns != before


def test_killed_in_the_middle_it_is_finished_by_the_same_command(run, realdata_dir, tmp_path):
    """SIGKILL as soon as there is an output; then the same command again, and the files of an undisturbed run."""
    files = sorted(map(str, (realdata_dir / "l1g").rglob("GO17*.hdf")))[:6]
    words = ["translate", "--checkpoint", str(run), "--to", "G16", *files, "--workers", "1", "--output"]
    output = tmp_path / "out"
    command = [sys.executable, "-m", "satxlate_jax", *words, str(output)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not list(output.glob("*.nc")):
        time.sleep(0.02)
    process.kill()
    assert process.wait() != 0
    left = {path.name: path.stat().st_mtime_ns for path in output.glob("*.nc")}
    assert 0 < len(left) < len(files)
    assert main([*words, str(output)]) == 0
    assert main([*words, str(tmp_path / "undisturbed")]) == 0
    names = [path.name for path in sorted((tmp_path / "undisturbed").iterdir())]
    assert [path.name for path in sorted(output.iterdir())] == names  # nothing half-written is left
    for name in names:
        assert name not in left or (output / name).stat().st_mtime_ns == left[name]
        with xr.open_dataset(output / name) as one, xr.open_dataset(tmp_path / "undisturbed" / name) as two:
            xr.testing.assert_equal(one, two)


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
    assert "is of G16; what is asked for can be made from G17" in failures[2]["reason"]
    assert all("\n" not in failure["reason"] for failure in failures)
    assert translate(run, tmp_path / "none", short, other) == 2


def test_parts_of_several_processes_cover_every_file_once(run, tiles, tmp_path, capsys):
    output = tmp_path / "out"
    assert translate(run, output, tiles, "--share", "0/2") == 0
    assert len(list(output.iterdir())) == 1
    assert translate(run, output, tiles, "--part", "2/2") == 0
    assert capsys.readouterr().out.count("1 written, 0 already there") == 2
    assert translate(run, output, tiles, "--part", "1/2") == 0
    assert "0 written, 1 already there" in capsys.readouterr().out
    assert len(list(output.iterdir())) == 2
    files = [
        Path(f"GO17_ABI05_20191027_{hour:02d}00_GLBG_h0{tile}v03_02.hdf") for hour in range(4) for tile in range(5)
    ]
    parts = [select_part(files, (number, 3), whole_tiles=True) for number in (1, 2, 3)]
    assert sorted(file for part in parts for file in part) == sorted(files)
    assert [len({file.name[31:37] for file in part}) for part in parts] == [2, 2, 1]


def test_some_bands_with_their_spread(run, tiles, tmp_path):
    assert translate(run, tmp_path / "out", tiles, "--days", "300", "--bands", "7,12", "--samples", "2") == 0
    with xr.open_dataset(tmp_path / "out" / DAY.replace(".hdf", "_G16.nc")) as other:
        names = {"BAND07", "BAND12", "BAND07_spread", "BAND12_spread", "quality", "crs"}
        assert set(other.data_vars) == names
        assert other["BAND12"].attrs["ancillary_variables"] == "BAND12_spread quality"
        assert float(other["BAND12_spread"].mean()) > 0


def test_a_list_of_pairs_chooses_files(run, realdata_dir, tmp_path, capsys):
    root = realdata_dir / "l1g"
    first = next(root.rglob("GO16*_h10v02_02.hdf"))
    listed = tmp_path / "pairs.csv"
    rows = ["timestamp,tile,file1,file2", f"2019-10-27 20:00:00,h10v02,/elsewhere/{first.name},GO17_{'x'}.hdf"]
    rows[1] = rows[1].replace("GO17_x.hdf", "GO17_ABI05_20191027_2001_GLBG_h10v02_02.hdf")
    listed.write_text("\n".join(rows) + "\n")
    listed.write_text(listed.read_text().replace("/elsewhere/", "D:\\elsewhere\\"))
    assert translate(run, tmp_path / "out", root, "--pairs", listed, "--tiles", "h09v03, h10v02") == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["GO17_ABI05_20191027_2001_GLBG_h10v02_02_G16.nc"]
    assert translate(run, tmp_path / "out", root, "--pairs", listed, "--tiles", "h09v03") == 2
    assert "lists" in capsys.readouterr().err


def test_all_local_devices_work_side_by_side(run, realdata_dir, tmp_path):
    """Three tiles of one kind on two devices, in a process of its own: the same files as on one device."""
    files = sorted((realdata_dir / "l1g").rglob("GO17*_h10v0[246]_02.hdf"))
    assert translate(run, tmp_path / "one", *files) == 0
    command = [sys.executable, "-m", "satxlate_jax", "translate", "--checkpoint", run, "--to", "G16", *files]
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    words = [*map(str, command), "--output", str(tmp_path / "two")]
    subprocess.run(words, check=True, env=os.environ | flags, timeout=300, capture_output=True)
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "two").iterdir()) and len(names) == 3
    for name in names:
        with xr.open_dataset(tmp_path / "one" / name) as one, xr.open_dataset(tmp_path / "two" / name) as two:
            np.testing.assert_allclose(one["BAND12"], two["BAND12"], atol=0.011)
