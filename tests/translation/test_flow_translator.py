"""A trained spectral flow in use: what passes unchanged, distributions, exact inverses, blocks, files, scores."""

import csv
import re
import shutil
from datetime import datetime

import numpy as np
import pytest
import xarray as xr
import zarr

from satxlate_jax import load, read_tile, write_tile
from satxlate_jax.__main__ import main
from satxlate_jax.archive.catalog import relative_path
from satxlate_jax.cli import InputError
from satxlate_jax.instruments import published_statistics
from tests import tiny_flow
from tests.random_run import save_random_run
from tests.tiny_flow import SATELLITES, TILE, draw_tile

INFERRED = (3, 7, 11, 12)  # of G16, from G17


@pytest.fixture(scope="module")
def run():
    return tiny_flow.finished_run()


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
    made = translator.translate(tile, "G16")
    flags = made["extrapolated"]
    assert flags[4:8].all() and not flags[:4].any() and not flags[8:].any()
    by_band = flags_by_band(made)
    np.testing.assert_array_equal(np.any(list(by_band.values()), 0), flags)
    assert list(by_band) == [name(band) for band in SATELLITES["G16"]]
    for band in SATELLITES["G17"]:  # what passes is as it was measured
        assert not by_band[name(band)].any()
    for band in (11, 12):  # which follow from BAND10
        assert by_band[name(band)][4:8].all()


def flags_by_band(made):
    """`extrapolated_bands` as other tools read it, by CF 1.8 section 3.5."""
    variable = made["extrapolated_bands"]
    masks = dict(zip(variable.attrs["flag_meanings"].split(), variable.attrs["flag_masks"], strict=True))
    return {band: variable.values.astype(int) & int(mask) != 0 for band, mask in masks.items()}


def test_missing_pixels_are_not_flagged(translator):
    tile = draw_tile("G17")
    tile["BAND10"][4:8] += 30
    tile["BAND08"][:6] = np.nan
    by_band = flags_by_band(translator.translate(tile, "G16"))
    for band in (11, 12):
        assert not by_band[name(band)][:6].any() and by_band[name(band)][6:8].all()


def test_distributions_and_samples_of_tiles_and_of_arrays(translator):
    """Also of a tile that does not say where and when it was seen."""
    tile = draw_tile("G17", shape=(37, 53))
    bare = tile.drop_vars(["lat", "lon", "time"]).drop_attrs().assign_attrs(satellite="G17")
    found, batch = translator.distribution(bare, "G16"), stacked(tile, "G17")[None]
    arrays = translator.distribution(batch, "G16", source="G17")
    draws = [translator.sample(bare, "G16", seed=seed) for seed in (0, 0, 1)]
    xr.testing.assert_equal(*draws[:2])
    np.testing.assert_allclose(translator.sample(batch, "G16", source="G17")[0], stacked(draws[0], "G16"), atol=2e-3)
    samples = translator.translate(bare, "G16", samples=16)
    for place, band in enumerate(SATELLITES["G16"]):
        np.testing.assert_allclose(arrays.mean[0, ..., place], found.mean[name(band)], atol=2e-3)
        np.testing.assert_allclose(arrays.std[0, ..., place], found.std[name(band)], rtol=1e-3)
        scatter = samples[f"{name(band)}_samples"].std("sample", ddof=1)
        if band in INFERRED:
            assert float(scatter.mean() / found.std[name(band)].mean()) == pytest.approx(1, abs=0.25)
            assert np.abs(draws[0][name(band)] - draws[2][name(band)]).max() > 0.01
        else:
            assert scatter.max() < 1e-3 and (found.std[name(band)] < 0.3).all()  # of equal numbers, but for rounding
    assert "extrapolated" in found.mean and "extrapolated" in found.std


@pytest.mark.parametrize("given", [None, "H8"])
def test_latent_images_are_exact_inverses(given, translator):
    tile = draw_tile("G16", shape=(37, 53))
    latent = translator.to_latent(tile, given=given)
    back = translator.from_latent(latent)
    for band in SATELLITES["G16"]:
        assert np.abs(back[name(band)] - tile[name(band)]).max() < (1e-3 if band > 6 else 1e-5)
    z = latent["latent"].values[..., 2]  # 3.9 um
    assert latent.attrs["given"] == (given or "G17") and np.sqrt(np.mean(z**2)) == pytest.approx(1, abs=0.3)
    assert latent["latent"].dims == ("lat", "lon", "channel") and latent.sizes["channel"] == 7
    with pytest.raises(InputError, match="needs every pixel"):
        translator.to_latent(tile.where(tile["lon"] > tile["lon"][3]))


def test_bands_that_are_missing_together_vary_together_in_samples(translator):
    """Bands 7 and 12 whose noise has a correlation of .8: so have those of a sample, each as wide as without it."""
    tile, axis = draw_tile("G17", shape=(64, 64)), translator.network.axis
    lost = np.setdiff1d(axis.of_satellite("G16"), axis.of_satellite("G17"))
    pair = [axis.of_satellite("G16")[tiny_flow.SATELLITES["G16"].index(band)] for band in (7, 12)]
    covariance = np.eye(axis.size)
    covariance[pair, pair[::-1]] = 0.8
    usual, noise = translator.params["usual"]["G16"], []
    known = usual["precision"]
    try:
        for precision in (np.zeros_like(known), np.broadcast_to(np.linalg.inv(covariance), known.shape)):
            usual["precision"] = np.float32(precision)
            made, mean = translator.sample(tile, "G16"), translator.translate(tile, "G16")
            noise.append([(made[name(band)] - mean[name(band)]).values.ravel() for band in (7, 12)])
            latent = translator.to_latent(draw_tile("G16", shape=(40, 33)), given="G17")
            back = translator.from_latent(latent)
            np.testing.assert_allclose(back[name(12)], draw_tile("G16", shape=(40, 33))[name(12)], atol=1e-3)
    finally:
        usual["precision"] = known
    alone, together = (np.corrcoef(pair)[0, 1] for pair in noise)
    assert lost.size > 2 and abs(alone) < 0.1 and together == pytest.approx(0.8, abs=0.08)
    np.testing.assert_allclose(np.std(noise[1], 1), np.std(noise[0], 1), rtol=0.1)


def test_a_missing_pixel_costs_what_is_inferred_from_it(translator):
    tile = draw_tile("G17", shape=(20, 20))
    whole, holed = translator.translate(tile, "G16"), tile.copy(deep=True)
    holed["BAND08"][5, 6] = np.nan
    other = translator.translate(holed, "G16", samples=1)
    for band in SATELLITES["G16"]:
        missing = np.isnan(other[name(band)].values)
        assert missing.sum() == (0 if band in (2, 10) else 1) and missing[5, 6] == (band not in (2, 10)), band
        np.testing.assert_array_equal(np.isnan(other[f"{name(band)}_std"]), missing)
        np.testing.assert_array_equal(np.isnan(other[f"{name(band)}_samples"][0]), missing)
    assert np.nanmax(np.abs(other["BAND07"] - whole["BAND07"])) < 0.5


def test_blocks_give_what_the_whole_gives_and_samples_join(run, translator):
    tile = draw_tile("G17", shape=(150, 130))
    cut = load(run, block=2 * translator.radius + 32 + 44)
    whole, parts = (each.translate(tile, "G16", samples=1) for each in (translator, cut))
    inner = np.s_[..., :144, :124]  # in blocks the sides are filled up to multiples of the coarsest coefficients
    for band in INFERRED:
        scale = published_statistics("G16", [band])[1][0]
        for suffix in ("", "_std", "_samples"):
            ours, theirs = (each[f"{name(band)}{suffix}"].values[inner] for each in (whole, parts))
            np.testing.assert_allclose(ours, theirs, atol=2e-3 * scale, err_msg=f"{band}{suffix}")
    np.testing.assert_array_equal(whole["extrapolated"], parts["extrapolated"])


@pytest.fixture(scope="module")
def l1g(tmp_path_factory):
    """The same scene by two satellites."""
    root = tmp_path_factory.mktemp("flow_l1g")
    for satellite in ("G16", "G17"):
        tile = draw_tile(satellite, shape=(300, 300))
        write_tile(tile, root / relative_path(satellite, TILE, tile["time"].values.astype("M8[s]").item()))
    return root


def translate(run, l1g, output, *words):
    command = ["translate", "--checkpoint", run, "--to", "G16", "--source", "G17", "--output", output, "--workers", 1]
    return main([*map(str, command), *words, str(l1g)])


def check_file(output, tile, samples):
    for band in SATELLITES["G16"]:
        if band not in INFERRED:
            half = 0.5 * (1e-4 if band < 7 else 0.01)
            np.testing.assert_allclose(output[name(band)], tile[name(band)], rtol=1e-6, atol=1.02 * half)
        assert (output[f"{name(band)}_std"].values >= 0).all()
        assert (f"{name(band)}_samples" in output) == bool(samples)
        if samples:
            assert output[f"{name(band)}_samples"].shape[-3:] == (samples, 300, 300)
    assert set(np.unique(output["extrapolated"])) <= {0, 1}
    assert list(flags_by_band(output)) == [name(band) for band in SATELLITES["G16"]]


def test_files_tell_deviations_flags_and_samples(run, l1g, tmp_path):
    (path,) = l1g.rglob("GO17*.hdf")
    tile = read_tile(path, bands=SATELLITES["G17"])
    assert translate(run, l1g, tmp_path / "nc", "--samples", "2") == 0
    with xr.open_dataset(next((tmp_path / "nc").glob("*.nc"))) as output:
        check_file(output, tile, 2)
    assert translate(run, l1g, tmp_path / "zarr", "--zarr", "--samples", "2") == 0
    with xr.open_zarr(tmp_path / "zarr" / f"G16_{TILE}.zarr") as output:
        check_file(output.isel(time=0), tile, 2)


@pytest.mark.parametrize("option", ["--overwrite", "--zarr"])
def test_a_file_of_some_bands_flags_what_these_say(option, run, tmp_path, capsys):
    """The flag of all is that of the bands that were asked for; the message names them and how much."""
    tile = draw_tile("G17", shape=(300, 300))
    tile["BAND10"][:30] += 60
    path = tmp_path / relative_path("G17", TILE, tile["time"].values.astype("M8[s]").item())
    write_tile(tile, path)
    for bands, share in (("8,10", 0.0), ("8,12", 0.1)):
        output = tmp_path / bands
        capsys.readouterr()
        assert translate(run, path, output, "--bands", bands, option) == 0
        message = capsys.readouterr().out
        found = re.findall(r"extrapolated: BAND12 ([\d.]+)% of the pixels", message)
        assert [float(one) for one in found] == pytest.approx([10.0] * bool(share), abs=2)
        opened = (
            xr.open_zarr(output / f"G16_{TILE}.zarr") if "z" in option else xr.open_dataset(next(output.glob("*.nc")))
        )
        with opened as made:
            assert float(made["extrapolated"].mean()) == pytest.approx(share, abs=0.02)
            assert "flag_values" in made["extrapolated"].attrs and "flag_masks" not in made["extrapolated"].attrs
            by_band = flags_by_band(made)
            assert list(by_band) == ["BAND08", f"BAND{bands[2:]}"]
            assert by_band[f"BAND{bands[2:]}"].mean() == pytest.approx(share, abs=0.02)
            np.testing.assert_array_equal(made["extrapolated_bands"] != 0, made["extrapolated"] != 0)


def test_outputs_of_before_there_were_flags_by_band_stay_and_go_on(run, l1g, tmp_path, capsys):
    assert translate(run, l1g, tmp_path / "nc") == 0
    (path,) = (tmp_path / "nc").glob("*.nc")
    with xr.open_dataset(path, decode_cf=False) as output:
        before = output.drop_vars("extrapolated_bands").load()
    before.to_netcdf(path)
    assert translate(run, l1g, tmp_path / "nc") == 0
    assert "0 written, 1 already there" in capsys.readouterr().out
    assert translate(run, l1g, tmp_path / "zarr", "--zarr") == 0
    store = tmp_path / "zarr" / f"G16_{TILE}.zarr"
    shutil.rmtree(store / "extrapolated_bands")
    xr.open_zarr(store, consolidated=False).close()
    zarr.consolidate_metadata(store, zarr_format=2)
    later = tmp_path / relative_path("G17", TILE, datetime(2019, 1, 4, 18, 30))
    tile = draw_tile("G17", shape=(300, 300)).assign_coords(time=np.datetime64("2019-01-04T18:30", "ns"))
    write_tile(tile, later)
    assert translate(run, later, tmp_path / "zarr", "--zarr") == 0
    with xr.open_zarr(store) as output:
        assert (output["complete"] >= 0).all() and output.sizes["time"] == 2 and "extrapolated_bands" not in output
        assert np.isfinite(output["BAND12"]).all()


def test_scores_tell_how_sure_it_is(run, l1g, tmp_path):
    words = ["--source", "G17", "--target", "G16", "--pictures", "0", "--output", str(tmp_path)]
    assert main(["evaluate", "--checkpoint", str(run), "--l1g", str(l1g), *words]) == 0
    with (tmp_path / "scores.csv").open() as file:
        rows = {(row["method"], int(row["band"])): row for row in csv.DictReader(file)}
    for band in INFERRED:
        row = {key: float(rows["model", band][key]) for key in ("crps", "mae", "coverage_1sd", "coverage_2sd")}
        assert 0 < row["crps"] < row["mae"]
        assert row["coverage_1sd"] == pytest.approx(0.68, abs=0.12) and row["coverage_2sd"] > 0.88
        assert 0.5 < float(rows["model", band]["power_ratio_sample"]) < 1.6


def test_the_published_family_has_no_distribution(tmp_path):
    plain = load(save_random_run(tmp_path / "run", {"G16": (7, 8), "G17": (8,)}))
    for method in (plain.distribution, plain.sample, plain.to_latent, plain.from_latent):
        with pytest.raises(InputError, match="'run' is a VAE-GAN, which knows no distribution"):
            method(draw_tile("G17"), "G16")
