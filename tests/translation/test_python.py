"""The translator in a notebook: batches, DataArrays, latent fields, draws, dask."""

import numpy as np
import pytest
import xarray as xr

from satxlate_jax.cli import InputError
from satxlate_jax.translation.load import load
from tests.random_run import save_random_run
from tests.translation.test_translate import make_tile, stacked

BANDS = {"G16": (7, 8, 9, 10, 12, 16), "G17": (8, 9, 10, 16)}


@pytest.fixture(scope="module")
def translator(tmp_path_factory):
    return load(save_random_run(tmp_path_factory.mktemp("python") / "run", BANDS))


def test_a_batch_gives_what_the_tiles_give(translator):
    tiles = [make_tile(seed=seed) for seed in range(2)]
    batch = np.stack([stacked(tile, BANDS["G17"]) for tile in tiles])
    batch[1, 3, 4, 0] = np.nan
    tiles[1]["BAND08"][3, 4] = np.nan
    output = translator.translate(batch, "G16", source="G17")
    assert output.dtype == np.float32 and output.shape == (2, 40, 52, 6)
    for index, tile in enumerate(tiles):
        expected = stacked(translator.translate(tile, "G16"), BANDS["G16"])
        np.testing.assert_allclose(output[index], expected, atol=2e-3)
    np.testing.assert_allclose(translator.translate(batch[0], "G16", source="G17"), output[0], atol=2e-3)


def test_a_data_array_keeps_its_dimensions(translator):
    tile = make_tile()
    array = xr.DataArray(
        np.stack([tile[f"BAND{band:02d}"].values for band in (16, 10, 9, 8)]),
        {"band": [16, 10, 9, 8], "lat": tile["lat"], "lon": tile["lon"], "time": tile["time"]},
        ("band", "lat", "lon"),
        attrs={"satellite": "G17"},
    )
    output = translator.translate(array, "G16")
    assert output.dims == ("band", "lat", "lon") and list(output["band"]) == list(BANDS["G16"])
    assert output.attrs["satellite"] == "G16"
    expected = translator.translate(tile, "G16")
    np.testing.assert_allclose(output.sel(band=12), expected["BAND12"], atol=2e-3)
    np.testing.assert_array_equal(output["lat"], tile["lat"])
    with pytest.raises(InputError, match="no band 8"):
        translator.translate(array.sel(band=[16, 10, 9]), "G16")
    with pytest.raises(InputError, match="needs a dimension 'band'"):
        translator.translate(array.rename(band="channel"), "G16")


def test_the_latent_field(translator):
    tile = make_tile()
    statistics = translator.metadata["satellites"]["G17"]
    x = (stacked(tile, BANDS["G17"]).astype(np.float64) - statistics["mean"]) / statistics["std"]
    around = translator.radius
    x = np.pad(x, ((around, around), (around, around), (0, 0)), mode="reflect")
    z = np.asarray(translator.network.encode(translator.params, x[None].astype(np.float32), "G17"))[0]
    z = z[around:-around, around:-around]
    np.testing.assert_allclose(translator.translate(tile, "G16", latent=True)["latent"], z, atol=1e-4)
    batch = stacked(tile, BANDS["G17"])[None]
    np.testing.assert_allclose(translator.translate(batch, "G16", source="G17", latent=True)[0], z, atol=1e-4)


def test_draws_have_the_spread_of_the_latent_noise(translator):
    tile = make_tile()
    statistics = translator.metadata["satellites"]
    first = translator.translate(tile, "G16", samples=16)
    again = translator.translate(tile, "G16", samples=16)
    other = translator.translate(tile, "G16", samples=16, seed=1)
    xr.testing.assert_equal(first, again)
    assert np.abs(first["BAND12"] - other["BAND12"]).max() > 1e-3
    # against draws of numpy's noise through the same networks
    x = (stacked(tile, BANDS["G17"]).astype(np.float64) - statistics["G17"]["mean"]) / statistics["G17"]["std"]
    z = np.asarray(translator.network.encode(translator.params, x[None].astype(np.float32), "G17"))
    random = np.random.default_rng(0)
    noise = random.standard_normal((16, *z.shape[1:])).astype(np.float32)
    draws = np.asarray(translator.network.decode(translator.params, z + noise, "G16"))
    draws = draws * np.array(statistics["G16"]["std"]) + np.array(statistics["G16"]["mean"])
    spread = stacked(first.rename({f"BAND{b:02d}_spread": f"BAND{100 + b}" for b in BANDS["G16"]}), [107, 112])
    np.testing.assert_allclose(spread.mean((0, 1)), draws.std(0, ddof=1)[..., [0, 4]].mean((0, 1)), rtol=0.05)
    assert first["BAND12_spread"].attrs["units"] == "K"
    with pytest.raises(InputError, match="samples is 1"):
        translator.translate(tile, "G16", samples=1)


def test_draws_of_a_tile_do_not_depend_on_the_batch(translator):
    tiles = [make_tile(seed=seed) for seed in range(3)]
    batch = np.stack([stacked(tile, BANDS["G17"]) for tile in tiles])
    together = translator.translate(batch, "G16", source="G17", samples=3)
    for index, tile in enumerate(tiles):
        alone = stacked(translator.translate(tile, "G16", samples=3), BANDS["G16"])
        np.testing.assert_allclose(together[index], alone, atol=2e-3)


def test_a_draws_spread_is_missing_where_the_band_is(translator):
    tile = make_tile()
    tile["BAND09"][5, 6] = np.nan
    output = translator.translate(tile, "G16", samples=2)
    np.testing.assert_array_equal(np.isnan(output["BAND07_spread"]), np.isnan(output["BAND07"]))
    assert np.isnan(output["BAND07_spread"][5, 6]) and np.isfinite(output["BAND07_spread"]).sum() == 40 * 52 - 1


def test_under_dask(translator):
    pytest.importorskip("dask.array")
    tiles = [make_tile(seed=seed) for seed in range(3)]
    batch = np.stack([stacked(tile, BANDS["G17"]) for tile in tiles])
    lazy = xr.DataArray(batch, dims=("time", "lat", "lon", "band")).chunk({"time": 1})
    output = xr.apply_ufunc(
        translator.translate,
        lazy,
        kwargs={"to": "G16", "source": "G17"},
        input_core_dims=[["lat", "lon", "band"]],
        output_core_dims=[["lat", "lon", "target_band"]],
        dask="parallelized",
        output_dtypes=[np.float32],
        dask_gufunc_kwargs={"output_sizes": {"target_band": 6}},
    )
    assert output.chunks is not None
    np.testing.assert_allclose(output, translator.translate(batch, "G16", source="G17"), atol=2e-3)


def test_map_blocks_over_a_lazy_tile(translator):
    pytest.importorskip("dask.array")
    tile = make_tile()
    expected = translator.translate(tile, "G16")
    lazy = xr.map_blocks(translator.translate, tile.chunk(), kwargs={"to": "G16"}, template=expected.chunk())
    np.testing.assert_allclose(lazy.compute()["BAND12"], expected["BAND12"], atol=2e-3)


def test_clear_errors(translator):
    batch = np.full((1, 20, 20, 4), 250, np.float32)
    with pytest.raises(InputError, match="does not say which satellite"):
        translator.translate(batch, "G16")
    with pytest.raises(InputError, match=r"must be \[..., h, w, 4\] \(bands 8, 9, 10, 16\)"):
        translator.translate(batch[..., :3], "G16", source="G17")
    with pytest.raises(InputError, match="must be brightness temperature in K"):
        translator.translate(batch * 0 + 15_000, "G16", source="G17")
