"""Tiles as people have them: masked, transposed, on other dimensions, of other types; or not to be understood."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from satxlate_jax.cli import InputError
from satxlate_jax.translation.load import load
from tests.random_run import save_random_run
from tests.translation.test_translate import make_tile, stacked

BANDS = {"G16": (1, 7, 8, 9), "G17": (8, 9)}
MADE = ("BAND01", "BAND07", "BAND08", "BAND09", "quality")


@pytest.fixture(scope="module")
def translator(tmp_path_factory):
    return load(save_random_run(tmp_path_factory.mktemp("layout") / "run", BANDS, dim=4))


@pytest.fixture(scope="module")
def tile():
    """Across the terminator, so that a wrong row or column shows in the night as well."""
    places = {"lat": 42 - 0.5 * np.arange(20), "lon": -126 + 0.5 * np.arange(30)}
    return make_tile((20, 30), bands=(8, 9)).assign_coords(places | {"time": np.datetime64("2019-10-27T14:38", "ns")})


@pytest.fixture(scope="module")
def expected(translator, tile):
    made = translator.translate(tile, "G16")
    assert 0 < np.isnan(made["BAND01"]).mean() < 1
    return made


def array_of(tile):
    values = np.stack([tile["BAND08"].values, tile["BAND09"].values])
    coordinates = {"band": [8, 9], **{name: tile[name] for name in ("lat", "lon", "time")}}
    return xr.DataArray(values, coordinates, ("band", "lat", "lon"), attrs={"satellite": "G17"})


# ------------------------------------------------------------------- masked is missing


def holed(tile):
    """Values with a block of -999, its mask, and what must come out: that of NaN."""
    x = stacked(tile, BANDS["G17"]).astype(np.float32)
    mask = np.zeros(x.shape, bool)
    mask[4:8, 6:12, 0], mask[2, 3, 1] = True, True
    return np.where(mask, -999, x).astype(np.float32), mask, np.where(mask, np.nan, x).astype(np.float32)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_masked_is_missing_in_a_batch(dtype, translator, tile):
    filled, mask, plain = holed(tile)
    filled = np.where(mask, 999, np.rint(filled)).astype(dtype)
    wanted = translator.translate(np.where(mask, np.nan, filled).astype(np.float32), "G16", source="G17")
    masked = np.ma.MaskedArray(filled, mask)
    made = translator.translate(masked, "G16", source="G17")
    assert made.dtype == np.float32 and type(made) is np.ndarray
    np.testing.assert_array_equal(made, wanted)
    np.testing.assert_array_equal(np.isnan(made[..., 0]), mask.any(-1))
    np.testing.assert_array_equal(translator.translate(masked[None, None], "G16", source="G17")[0, 0], wanted)
    for batch in ([masked, masked], (masked, np.where(mask, np.nan, filled).astype(np.float32))):
        listed = translator.translate(batch, "G16", source="G17")
        assert isinstance(listed, list)
        np.testing.assert_array_equal(listed, [wanted, wanted])
    np.testing.assert_array_equal(masked.mask, mask)  # the input stays as it was
    z = translator.translate(masked, "G16", source="G17", latent=True)
    np.testing.assert_array_equal(z, translator.translate(plain.round(), "G16", source="G17", latent=True))


def test_masked_is_missing_in_a_data_array_and_a_dataset(translator, tile):
    filled, mask, plain = holed(tile)
    wanted = translator.translate(plain, "G16", source="G17")
    array = array_of(tile).transpose("lat", "lon", "band").copy(data=np.ma.MaskedArray(filled, mask))
    np.testing.assert_array_equal(translator.translate(array, "G16"), wanted)
    lazy = pytest.importorskip("dask.array").ma.masked_array(np.where(mask, -999, filled), mask)
    np.testing.assert_array_equal(translator.translate(array.copy(data=lazy.rechunk((7, 9, 1))), "G16"), wanted)
    for kind in (np.ma.MaskedArray(filled, mask), lazy):
        masked = tile.copy()
        for channel, name in enumerate(("BAND08", "BAND09")):
            masked[name] = tile[name].copy(data=kind[..., channel])
        made = translator.translate(masked, "G16")
        assert made["BAND07"].dtype == np.float32
        np.testing.assert_array_equal(stacked(made, (7, 8, 9)), wanted[..., 1:])
        np.testing.assert_array_equal((made["quality"].values & 1) > 0, mask.any(-1))
    zenith = np.ma.masked_less(np.full((20, 30), 120, np.float32), 0)
    night = tile.assign(solar_zenith=(("lat", "lon"), zenith))
    assert np.isnan(translator.translate(night, "G16")["BAND01"]).all()


def test_all_masked_is_entirely_missing(translator, tile):
    batch = np.ma.masked_all((20, 30, 2), np.float32)
    with pytest.raises(InputError, match="entirely missing"):
        translator.translate(batch, "G16", source="G17")


def test_infinite_is_missing_and_flagged(translator, tile):
    tile = tile.copy(deep=True)
    tile["BAND08"][2, 3] = np.inf
    made = translator.translate(tile, "G16")
    assert np.isnan(made["BAND09"][2, 3]) and made["quality"][2, 3] & 1


# ------------------------------------------------------------------- as it went in


def renamed(tile, rows, columns):
    return tile.rename(lat=rows, lon=columns)


def without_names(tile):
    """Names that say nothing; CF attributes do."""
    tile = renamed(tile, "a", "b")
    tile["a"].attrs, tile["b"].attrs = {"axis": "Y"}, {"standard_name": "longitude"}
    return tile


def by_units(tile):
    tile = renamed(tile, "p", "q")
    tile["p"].attrs, tile["q"].attrs = {"units": "degrees_north"}, {"units": "degrees_east"}
    return tile


def on_pixels(tile):
    """Dimensions y and x, latitude and longitude of every pixel, and projected coordinates."""
    lat, lon = np.meshgrid(tile["lat"], tile["lon"], indexing="ij")
    tile = tile.drop_vars(["lat", "lon"]).rename(lat="y", lon="x")
    tile = tile.assign_coords(y=np.arange(20)[::-1] * 2000.0, x=np.arange(30) * 2000.0)
    return tile.assign_coords(latitude=(("y", "x"), lat), longitude=(("y", "x"), lon), spatial_ref=0)


def aside(tile):
    """Latitude and longitude along dimensions of other names, which have no coordinate."""
    lat, lon = tile["lat"].values, tile["lon"].values
    tile = tile.drop_vars(["lat", "lon"]).rename(lat="ROWS_", lon="COLUMNS_")
    return tile.assign_coords(lat=("ROWS_", lat), lon=("COLUMNS_", lon))


def with_more(tile):
    number = ("lat", np.arange(20), {"long_name": "number"})
    both = (("lat", "lon"), np.arange(600).reshape(20, 30))
    return tile.assign_coords(row_number=number, both=both, place=("lon", list("ab" * 15)), height=2.0)


CHANGES = {
    "transposed": lambda tile: tile.transpose("lon", "lat"),
    "y x": lambda tile: renamed(tile, "y", "x"),
    "x y": lambda tile: renamed(tile, "y", "x").transpose("x", "y"),
    "latitude": lambda tile: renamed(tile, "latitude", "longitude"),
    "Lat": lambda tile: renamed(tile, "Lat", "LON"),
    "attributes": without_names,
    "attributes transposed": lambda tile: without_names(tile).transpose("b", "a"),
    "units": by_units,
    "pixels": on_pixels,
    "pixels transposed": lambda tile: on_pixels(tile).transpose("x", "y"),
    "aside": aside,
    "more": with_more,
    "one time": lambda tile: tile.expand_dims("time"),
    "one time last": lambda tile: tile.expand_dims("time").transpose("lon", "lat", "time"),
    "one of anything": lambda tile: tile.expand_dims({"ensemble": ["a"], "time": 1}, axis=(0, 2)),
    "chunks": lambda tile: tile.chunk({"lat": 7, "lon": 11}),
    "float64": lambda tile: tile.map(lambda v: v.astype(np.float64), keep_attrs=True),
    "half its own": lambda tile: tile.assign(BAND09=tile["BAND09"].transpose("lon", "lat")),
    "zenith": lambda tile: tile.assign(solar_zenith=tile["BAND08"] * 0 + 10).transpose("lon", "lat"),
}

# by day, or said to be nowhere: y and x without attributes may be metres
DAY = ("zenith", "y x", "x y", "attributes", "attributes transposed")


@pytest.mark.parametrize("change", CHANGES)
def test_a_dataset_comes_back_as_it_went_in(change, translator, tile, expected):
    given = CHANGES[change](tile)
    before = given.copy(deep=True)
    made = translator.translate(given, "G16")
    xr.testing.assert_identical(given, before)
    for name in MADE:
        assert made[name].dims == given["BAND08"].dims
        upright = made[name].values.squeeze()
        dims = [dim for dim, size in zip(made[name].dims, made[name].shape, strict=True) if size > 1]
        if dims[0] in ("lon", "x", "b", "X", "longitude"):
            upright = upright.T
        if change not in DAY or name not in ("BAND01", "quality"):
            np.testing.assert_allclose(upright, expected[name].values, atol=1e-3, err_msg=name)
    assert set(made.coords) == set(given.coords)
    for name in given.coords:
        assert made[name].dims == given[name].dims and made[name].attrs == given[name].attrs
        np.testing.assert_array_equal(made[name], given[name])
    assert dict(made.sizes) == dict(given.sizes)
    assert change not in DAY or np.isfinite(made["BAND01"]).all()
    assert np.asarray(made["BAND07"].values).flags.writeable
    both = translator.translate([given, given.isel()], "G16")
    xr.testing.assert_identical(both[0], made)
    draws = translator.translate(given, "G16", samples=2)
    assert draws["BAND07_spread"].dims == given["BAND08"].dims


def test_numbers_of_other_types(translator, tile):
    whole = tile.map(np.rint, keep_attrs=True)
    expected = translator.translate(whole, "G16")
    for dtype in (np.float16, np.int16, np.uint16, np.int64, ">f4", ">i2"):
        made = translator.translate(whole.map(lambda v, to=dtype: v.astype(to), keep_attrs=True), "G16")
        np.testing.assert_array_equal(made["BAND07"], expected["BAND07"])
        assert made["BAND07"].dtype == np.float32


@pytest.mark.parametrize(
    ("dims", "names"),
    [
        (("band", "lat", "lon"), {}),
        (("lat", "lon", "band"), {"lat": "y", "lon": "x"}),
        (("lon", "band", "lat"), {"lat": "latitude", "lon": "longitude"}),
    ],
)
def test_a_data_array_comes_back_as_it_went_in(dims, names, translator, tile, expected):
    given = with_more(array_of(tile)).transpose(*dims).rename(names).expand_dims(run=2).rename("radiance")
    made = translator.translate(given, "G16")
    assert made.dims == given.dims and made.name == "radiance"
    for run in range(2):
        for band in (7, 8, 9):
            upright = made.isel(run=run).sel(band=band).transpose(names.get("lat", "lat"), names.get("lon", "lon"))
            np.testing.assert_allclose(upright, expected[f"BAND{band:02d}"], atol=1e-3)
    assert set(made.coords) == set(given.coords)
    for name in set(given.coords) - {"band"}:
        assert made[name].dims == given[name].dims and made[name].attrs == given[name].attrs
        np.testing.assert_array_equal(made[name], given[name])


def test_arrays_of_other_libraries(translator, tile):
    x = stacked(tile, BANDS["G17"]).astype(np.float32)
    wanted = translator.translate(x, "G16", source="G17")
    made = translator.translate(jnp.asarray(x), "G16", source="G17")
    assert isinstance(made, jax.Array)
    np.testing.assert_array_equal(made, wanted)
    assert isinstance(translator.translate(jnp.asarray(x, jnp.bfloat16), "G16", source="G17"), jax.Array)
    lazy = pytest.importorskip("dask.array").from_array(x, chunks=(7, 7, 1))
    np.testing.assert_array_equal(translator.translate(lazy, "G16", source="G17"), wanted)


# ------------------------------------------------------------------- what cannot be understood is refused


def both_ways(tile):
    tile = tile.copy()
    tile["lat"].attrs["units"] = "degrees_east"
    return tile


REFUSED = {
    "names that say nothing": (
        lambda tile: aside(tile).drop_vars(["lat", "lon"]).rename(ROWS_="a", COLUMNS_="b"),
        "a, b",
    ),
    "rows without columns": (lambda tile: tile.drop_vars("lon").rename(lon="b"), "cannot tell rows from columns"),
    "contradiction": (both_ways, "both rows and columns"),
    "two times": (lambda tile: xr.concat([tile, tile], "time"), r"2 elements along 'time'.*isel\(time=0\)"),
    "two grids": (
        lambda tile: tile.assign(BAND09=renamed(tile.drop_vars(["lat", "lon"]), "y", "x")["BAND09"]),
        "lie on different grids",
    ),
    "no dimensions": (lambda tile: tile.map(lambda v: v[0, 0]), "none"),
    "text": (lambda tile: tile.assign(BAND08=tile["BAND08"].astype(str)), "real numbers"),
    "complex": (lambda tile: tile.assign(BAND08=tile["BAND08"].astype(complex)), "real numbers"),
    "objects": (lambda tile: tile.assign(BAND08=tile["BAND08"].astype(object)), "real numbers"),
    "solar angles elsewhere": (
        lambda tile: tile.assign(solar_zenith=(("lat_sun", "lon_sun"), np.full((5, 5), 40.0))),
        "solar_zenith",
    ),
}


@pytest.mark.parametrize("change", REFUSED)
def test_what_cannot_be_understood_is_refused(change, translator, tile):
    spoil, message = REFUSED[change]
    with pytest.raises(InputError, match=message) as caught:
        translator.translate(spoil(tile), "G16", source="G17")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("given", ["a_file.hdf", None, 7.5, {"BAND08": 1}, [[[250.0, 250.0]]], np.zeros((0, 4, 2))])
def test_what_is_no_tile_is_refused(given, translator):
    with pytest.raises(InputError, match="a tile is a Dataset, a DataArray or an array|must be"):
        translator.translate(given, "G16", source="G17")


def test_a_data_array_that_cannot_be_understood_is_refused(translator, tile):
    array = array_of(tile)
    with pytest.raises(InputError, match="cannot tell rows from columns among the dimensions of the DataArray"):
        translator.translate(array.drop_vars(["lat", "lon"]).rename(lat="a", lon="b"), "G16")
    with pytest.raises(InputError, match="has 2 band 8"):
        translator.translate(array.assign_coords(band=[8, 8]), "G16")
    with pytest.raises(InputError, match="no place for a latent field"):
        translator.translate(array, "G16", latent=True)
