"""The verbs `quicklook` and `animate` on real tiles, and the composites behind them."""

import shutil

import numpy as np
import pytest
from PIL import Image

from satxlate_jax.__main__ import main
from satxlate_jax.evaluation import composites
from satxlate_jax.observations.coastlines import coastlines_within
from tests.random_run import save_random_run

BANDS = {"G16": (7, 8, 9, 10, 12, 16), "G17": (8, 9, 10, 16)}
DAY = "GO17_ABI05_20191027_2000_GLBG_h09v03_02"


@pytest.fixture(scope="module")
def translated(tmp_path_factory, realdata_dir):
    folder = tmp_path_factory.mktemp("pictures")
    run = save_random_run(folder / "run", BANDS)
    files = sorted(map(str, (realdata_dir / "l1g").rglob("GO17*_h09v03_02.hdf")))
    assert main(["translate", "--checkpoint", str(run), "--to", "G16", "--output", str(folder / "nc"), *files]) == 0
    return folder / "nc"


def read_picture(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def test_a_real_tile_is_drawn_in_every_way_its_bands_allow(translated, realdata_dir, tmp_path):
    tile = next((realdata_dir / "l1g").rglob(f"{DAY}.hdf"))
    against = str(translated / f"{DAY}_G16.nc")
    assert main(["quicklook", str(tile), "--against", against, "--output", str(tmp_path / "out")]) == 0
    pictures = {path.name.removeprefix(DAY + "_"): read_picture(path) for path in (tmp_path / "out").iterdir()}
    # no true colour: this file lacks the red band
    assert set(pictures) == {"infrared.png", "water_vapour.png", "difference.png"}
    assert all(min(picture.shape[:2]) > 400 for picture in pictures.values())
    coast = np.array([0xF2, 0xA9, 0x00])
    assert (np.abs(pictures["infrared.png"] - coast).sum(-1) < 30).sum() > 100


def test_a_day_becomes_a_film(translated, realdata_dir, tmp_path):
    arguments = [str(translated), "--l1g", str(realdata_dir / "l1g"), "--output", str(tmp_path / "day.gif")]
    assert main(["animate", *arguments]) == 0
    with Image.open(tmp_path / "day.gif") as film:
        assert film.n_frames == 3 and film.size[0] > 800
    assert [path.name for path in tmp_path.iterdir()] == ["day.gif"]


def test_one_line_for_what_cannot_work(translated, realdata_dir, tmp_path, capsys):
    tile = str(next((realdata_dir / "l1g").rglob(f"{DAY}.hdf")))
    netcdf = str(translated / f"{DAY}_G16.nc")
    other = str(next((realdata_dir / "l1g").rglob("GO17*_h10v02_02.hdf")))
    stray = tmp_path / "x.nc"
    stray.write_bytes(b"no netCDF")
    out = ["--output", str(tmp_path / "out")]
    film = ["animate", netcdf, "--l1g", str(realdata_dir / "l1g"), "--output"]
    for words, message in (
        (["quicklook", tile, "--against", other, *out], "different grids"),
        (["quicklook", tile, "--green", netcdf, *out], "no green band"),
        (["quicklook", tile, other, "--against", netcdf, *out], "one INPUT"),
        (["quicklook", str(stray), *out], "cannot be read as netCDF"),
        ([*film, str(tmp_path / "day.avi")], ".gif or an .mp4"),
        ([*film, str(tmp_path / "day.gif"), "--kind", "true_colour"], "lacks bands for true colour"),
        (["animate", str(stray), "--l1g", str(tmp_path), "--output", str(tmp_path / "a.gif")], "not named as"),
    ):
        assert main(words) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    if shutil.which("ffmpeg") is None:
        assert main([*film, str(tmp_path / "day.mp4")]) == 2
        assert "needs ffmpeg" in capsys.readouterr().err


def test_green_is_the_band_or_the_formula():
    blue, red, vegetation = np.full((3, 2, 2), [[[0.2]], [[0.3]], [[0.5]]])
    abi = {1: blue, 2: red, 3: vegetation}
    expected = np.array([0.3, 0.45 * 0.2 + 0.45 * 0.3 + 0.10 * 0.5, 0.2]) ** (1 / 2.2)
    np.testing.assert_allclose(composites.true_colour("G16", abi)[0, 0], expected)
    ahi = {1: blue, 2: np.full((2, 2), 0.25), 3: red, 4: vegetation}
    np.testing.assert_allclose(composites.true_colour("H8", ahi)[0, 0, 1], 0.25 ** (1 / 2.2))
    np.testing.assert_allclose(composites.true_colour("G16", abi, green=blue)[0, 0, 1], 0.2 ** (1 / 2.2))
    assert composites.true_colour("G16", {1: blue, 3: vegetation}) is None
    assert composites.green_band("H9") == 2 and composites.green_band("G18") is None
    assert all(abs(sum(weights) - 1) < 0.01 for weights in composites.GREEN_FORMULAS.values())


def test_coastlines_of_a_tile():
    lines = coastlines_within(-126, -120, 36, 42)
    points = np.concatenate(lines)
    near = points[np.hypot(points[:, 0] + 124.4, points[:, 1] - 40.44) < 0.1]  # Cape Mendocino
    assert len(near) > 3
    assert not coastlines_within(-150, -146, 30, 34)  # open ocean
    assert np.abs(points[:, 1]).max() <= 60.2
