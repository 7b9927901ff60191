"""A spectral flow on pixels of 1 and 0.5 km: what it makes of means it is fitted on, and what details add."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy

from satxlate_jax import load
from satxlate_jax.geometry import tile_grid
from satxlate_jax.instruments import published_statistics
from satxlate_jax.models import wavelet
from satxlate_jax.translation.finer_pixels import finer_by, octaves
from tests import tiny_flow
from tests.tiny_flow import TILE, draw_tile

RED, VEGETATION = "BAND02", "BAND03"  # 0.64 um gives 0.865 um


@pytest.fixture(scope="module")
def translator():
    return load(tiny_flow.finished_run())


def fine_tile(factor, size=32):
    """A tile of so many pixels for each of 2 km, its red band at 0.5 km, the thermal ones at 2 km."""
    coarse = draw_tile("G17", shape=(size, size))
    axes = {
        name: (name, axis[: factor * size])
        for name, axis in zip(("lat", "lon"), tile_grid(TILE, 300 * factor), strict=True)
    }
    tile = coarse.drop_vars(["lat", "lon"]).isel(lat=np.arange(size).repeat(factor), lon=np.arange(size).repeat(factor))
    waves = np.sin(np.arange(factor * size) * np.pi * 0.9)  # of hardly more than two pixels
    std = published_statistics("G17", [2])[1][0]
    tile[RED] = (tile[RED] + 0.5 * std * waves[:, None] * waves).astype(np.float32).assign_attrs(units="1")
    return tile.assign_coords(axes)


def means(tile, factor):
    return tile.coarsen(lat=factor, lon=factor).mean(keep_attrs=True)


@pytest.mark.parametrize("factor", [2, 4])
def test_details_are_those_of_the_finer_bands_and_their_means_the_2_km_translation(translator, factor):
    tile = fine_tile(factor)
    assert finer_by(tile) == factor and finer_by(means(tile, factor)) == 1
    made, coarse = translator.translate(tile, "G16"), translator.translate(means(tile, factor), "G16")
    again = means(made, factor)
    scale = {band: published_statistics("G16", [band])[1][0] for band in (3, 7, 11, 12)}
    np.testing.assert_allclose(again[VEGETATION], coarse[VEGETATION], atol=0.05 * scale[3])
    for band in (7, 11, 12):  # of 2 km pixels only: repeated, as the reader repeats what is given
        name = f"BAND{band:02d}"
        np.testing.assert_allclose(again[name], coarse[name], atol=1e-3 * scale[band])
        assert np.ptp(made[name].values[:factor, :factor]) == 0
    np.testing.assert_array_equal(made[RED], tile[RED])
    detail = [(field - np.asarray(field).mean()).values for field in (made[VEGETATION], tile[RED])]
    slope = 0.8 * scale[3] / published_statistics("G17", [2])[1][0]  # the law of 0.865 um
    high = [np.diff(np.diff(field, axis=0), axis=1)[1::2, 1::2] for field in detail]
    assert np.sum(high[0] * high[1]) / np.sum(high[1] ** 2) == pytest.approx(slope, rel=0.25)
    assert (made[f"{VEGETATION}_std"].mean() > coarse[f"{VEGETATION}_std"].mean()).item()
    assert not np.isnan(made[VEGETATION]).any() and made["extrapolated"].shape == tile[RED].shape


def test_sides_that_are_no_multiple_and_missing_pixels(translator):
    tile = fine_tile(2).isel(lat=slice(0, 61), lon=slice(0, 53)).copy(deep=True)
    tile[RED][5, 6] = np.nan
    made = translator.translate(tile, "G16", samples=1)
    for name in (VEGETATION, f"{VEGETATION}_std", f"{VEGETATION}_samples"):
        missing = np.isnan(made[name].squeeze().values)
        assert missing.shape == (61, 53) and missing[5, 6] and missing.sum() == 1, name


def test_the_variance_of_details_grows_as_that_of_white_noise_and_of_smooth_fields_falls():
    """Of white noise means lose four times as much in each finer octave; three, as the wavelet's coefficients tell."""
    flow = load(tiny_flow.finished_run()).network
    images = np.random.default_rng(0).normal(size=(64, flow.alignment * 2, flow.alignment * 2, 1)).astype(np.float32)
    smooth = scipy.ndimage.gaussian_filter(images, (0, 2, 2, 0), mode="mirror")
    growth = []
    for fields in (images, smooth):
        z = np.asarray(wavelet.transform(jnp.asarray(fields), flow.levels))
        bands = wavelet.subbands(z.shape[1:3], flow.levels)
        _, finest, coarser = octaves(flow, np.stack([z[:, b.rows, b.columns].var((0, 1, 2)) for b in bands]))
        growth.append((finest / coarser).item())
    assert 2.5 < growth[0] < 4 and growth[1] < 0.5


@pytest.mark.parametrize("factor", [1, 2])
def test_samples_of_a_place_share_their_noise_at_all_times(translator, factor):
    """Of a scene that does not change a film of one sample stands still; elsewhere and for another seed it differs."""
    tile = fine_tile(factor)
    later = tile.assign_coords(time=np.datetime64("2019-01-03T18:40", "ns"))
    other = tile.assign_attrs(tile="h13v08")
    one, two, three = translator.translate_tiles([tile, later, other], "G16", samples=2)
    name = f"{VEGETATION}_samples"
    np.testing.assert_array_equal(one[name], two[name])
    alone = translator.translate(other, "G16", samples=2)
    np.testing.assert_allclose(three[name], alone[name], atol=1e-5)  # whatever it is translated with
    noise = [(each[name] - each[name].mean("sample")).values.ravel() for each in (one, three)]
    assert abs(np.corrcoef(*noise)[0, 1]) < 0.1
    assert np.abs(translator.sample(tile, "G16", seed=1)[VEGETATION] - one[name][0]).max() > 0.01
