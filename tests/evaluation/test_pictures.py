"""The subcommands `quicklook` and `animate` on real tiles, and the composites behind them."""

import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from PIL import Image

from satxlate_jax import write_tile
from satxlate_jax.__main__ import main
from satxlate_jax.archive.catalog import file_name, parse_name, relative_path
from satxlate_jax.cli import InputError
from satxlate_jax.evaluation import composites
from satxlate_jax.evaluation.animate import draw_frames, find_ffmpeg, write_animation
from satxlate_jax.evaluation.maps import coastlines_within
from satxlate_jax.evaluation.quicklook import View
from tests.random_run import save_random_run
from tests.tiny_flow import draw_tile

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


def test_chosen_bands_are_drawn_of_both(translated, realdata_dir, tmp_path):
    """The infrared would be band 13 of the one and band 7 of the other."""
    tile = str(next((realdata_dir / "l1g").rglob(f"{DAY}.hdf")))
    words = ["quicklook", tile, str(translated / f"{DAY}_G16.nc"), "--bands", "7,12", "--output", str(tmp_path)]
    assert main(words) == 0
    names = {f"{name}_band{number}.png" for name in (DAY, f"{DAY}_G16") for number in ("07", "12")}
    assert {path.name for path in tmp_path.iterdir()} == names
    together = (tmp_path / f"{DAY}_band07.png").read_bytes()
    assert main(["quicklook", tile, "--bands", "7", "--output", str(tmp_path)]) == 0
    assert (tmp_path / f"{DAY}_band07.png").read_bytes() != together  # both were on one scale


def test_a_night_is_not_drawn_in_true_colour(realdata_dir, tmp_path):
    """This file holds all 16 bands; the reflective ones are dark. The difference to itself shows the coast too."""
    tile = str(next((realdata_dir / "l1g").rglob("GO17_ABI05_20191201_1027_GLBG_h09v03_02.hdf")))
    assert main(["quicklook", tile, "--against", tile, "--output", str(tmp_path)]) == 0
    pictures = {path.stem.removeprefix(f"{Path(tile).stem}_"): read_picture(path) for path in tmp_path.iterdir()}
    assert set(pictures) == {"infrared", "water_vapour", "difference"}
    assert (np.abs(pictures["difference"] - 0x55).sum(-1) < 30).sum() > 1000


def test_rounding_is_not_drawn_as_if_it_were_a_difference(tmp_path):
    """Colours of differences reach at least to the instrument's noise: half a packing step stays pale, a kelvin not."""
    noise, coloured = np.random.default_rng(0).uniform(-1, 1, (300, 300)), {}
    tile = draw_tile("G17", shape=(300, 300))
    for size in (0.0, 0.005, 1.0):
        folder = tmp_path / str(size)
        path = folder / relative_path("G17", tile.attrs["tile"], tile["time"].values.astype("M8[s]").item())
        write_tile(tile.assign(BAND08=tile["BAND08"] + (size * noise).astype(np.float32)), path)
        words = ["quicklook", str(path), "--against", str(tmp_path / "0.0" / path.relative_to(folder))]
        assert main([*words, "--output", str(folder)]) == 0
        (drawn,) = (read_picture(made) for made in folder.glob("*difference.png"))
        right = drawn[:, drawn.shape[1] * 2 // 3 :]
        coloured[size] = int((np.ptp(right, axis=-1) > 100).sum())
    assert coloured[0.005] < 2 * coloured[0.0] + 100 < coloured[1.0] / 4


def test_what_is_missing_is_hatched(translated, tmp_path):
    """No grey, which a cloud could have: the hatching is the only thing in the picture that has a hue."""
    hues = []
    for hole in (False, True):
        with xr.open_dataset(translated / f"{DAY}_G16.nc") as opened:
            tile = opened.load()
        tile["BAND12"][:] = tile["BAND12"].fillna(tile["BAND12"].median())
        tile["BAND12"][:100, :100] = np.nan if hole else 250
        tile.to_netcdf(tmp_path / "tile.nc")
        words = ["quicklook", str(tmp_path / "tile.nc"), "--bands", "12", "--no_coastlines", "--output", str(tmp_path)]
        assert main(words) == 0
        picture = read_picture(tmp_path / "tile_band12.png")
        hues.append(int((np.ptp(picture, axis=-1) > 10).sum()))
    assert hues[0] == 0 and hues[1] > 500


def test_a_day_becomes_an_animation(translated, realdata_dir, tmp_path):
    arguments = [str(translated), "--l1g", str(realdata_dir / "l1g"), "--output", str(tmp_path / "day.gif")]
    assert main(["animate", *arguments]) == 0
    with Image.open(tmp_path / "day.gif") as animation:
        assert animation.n_frames == 3 and animation.size[0] > 800
    assert [path.name for path in tmp_path.iterdir()] == ["day.gif"]


def test_one_line_for_what_cannot_work(translated, realdata_dir, tmp_path, capsys):
    tile = str(next((realdata_dir / "l1g").rglob(f"{DAY}.hdf")))
    netcdf = str(translated / f"{DAY}_G16.nc")
    other = str(next((realdata_dir / "l1g").rglob("GO17*_h10v02_02.hdf")))
    stray = tmp_path / "x.nc"
    stray.write_bytes(b"no netCDF")
    out = ["--output", str(tmp_path / "out")]
    animation = ["animate", netcdf, "--l1g", str(realdata_dir / "l1g"), "--output"]
    for words, message in (
        (["quicklook", tile, "--against", other, *out], "different grids"),
        (["quicklook", tile, "--green", netcdf, *out], "no green band"),
        (["quicklook", netcdf, "--bands", "2", *out], "holds no band 2; it holds 7, "),
        (["quicklook", tile, other, "--against", netcdf, *out], "one INPUT"),
        (["quicklook", str(stray), *out], "cannot be read as netCDF"),
        ([*animation, str(tmp_path / "day.avi")], ".gif or an .mp4"),
        ([*animation, str(tmp_path / "day.gif"), "--kind", "true_colour"], "lacks bands for true colour"),
        (["animate", str(stray), "--l1g", str(tmp_path), "--output", str(tmp_path / "a.gif")], "not named as"),
    ):
        assert main(words) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1


def test_frames_with_and_without_the_truth_are_of_one_size():
    """Or a film of them could not be read: the pictures follow each other without a word about their size."""
    times = [datetime(2019, 1, 3, hour) for hour in range(2)]
    seen = [[parse_name(file_name(name, "h09v03", time)) for name in ("G17", "G16")] for time in times]

    def read(path):
        fields = {13: np.full((4, 4), 280.0)}
        return View(path.name, f"{path.name} observed", "G16", fields, np.arange(4.0)[::-1], np.arange(4.0))

    frames = [(Path("0"), seen[0]), (Path("1"), seen[1][:1])]
    for order in (frames, frames[::-1]):
        sizes = {picture.shape for picture in draw_frames(order, read, "infrared", "", [])}
        assert len(sizes) == 1


def test_an_animation_holds_every_picture_in_order(tmp_path):
    """Three pictures of one colour each with an odd side, written as MP4 and decoded again."""
    colours = [(200, 40, 40), (40, 200, 40), (40, 40, 200)]
    pictures = [np.full((81, 120, 3), colour, np.uint8) for colour in colours]
    animation = tmp_path / "day.mp4"
    write_animation(iter(pictures), animation, 5.0)
    assert [path.name for path in tmp_path.iterdir()] == ["day.mp4"]
    command = [find_ffmpeg(), "-i", str(animation), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    read = subprocess.run(command, capture_output=True, check=True)
    assert re.search(rb"Video: h264.*120x80.* 5 fps", read.stderr)
    decoded = np.frombuffer(read.stdout, np.uint8).reshape(-1, 80, 120, 3)
    assert len(decoded) == 3
    for picture, colour in zip(decoded, colours, strict=True):
        np.testing.assert_allclose(picture.mean((0, 1)), colour, atol=6)


def test_without_ffmpeg_an_mp4_is_refused_clearly(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)  # as if not installed
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="needs ffmpeg; pip install imageio-ffmpeg"):
        write_animation(iter([np.zeros((4, 4, 3), np.uint8)]), tmp_path / "day.mp4", 5.0)
    assert not list(tmp_path.iterdir())


def test_what_ffmpeg_says_is_passed_on(tmp_path, monkeypatch):
    """A program that ends at once, in the middle of the pictures."""
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\necho no such codec >&2\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(InputError, match="could not write the animation: no such codec"):
        write_animation(iter([np.zeros((900, 900, 3), np.uint8)] * 4), tmp_path / "day.mp4", 5.0)
    assert [path.name for path in tmp_path.iterdir()] == ["ffmpeg"]


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
