"""Scenes in, Scenes out: a translation on the scan's own grid, and satpy's composites of it."""

import re

import numpy as np
import pytest
import xarray as xr

from satxlate_jax import grid_tile, load, read_scene, read_tile, to_scene
from satxlate_jax.__main__ import main
from satxlate_jax.cli import InputError
from tests.random_run import save_random_run

pytest.importorskip("satpy")
pytestmark = [
    pytest.mark.filterwarnings("ignore:You will likely lose important projection information:UserWarning"),
    # satpy and its libraries: numpy in all-missing blocks, what their next versions change
    pytest.mark.filterwarnings("ignore:Mean of empty slice:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning"),
]
BANDS = (1, 3, 5, 6, *range(7, 17))


@pytest.fixture(scope="module")
def translator(tmp_path_factory):
    run = tmp_path_factory.mktemp("run")
    return load(save_random_run(run, {"G17": BANDS, "H8": tuple(range(1, 17))}, dim=4), block=200)


@pytest.fixture(scope="module")
def scene(realdata_dir):
    return read_scene(str(realdata_dir / "abi_l1b"))


@pytest.fixture(scope="module")
def translated(translator, scene):
    return translator.translate(scene, to="H8")


def test_blocks_do_not_show(translator, translated, scene):
    """A Scene goes through in 200-pixel blocks; the whole image at once gives the same."""
    whole = type(translator)(translator.params, translator.metadata, translator.run, 4000)
    for name in ("B14", "B03"):
        at_once = whole.translate(scene, to="H8")[name].values
        np.testing.assert_allclose(translated[name].values, at_once, rtol=1e-4, atol=1e-3)
    assert translated["B14"].shape == (500, 500) and np.isfinite(translated["B14"]).mean() > 0.9


def test_bands_are_known_as_satpy_knows_them(translated, scene):
    """By wavelength; percent and not divided by the sun's cosine, as reflectance came in."""
    assert translated[11.2].attrs["name"] == "B14" and translated[0.51].attrs["units"] == "%"
    assert translated["B14"].attrs["area"] == scene["C14"].attrs["area"]
    assert translated["B14"].attrs["platform_name"] == "Himawari-8"
    assert translated["B14"].attrs["start_time"] == scene["C14"].attrs["start_time"]


def test_composites_are_drawn(translated, tmp_path):
    names = ["airmass", "dust", "natural_color"]
    translated.load(names)
    assert not set(names) & {identity["name"] for identity in translated.missing_datasets}
    local = translated.resample(resampler="native")
    local.save_datasets(datasets=names, base_dir=str(tmp_path), writer="geotiff")
    assert len(list(tmp_path.glob("*.tif"))) == 3
    translated.save_datasets(datasets=["B14", "B03"], writer="cf", filename=str(tmp_path / "out.nc"))
    assert (tmp_path / "out.nc").stat().st_size > 10_000


def test_a_tile_becomes_a_scene_and_comes_back(scene):
    """Reflectance in percent of the undivided kind; the same numbers on the same grid after all."""
    tile = grid_tile(scene, "h09v03")
    back = to_scene(tile)
    np.testing.assert_array_equal(back["C13"].values, tile["BAND13"].values)
    cosine = np.cos(np.radians(tile["solar_zenith"].values))
    np.testing.assert_allclose(back["C03"].values, tile["BAND03"].values * cosine * 100, rtol=1e-5)
    longitude, latitude = back["C13"].attrs["area"].get_lonlats()
    np.testing.assert_allclose(latitude[:, 0], tile["lat"].values, atol=1e-9)
    np.testing.assert_allclose(longitude[0], tile["lon"].values, atol=1e-9)


def test_granules_without_a_band_that_is_needed_are_one_line(realdata_dir, tmp_path, capsys):
    (granule,) = (realdata_dir / "abi_l1b").glob("*C13_*")
    with pytest.raises(InputError, match="G17 M1 .* holds none of bands 2"):
        read_scene(str(granule), bands=[2])
    run = save_random_run(tmp_path / "run", {"G17": (8,), "H8": (8, 13)}, dim=4)
    words = ["translate", str(granule), "--checkpoint", str(run), "--to", "H8", "--output", str(tmp_path / "out")]
    assert main(words) == 2
    assert "holds none of bands 8" in capsys.readouterr().err.splitlines()[-1]
    assert not list((tmp_path / "out").glob("*.nc"))


def test_a_damaged_granule_is_said_and_is_no_source(realdata_dir, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for path in (realdata_dir / "abi_l1b").glob("*C*_G17_*.nc"):
        if re.search("C(07|08|09|10|16)_", path.name):
            content = path.read_bytes()
            (tmp_path / "in" / path.name).write_bytes(content[:100_000] if "C09_" in path.name else content)
    words = ["--checkpoint", "pretrained:goes_thermal", "--to", "G16", "--output", str(tmp_path / "out")]
    assert main(["translate", str(tmp_path / "in"), *words]) == 0
    printed = "".join(capsys.readouterr())
    assert re.search(r"translated without it: \S*C09_\S* cannot be opened", printed)
    assert "; 1 failed (reasons in" in printed and "not read by the run: bands 7" in printed
    with xr.open_dataset(next((tmp_path / "out").glob("*.nc"))) as made:
        assert "C08_" in made.attrs["source_file"] and "C09_" not in made.attrs["source_file"]
        assert "synthesised" in made["BAND09"].attrs["long_name"]


def test_the_order_of_bands_in_a_scene_does_not_matter(scene):
    """satpy's differs from one process to the next; the sun is that of the first band's rows, which differ in size."""
    from satpy import Scene

    tiles = []
    for names in (("C05", "C07", "C16"), ("C16", "C07", "C05")):
        some = Scene()
        for name in names:
            some[name] = scene[name]
        tiles.append(grid_tile(some, "h09v03"))
    xr.testing.assert_identical(*tiles)


def test_granules_are_translated_without_tiles_between(realdata_dir, tmp_path, monkeypatch, capsys):
    """On the sensor's own grid, whose corners are where satpy has them; and on a tile, as of the L1G file."""
    granules = realdata_dir / "abi_l1b"
    run = save_random_run(tmp_path / "run", {"G17": (8, 13), "H8": (8, 13, 15)}, dim=4)
    words = ["translate", str(granules), "--checkpoint", str(run), "--to", "H8", "--output", str(tmp_path / "out")]
    assert main(words) == 0
    with xr.open_dataset(tmp_path / "out" / "G17_M1_20191027_200027_H8.nc") as made:
        assert made["crs"].attrs["grid_mapping_name"] == "geostationary"
        assert made.attrs["source_file"].count("OR_ABI-L1b-RadM1-M6C") == 2  # those of the run's bands
        assert made["BAND13"].attrs["grid_mapping"] == "crs" and made["x"].attrs["units"] == "rad"
        with xr.open_dataset(next(granules.glob("*C13_*.nc"))) as source:
            np.testing.assert_allclose(made["x"], source["x"], atol=1e-6)
            np.testing.assert_allclose(made["y"], source["y"], atol=1e-6)
            missing = np.isnan(source["Rad"].values) | ~source["DQF"].isin([0, 1]).values
        assert (np.isnan(made["BAND13"].values) >= missing).all() and np.isfinite(made["BAND13"]).mean() > 0.9
        assert set(np.unique(made["quality"])) <= {0, 1, 4, 5}
    capsys.readouterr()
    assert main(words) == 0 and "0 written, 1 already there" in capsys.readouterr().out
    save_random_run(run, {"G17": (8, 13), "H8": (8, 13, 15)}, dim=4, step=8)
    assert main(words) == 0 and "1 written, 0 already there" in capsys.readouterr().out  # of another checkpoint
    assert main([*words, "--tiles", "h09v03"]) == 0
    tile = realdata_dir / "l1g/GOES17/GEONEX-L1G/h09v03/2019/300/GO17_ABI05_20191027_2000_GLBG_h09v03_02.hdf"
    expected = load(run).translate(read_tile(tile), to="H8")["BAND13"]
    with xr.open_dataset(tmp_path / "out" / "G17_M1_20191027_200027_h09v03_H8.nc") as made:
        np.testing.assert_allclose(made["BAND13"].values, expected.values, atol=0.5)
