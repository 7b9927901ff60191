"""Translation of whole tiles with a random network: sizes, missing values, limits, clear errors."""

import jax
import numpy as np
import pytest
import xarray as xr
from pyorbital.astronomy import sun_zenith_angle

import satxlate_jax
from satxlate_jax.cli import InputError
from satxlate_jax.translation.load import load
from tests.random_run import save_random_run

BANDS = {"G16": (1, 7, 8, 9, 10, 12, 16), "G17": (8, 9, 10, 16), "H8_15": (2, 8, 9)}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return save_random_run(tmp_path_factory.mktemp("translate") / "run", BANDS)


@pytest.fixture(scope="module")
def translator(run):
    return load(run)


def make_tile(shape=(40, 52), bands=(8, 9, 10, 16), satellite="G17", seed=0):
    random = np.random.default_rng(seed)
    fields = {
        f"BAND{band:02d}": (
            ("lat", "lon"),
            (250 + 3 * random.standard_normal(shape)).astype(np.float32),
            {"units": "K"},
        )
        for band in bands
    }
    coordinates = {
        "lat": 42 - 0.01 - 0.02 * np.arange(shape[0]),
        "lon": -126 + 0.01 + 0.02 * np.arange(shape[1]),
        "time": np.datetime64("2019-10-27T20:00", "ns"),
    }
    return xr.Dataset(fields, coordinates, {"satellite": satellite, "tile": "h09v03", "source": "a_file.hdf"})


def stacked(tile, bands):
    return np.stack([tile[f"BAND{band:02d}"].values for band in bands], -1)


def test_a_tile_becomes_the_other_satellites_bands_on_the_same_grid(translator):
    tile = make_tile()
    other = translator.translate(tile, to="G16")
    assert [name for name in other if name.startswith("BAND")] == [f"BAND{band:02d}" for band in BANDS["G16"]]
    for name in ("lat", "lon", "time"):
        np.testing.assert_array_equal(other[name], tile[name])
    assert other["BAND07"].dims == ("lat", "lon") and other["BAND07"].dtype == np.float32
    assert other["BAND07"].attrs["units"] == "K" and other["BAND01"].attrs["units"] == "1"
    assert other["BAND07"].attrs["wavelength"] == 3.9
    assert other.attrs["satellite"] == "G16" and other.attrs["source_satellite"] == "G17"
    assert np.isfinite(other["BAND07"]).all()


def test_it_is_what_the_network_computes(translator):
    tile = make_tile()
    statistics = translator.metadata["satellites"]
    x = (stacked(tile, BANDS["G17"]).astype(np.float64) - statistics["G17"]["mean"]) / statistics["G17"]["std"]
    # continued by reflection as far as the network sees, so that no pixel sees the padding's zeros
    around = translator.radius
    x = np.pad(x, ((around, around), (around, around), (0, 0)), mode="reflect")
    z = translator.network.encode(translator.params, x[None].astype(np.float32), "G17")
    y = np.asarray(translator.network.decode(translator.params, z, "G16"))[0, around:-around, around:-around]
    expected = y * np.array(statistics["G16"]["std"]) + np.array(statistics["G16"]["mean"])
    expected[..., 0] = np.clip(expected[..., 0], 0, 1.6)
    expected[..., 1] = np.clip(expected[..., 1], 150, 420)
    expected[..., 2:] = np.clip(expected[..., 2:], 150, 350)
    np.testing.assert_allclose(stacked(translator.translate(tile, "G16"), BANDS["G16"]), expected, rtol=1e-5, atol=1e-3)


def test_the_edge_is_no_worse_than_the_rest(translator):
    """A tile and a part of it, far from the part's edges or not: what is beyond the edge hardly matters."""
    rows, columns = np.mgrid[:90, :90]
    tile = make_tile((90, 90))
    for name in tile:
        tile[name][:] = 250 + 3 * np.sin(rows / 15) + 2 * np.cos(columns / 15)
    whole = translator.translate(tile, "G16")["BAND09"].values
    inner = translator.translate(tile.isel(lat=slice(20, 70), lon=slice(20, 70)), "G16")["BAND09"].values
    difference = np.abs(inner - whole[20:70, 20:70])
    assert difference[15:-15, 15:-15].max() < 1e-3
    assert difference.max() < 0.5 * whole.std()


def test_load_is_the_packages_door(run):
    loaded = satxlate_jax.load(str(run))
    assert loaded.satellites == ("G16", "G17", "H8_15") and loaded.step == 7
    assert set(loaded.params) == {"encoders", "decoders", "shared"}


def test_a_missing_pixel_costs_only_itself(translator):
    tile = make_tile()
    whole = translator.translate(tile, "G16")
    holed = tile.copy(deep=True)
    holed["BAND09"][20, 30] = np.nan
    other = translator.translate(holed, "G16")
    for name in ("BAND07", "BAND12"):
        missing = np.isnan(other[name].values)
        assert missing[20, 30] and missing.sum() == 1
        far = np.hypot(np.arange(40)[:, None] - 20, np.arange(52)[None] - 30) > 20  # beyond the network's view
        np.testing.assert_allclose(other[name].values[far], whole[name].values[far], rtol=1e-5)
    assert other["quality"].values[20, 30] & 1 and not other["quality"].values[20, 31] & 1


def test_missing_regions_do_not_spread(translator):
    tile = make_tile()
    tile["BAND08"][:, :10] = np.nan
    tile["BAND16"][5:9, 30:] = np.nan
    other = translator.translate(tile, "G16")
    expected = np.isnan(tile["BAND08"].values) | np.isnan(tile["BAND16"].values)
    np.testing.assert_array_equal(np.isnan(other["BAND10"].values), expected)


def test_reflectance_is_missing_at_night_and_only_there(translator):
    tile = make_tile()
    zenith = np.broadcast_to(np.linspace(80, 100, 52, dtype=np.float32), (40, 52))
    tile["solar_zenith"] = (("lat", "lon"), zenith)
    other = translator.translate(tile, "G16")
    np.testing.assert_array_equal(np.isnan(other["BAND01"]), zenith >= 90)
    assert np.isfinite(other["BAND07"]).all()
    np.testing.assert_array_equal((other["quality"].values & 2) > 0, zenith >= 90)


def test_without_solar_angles_time_and_place_tell_the_night(translator):
    day = translator.translate(make_tile(), "G16")  # 20 UTC off California: noon
    night = translator.translate(make_tile().assign_coords(time=np.datetime64("2019-10-27T08:00", "ns")), "G16")
    unknown = translator.translate(make_tile().drop_vars("time"), "G16")
    assert np.isfinite(day["BAND01"]).all() and np.isfinite(unknown["BAND01"]).all()
    assert np.isnan(night["BAND01"]).all() and np.isfinite(night["BAND07"]).all()


def test_night_begins_where_the_sun_sets(translator):
    """Without solar angles, at an equinox, where a series that is good to half a degree is off by minutes."""
    tile = make_tile().assign_coords(time=np.datetime64("2019-03-15T02:23", "ns"))
    lat, lon = np.meshgrid(tile["lat"], tile["lon"], indexing="ij")
    zenith = sun_zenith_angle(tile["time"].values, lon, lat)
    night = (translator.translate(tile, "G16")["quality"].values & 2) > 0
    assert 0.2 < night.mean() < 0.8
    sure = np.abs(zenith - 90) > 0.03  # the two differ by no more
    np.testing.assert_array_equal(night[sure], zenith[sure] >= 90)
    holed = tile.assign(solar_zenith=(("lat", "lon"), np.where(lon < -125.5, 40.0, np.nan).astype(np.float32)))
    holed_night = (translator.translate(holed, "G16")["quality"].values & 2) > 0
    np.testing.assert_array_equal(holed_night, night & (lon >= -125.5))


def test_outputs_are_limited_to_the_valid_range_and_counted(tmp_path):
    run = save_random_run(tmp_path / "run", BANDS)
    wild = load(run)
    wild.params = jax.tree.map(lambda leaf: leaf * 3, wild.params)
    other = wild.translate(make_tile(), "G16")
    assert other["BAND09"].min() >= 150 and other["BAND09"].max() <= 350 and other["BAND07"].max() <= 420
    limited = other["BAND09"].attrs["limited_pixels"]
    assert limited == ((other["BAND09"] == 150) | (other["BAND09"] == 350)).sum() > 0
    assert ((other["quality"].values & 4) > 0).sum() >= limited


@pytest.mark.parametrize("n_downsample", [1, 2])
def test_any_size_works_with_a_network_that_halves(tmp_path, n_downsample):
    run = save_random_run(tmp_path / "run", BANDS, n_downsample=n_downsample)
    other = load(run).translate(make_tile((33, 46)), "G16")
    assert other["BAND07"].shape == (33, 46) and np.isfinite(other["BAND07"]).all()


def test_skip_channels_of_the_source_are_handed_over(tmp_path):
    bands = {"G16": (8, 9, 10), "G17": (8, 9, 10, 16)}
    translator = load(save_random_run(tmp_path / "run", bands, skips={"G16": (1,), "G17": (1,)}))
    tile = make_tile()
    changed = tile.copy(deep=True)
    changed["BAND09"] += 1
    first, second = (stacked(translator.translate(t, "G16"), bands["G16"]) for t in (tile, changed))
    assert np.abs(first - second).max() > 0.01


def test_a_labelled_satellite_is_found_by_its_name(translator):
    assert "BAND02" in translator.translate(make_tile(), "H8")


@pytest.mark.parametrize(("factor", "unit"), [(25_000, "1"), (1, "%")])
def test_percent_and_counts_are_refused(tmp_path, factor, unit):
    translator = load(save_random_run(tmp_path / "run", {"G16": (1, 13), "H8": (1, 2, 13)}))
    tile = make_tile(bands=(1, 13), satellite="G16")
    tile["BAND01"] = (("lat", "lon"), np.full((40, 52), 0.3 * factor, np.float32), {"units": unit})
    with pytest.raises(InputError, match="BAND01 of a_file.hdf must be reflectance from 0 to about 1; it is in"):
        translator.translate(tile, "H8")


def test_clear_errors(translator, tmp_path):
    tile = make_tile()
    with pytest.raises(InputError, match="'run' translates between G16, G17, H8_15, not 'G18'"):
        translator.translate(tile, "G18")
    with pytest.raises(InputError, match="a_file.hdf has no BAND09"):
        translator.translate(tile.drop_vars("BAND09"), "G16")
    empty = tile.copy(deep=True)
    empty["BAND10"][:] = np.nan
    with pytest.raises(InputError, match="BAND10 .* of a_file.hdf is entirely missing"):
        translator.translate(empty, "G16")
    celsius = tile.copy(deep=True)
    celsius["BAND10"] -= 273.15
    celsius["BAND10"].attrs["units"] = "degC"
    with pytest.raises(InputError, match="BAND10 of a_file.hdf must be brightness temperature in K; it is in 'degC'"):
        translator.translate(celsius, "G16")
    with pytest.raises(InputError, match="no checkpoint of step 3"):
        load(save_random_run(tmp_path / "again", BANDS), step=3)
