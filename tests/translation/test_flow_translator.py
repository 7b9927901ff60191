"""A trained spectral flow in use: what passes unchanged, distributions, exact inverses, blocks, files, scores."""

import numpy as np
import pytest

from satxlate_jax import load
from satxlate_jax.instruments import published_statistics
from tests import tiny_flow, tiny_run
from tests.tiny_flow import SATELLITES, draw_tile

INFERRED = (3, 7, 11, 12)  # of G16, from G17


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tiny_run.shared_cache(tmp_path_factory)))
        return tiny_flow.finished_run(tmp_path_factory)


@pytest.fixture(scope="module")
def translator(run):
    return load(run)


def name(band):
    return f"BAND{band:02d}"


def stacked(tile, satellite):
    return np.stack([tile[name(band)].values for band in SATELLITES[satellite]], -1)


def test_given_bands_pass_bit_by_bit_and_come_back_from_anywhere(translator):
    """Also values that no valid range holds, and reflectances at night: what was measured is left as it is."""
    tile = draw_tile("G16", shape=(37, 53))
    tile["BAND02"][0, 0], tile["BAND08"][0, 1] = 1.9, 149.0
    tile["solar_zenith"] = (("lat", "lon"), np.full((37, 53), 100, np.float32))
    other, himawari = (translator.translate(tile, to) for to in ("G17", "H8"))
    back = translator.translate(other.assign(solar_zenith=tile["solar_zenith"]), "G16")
    for band in SATELLITES["G17"]:
        np.testing.assert_array_equal(other[name(band)], tile[name(band)])
        np.testing.assert_array_equal(back[name(band)], tile[name(band)])
    assert np.isnan(back["BAND03"]).all() and back["BAND07"].min() >= 150
    again = translator.translate(himawari, "G16")
    np.testing.assert_array_equal(himawari["BAND03"], tile["BAND02"])
    for band in (2, 8, 10, 12):
        np.testing.assert_array_equal(again[name(band)], tile[name(band)])
    np.testing.assert_allclose(again["BAND11"], tile["BAND11"], atol=1e-3)  # through the adapter and back
    assert np.abs(himawari["BAND11"] - tile["BAND11"]).max() < 3


def test_inferred_bands_are_the_law_s_with_the_noise_s_deviation(translator):
    tile = draw_tile("G17", shape=(48, 48))
    truth, other = draw_tile("G16", shape=(48, 48)), translator.translate(tile, "G16")
    for band in INFERRED:
        noise = tiny_flow.NOISE * published_statistics("G16", [band])[1][0]
        error = (other[name(band)] - truth[name(band)]).values
        assert np.sqrt(np.mean(error**2)) < 1.25 * noise, band
        assert float(other[f"{name(band)}_std"].mean()) == pytest.approx(noise, rel=0.25), band
        assert other[f"{name(band)}_std"].attrs["units"] == other[name(band)].attrs["units"]
    assert other["extrapolated"].dtype == np.int8 and float(other["extrapolated"].mean()) < 0.05


def test_inputs_unlike_the_training_s_are_flagged(translator):
    tile = draw_tile("G17")
    tile["BAND10"][4:8] += 30
    flags = translator.translate(tile, "G16")["extrapolated"]
    assert flags[4:8].all() and not flags[:4].any() and not flags[8:].any()
