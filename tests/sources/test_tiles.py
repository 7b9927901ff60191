"""`satxlate tiles`, read_scene and grid_tile on real GOES-17 granules against an independent gridder's tile."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from satxlate_jax import grid_tile, read_scene, read_tile
from satxlate_jax.__main__ import main
from satxlate_jax.cli import InputError
from satxlate_jax.sources.tiles import choose_tiles

pytest.importorskip("satpy")
# libraries of satpy, none of ours: projections without names of their own, numpy's masks in dask
pytestmark = [
    pytest.mark.filterwarnings("ignore:You will likely lose important projection information:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*BAND:UserWarning"),
]
NAME = "GOES17/GEONEX-L1G/h09v03/2019/300/GO17_ABI05_20191027_2000_GLBG_h09v03_02.hdf"


@pytest.fixture(scope="module")
def granules(realdata_dir):
    return realdata_dir / "abi_l1b"


@pytest.fixture(scope="module")
def root(granules, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiles")
    assert main(["tiles", str(granules), "--output", str(folder), "--tiles", "h09v03"]) == 0
    return folder


def band_file(granules, number):
    (path,) = granules.glob(f"*M6C{number:02d}_*.nc")
    return path


def test_values_equal_those_of_an_independent_gridder(root, realdata_dir):
    """Thermal to 0.03 K, the same missing pixels; its sun is known to be 0.25 degrees off, its reflectance 0.57 %."""
    ours, theirs = read_tile(root / NAME), read_tile(realdata_dir / "l1g" / NAME)
    for number in (1, *range(3, 17)):
        a, b = (tile[f"BAND{number:02d}"].values for tile in (ours, theirs))
        np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
        seen = np.isfinite(a)
        if number > 6:
            assert np.sqrt(np.mean((a - b)[seen] ** 2)) <= 0.03
            assert abs(np.mean((a - b)[seen])) < 0.001
        else:
            assert abs(a[seen].mean() / b[seen].mean() - 1.0057) < 0.0005
    assert np.isnan(ours["BAND02"]).all()


def test_what_is_complete_is_left_alone(root, granules, capsys):
    before = (root / NAME).stat().st_mtime_ns
    assert main(["tiles", str(granules), "--output", str(root), "--tiles", "h09v03"]) == 0
    assert (root / NAME).stat().st_mtime_ns == before and "0 written, 1 already there" in capsys.readouterr().out


def test_a_tile_out_of_view_costs_a_line(granules, tmp_path, capsys):
    """And the manifest says so; the rest is made, by bands that are asked for alone."""
    words = ["--tiles", "h09v03,h30v03", "--bands", "13", "--night", "missing", "--workers", "1"]
    (tmp_path / "note.txt").write_text("")
    assert main(["tiles", str(granules), str(tmp_path / "note.txt"), "--output", str(tmp_path / "out"), *words]) == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    reasons = {problem["input"]: problem["reason"] for problem in manifest["problems"]}
    assert "--min_cover" in reasons["G17 M1 2019-10-27 20:00:27 h30v03"]
    assert "--reader" in reasons[str(tmp_path / "note.txt")]
    with pytest.warns(UserWarning, match="BAND01"):
        tile = read_tile(tmp_path / "out" / NAME)
    assert np.isfinite(tile["BAND13"]).mean() > 0.99
    (record,) = [made for task in manifest["tasks"] for made in task["tiles"]]
    assert record["bands"] == ["BAND13"] and record["output"] == NAME


def test_too_little_free_disk_is_said_before_anything_is_made(granules, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=1_000))
    assert main(["tiles", str(granules), "--output", str(tmp_path / "new"), "--tiles", "h09v03"]) == 2
    assert "0.0 GB free" in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.rglob("*.hdf"))


def test_a_region_with_western_longitudes(granules, tmp_path, capsys):
    words = ["--region", "-125", "37", "-121", "41", "--bands", "14", "--output", str(tmp_path / "out")]
    assert main(["tiles", str(granules), *words, "--dry_run"]) == 0
    out = capsys.readouterr().out
    assert "covers h09v03 by 99%\n1 scan, " in out and not (tmp_path / "out").exists()
    assert main(["tiles", str(granules), "--dry_run"]) == 0
    out = capsys.readouterr().out
    made, less = re.search(r"; covers (.*); too little, see --min_cover: (.*)\n", out).groups()
    assert all(int(share) >= 50 for share in re.findall(r"(\d+)%", made))
    assert all(int(share) <= 50 for share in re.findall(r"(\d+)%", less))
    tiles, shares = zip(*re.findall(r"(h\d\dv\d\d) by (\d+)%", out), strict=True)
    assert tiles[0] == "h09v03" and len(tiles) < 20 and list(map(int, shares)) == sorted(map(int, shares), reverse=True)


def test_a_named_tile_is_told_how_much_is_shown_and_what_no_scan_shows_is_no_tile(granules, tmp_path, capsys):
    assert main(["tiles", str(granules), "--tiles", "h09v03", "--dry_run", "--min_cover", "1"]) == 0
    assert re.search(r"; covers none of them; too little, see --min_cover: h09v03 by 99%\n", capsys.readouterr().out)
    words = ["--region", "-80", "20", "-79", "21", "--bands", "14", "--output", str(tmp_path / "out")]
    assert main(["tiles", str(granules), *words]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.endswith("no scan shows 50% of a tile (--min_cover; --dry_run tells what they show)")


@pytest.mark.parametrize("region", ["-114 32 -125 42", "100 -10 90 10"])
def test_a_region_with_west_and_east_exchanged_is_told(region, granules, tmp_path, capsys):
    assert main(["tiles", str(granules), "--region", *region.split(), "--dry_run"]) == 2
    west, _, east, _ = region.split()
    assert f"--region from {west} east to {east} is 3" in capsys.readouterr().err


def test_a_region_may_cross_the_date_line():
    assert choose_tiles(None, (178, 0, -178, 5)) == ("h00v09", "h59v09")


def test_a_damaged_granule_costs_its_band(granules, tmp_path):
    """Cut short or altered inside; the others are gridded, the fault is in the manifest."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number in (8, 13, 14):
        shutil.copy(band_file(granules, number), folder)
    cut, altered = band_file(folder, 8), band_file(folder, 13)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    content = bytearray(altered.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4000] = bytes(4000)
    altered.write_bytes(content)
    assert (
        main(["tiles", str(folder), "--output", str(tmp_path / "out"), "--tiles", "h09v03", "--bands", "8,13,14"]) == 0
    )
    tile = read_tile(tmp_path / "out" / NAME, bands=[8, 13, 14])
    assert np.isnan(tile["BAND08"]).all() and np.isfinite(tile["BAND14"]).mean() > 0.99
    problems = json.loads((tmp_path / "out" / "manifest.json").read_text())["problems"]
    assert any(problem["input"] == cut.name and "fetch it again" in problem["reason"] for problem in problems)
    assert any("BAND13" in problem["input"] for problem in problems)


def test_killed_it_is_finished_by_the_same_command(granules, tmp_path):
    words = ["tiles", str(granules), "--output", str(tmp_path), "--tiles", "h09v03", "--bands", "12,13"]
    process = subprocess.Popen([sys.executable, "-m", "satxlate_jax", *words], env=os.environ | {"TQDM_DISABLE": "1"})
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".tiles-jobs/*.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert main(words) == 0
    assert (tmp_path / NAME).exists() and not list(tmp_path.rglob("*.part"))
    assert not list(tmp_path.glob(".tiles-jobs/*.jsonl"))
    before = (tmp_path / NAME).stat().st_mtime_ns
    assert main(words) == 0 and (tmp_path / NAME).stat().st_mtime_ns == before


def test_a_file_of_another_origin_is_not_replaced(granules, tmp_path, capsys):
    (tmp_path / NAME).parent.mkdir(parents=True)
    (tmp_path / NAME).write_bytes(b"mine")
    words = ["tiles", str(granules), "--output", str(tmp_path), "--tiles", "h09v03", "--bands", "13"]
    assert main(words) == 2 and (tmp_path / NAME).read_bytes() == b"mine"
    assert "--overwrite" in capsys.readouterr().err
    assert main([*words, "--overwrite"]) == 0 and (tmp_path / NAME).stat().st_size > 1000


def test_a_tile_of_another_scan_of_that_minute_is_not_replaced(granules, tmp_path, capsys):
    """By a later command; its own scan's is, when more granules have come."""
    source = band_file(granules, 13)
    for folder, region, band in (("one", "RadM1", 13), ("one", "RadM1", 14), ("two", "RadM2", 13)):
        (tmp_path / folder).mkdir(exist_ok=True)
        path = band_file(granules, band)
        shutil.copy(path, tmp_path / folder / path.name.replace("RadM1", region))
    words = ["--output", str(tmp_path / "out"), "--tiles", "h09v03", "--workers", "1"]
    assert main(["tiles", str(tmp_path / "one" / source.name), *words]) == 0
    first = (tmp_path / "out" / NAME).read_bytes()
    assert main(["tiles", str(tmp_path / "two"), *words]) == 2
    assert (tmp_path / "out" / NAME).read_bytes() == first and "--overwrite" in capsys.readouterr().err
    assert main(["tiles", str(tmp_path / "one"), *words]) == 0
    assert np.isfinite(read_tile(tmp_path / "out" / NAME)["BAND14"]).any()
    assert main(["tiles", str(tmp_path / "two"), *words, "--overwrite"]) == 0
    assert np.isnan(read_tile(tmp_path / "out" / NAME)["BAND14"]).all()


def test_what_is_flagged_is_missing(granules, tmp_path):
    """DQF 2 (saturated) and 4 (focal plane too warm) are no values; 1 (usable) is one."""
    from netCDF4 import Dataset

    path = tmp_path / band_file(granules, 13).name
    shutil.copy(band_file(granules, 13), path)
    plain = read_scene(str(path))["C13"].values
    with Dataset(path, "a") as file:
        file["DQF"].set_auto_maskandscale(False)
        for place, flag in ((100, 1), (200, 2), (300, 4)):
            file["DQF"][place, place] = flag
    flagged = read_scene(str(path))["C13"].values
    assert np.isfinite(plain[[100, 200, 300], [100, 200, 300]]).all()
    assert np.isnan(flagged[[100, 200, 300], [100, 200, 300]]).tolist() == [False, True, True]
    assert np.isnan(flagged).sum() == np.isnan(plain).sum() + 2


def test_a_url_gives_the_same_as_a_file(granules):
    import fsspec

    memory = fsspec.filesystem("memory")
    for number in (3, 13):
        memory.pipe(f"/bucket/{band_file(granules, number).name}", band_file(granules, number).read_bytes())
    remote = grid_tile(read_scene("memory://bucket/OR_ABI*"), "h09v03")
    local = grid_tile(read_scene([str(band_file(granules, number)) for number in (3, 13)]), "h09v03")
    assert remote.identical(local)
    memory.rm("/bucket", recursive=True)


def test_grid_tile_equals_read_tile(root, granules):
    tile, written = grid_tile(read_scene(str(granules)), "h09v03"), read_tile(root / NAME)
    for name in [name for name in tile if name.startswith("BAND")]:
        step = 1e-4 if tile[name].attrs["units"] == "1" else 0.01
        seen = np.isfinite(written[name].values)
        np.testing.assert_array_equal(seen, np.isfinite(tile[name].values))
        error = np.abs((np.maximum(tile[name], 0) - written[name]).values[seen])
        # a file holds no reflectance below 0: a few dark pixels at 0.5 km
        assert not seen.any() or np.mean(error > 0.51 * step) < 2e-4
        assert tile[name].attrs == {key: written[name].attrs[key] for key in tile[name].attrs}
    np.testing.assert_allclose(tile["solar_zenith"], written["solar_zenith"], atol=0.0051)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["nowhere/at_all"], "does not exist"),
        (["--describe", "no_such_reader"], "no reader"),
        ([], "name granules"),
        (["x", "--output", "y", "--min_cover", "2"], "--min_cover"),
        (["x", "--output", "y", "--region", "0", "70", "10", "80"], "does not exist"),
    ],
)
def test_a_mistake_is_one_line(words, reason, capsys, tmp_path):
    output = [] if "--output" in words or not words else ["--output", str(tmp_path)]
    assert main(["tiles", *words, *output]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert reason in line


def test_without_satpy_one_line_says_what_to_install(granules, monkeypatch):
    monkeypatch.setitem(sys.modules, "satpy", None)
    with pytest.raises(InputError, match=r"pip install 'satxlate-jax\[l1b\]'"):
        read_scene(str(granules))


def test_an_imager_is_described(capsys):
    assert main(["tiles", "--describe", "ahi_hsd"]) == 0
    assert "0.47, 0.51, 0.64" in capsys.readouterr().out


def test_a_tile_of_a_remote_full_disk_costs_little(granules, tmp_path, monkeypatch):
    """Less than a tenth of the bytes of a granule of 5424 x 5424 pixels that does not compress."""
    import fsspec
    from fsspec.implementations.memory import MemoryFile
    from netCDF4 import Dataset

    small, path, size = band_file(granules, 13), tmp_path / band_file(granules, 13).name.replace("RadM1", "RadF"), 5424
    with Dataset(small) as old, Dataset(path, "w") as new:
        old.set_auto_maskandscale(False)
        for name, dimension in old.dimensions.items():
            new.createDimension(name, size if name in "yx" else len(dimension))
        for name, variable in old.variables.items():
            packing = {"zlib": True, "chunksizes": (226, 226)} if variable.dimensions == ("y", "x") else {}
            fill = getattr(variable, "_FillValue", None)
            made = new.createVariable(name, variable.dtype, variable.dimensions, fill_value=fill, **packing)
            made.set_auto_maskandscale(False)
            made.setncatts({key: variable.getncattr(key) for key in variable.ncattrs() if key != "_FillValue"})
            if variable.dimensions == ("y", "x"):
                random = np.random.default_rng(0).integers(500, 3000, (size, size))
                made[:] = random if name == "Rad" else np.zeros((size, size))
            elif name in ("x", "y"):
                made.add_offset = np.float32(-0.151844 if name == "x" else 0.151844)
                made.scale_factor = np.float32(5.6e-05 if name == "x" else -5.6e-05)
                made[:] = np.arange(size)
            else:
                made[...] = variable[...]
        new.setncatts({name: old.getncattr(name) for name in old.ncattrs()} | {"scene_id": "Full Disk"})
    memory, read = fsspec.filesystem("memory"), []
    memory.pipe(f"/disk/{path.name}", path.read_bytes())
    into = MemoryFile.readinto if hasattr(MemoryFile, "readinto") else None
    monkeypatch.setattr(MemoryFile, "readinto", lambda self, b: read.append(len(b)) or into(self, b), raising=False)
    remote = grid_tile(read_scene("memory://disk/*"), "h09v03")
    memory.rm("/disk", recursive=True)
    assert remote.identical(grid_tile(read_scene(str(path)), "h09v03"))
    assert np.isfinite(remote["BAND13"]).all() and 0 < sum(read) < path.stat().st_size / 10
