"""Scenes in, Scenes out: a translation on the scan's own grid, and satpy's composites of it."""

import numpy as np
import pytest

from satxlate_jax import grid_tile, load, read_scene, to_scene
from tests.random_run import save_random_run

pytest.importorskip("satpy")
pytestmark = [
    pytest.mark.filterwarnings("ignore:You will likely lose important projection information:UserWarning"),
    # satpy and its libraries: numpy in all-missing blocks, what their next versions change
    pytest.mark.filterwarnings("ignore:Mean of empty slice:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
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
    assert translated[10.8].attrs["name"] == "B14" and translated[0.51].attrs["units"] == "%"
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
