"""How unusual a measurement is: faults stand out, in the band that has them; old runs and the VAE-GAN say why not."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from satxlate_jax import load, write_tile
from satxlate_jax.__main__ import main
from satxlate_jax.archive.catalog import relative_path
from satxlate_jax.cli import InputError
from tests import tiny_flow
from tests.random_run import save_random_run
from tests.tiny_flow import SATELLITES, draw_tile


@pytest.fixture(scope="module")
def translator():
    return load(tiny_flow.finished_run())


def test_what_is_usual_has_no_bits_and_faults_have_them_in_their_band_and_place(translator):
    """40 K are 26 deviations of what band 11 adds to the others: a spot has most of that at the finest scales."""
    usual = translator.surprise(draw_tile("G16", seed=5, shape=(48, 48)))
    for band in SATELLITES["G16"]:
        assert abs(float(usual[f"BAND{band:02d}"].mean())) < 1.5, band
    tile = draw_tile("G16", seed=5, shape=(48, 48))
    tile["BAND11"][10, 20] += 40
    spot = translator.surprise(tile)
    assert spot["BAND11"][10, 20] > 50 and spot["surprise"][10, 20] == spot["BAND11"][10, 20]
    assert abs(float((spot["BAND11"] - usual["BAND11"])[30:].max())) < 1.5  # far from it nothing changes
    swapped = tile.assign(BAND08=tile["BAND10"], BAND10=tile["BAND08"])
    assert float(translator.surprise(swapped)["surprise"].mean()) > 10 * float(usual["surprise"].mean())


def test_missing_pixels_are_missing_and_the_layout_stays(translator):
    tile = draw_tile("G17", shape=(20, 30))
    tile["BAND08"][3, 4] = np.nan
    bits = translator.surprise(tile.transpose("lon", "lat"))
    assert bits["surprise"].dims == ("lon", "lat") and np.isnan(bits["surprise"]).sum() == 1
    assert np.isnan(bits["BAND10"].sel(lat=tile["lat"][3], lon=tile["lon"][4]))
    xr.testing.assert_allclose(bits.transpose("lat", "lon"), translator.surprise(tile), atol=1e-3)


def test_files_hold_it_where_it_is_asked_for(tmp_path):
    run, tile = tiny_flow.finished_run(), draw_tile("G17", shape=(300, 300))
    source = tmp_path / relative_path("G17", tiny_flow.TILE, tile["time"].values.astype("M8[s]").item())
    write_tile(tile, source)
    words = ["translate", "--checkpoint", str(run), "--to", "G16", str(source)]
    assert main([*words, "--output", str(tmp_path / "plain")]) == 0
    assert main([*words, "--surprise", "--output", str(tmp_path / "out")]) == 0
    (plain,), (made,) = (list((tmp_path / name).glob("*.nc")) for name in ("plain", "out"))
    with xr.open_dataset(plain) as without, xr.open_dataset(made) as found:
        assert "surprise" not in without
        expected = load(run).surprise(tile)["surprise"]
        np.testing.assert_allclose(found["surprise"], expected, atol=0.6)  # an L1G file rounds to 0.01 K
        assert found["surprise"].attrs["units"] == "bit"
        assert main([*words, "--surprise", "--zarr", "--output", str(tmp_path / "stores")]) == 0
        (store,) = (tmp_path / "stores").glob("*.zarr")
        with xr.open_zarr(store) as kept:
            np.testing.assert_allclose(kept["surprise"][0], found["surprise"], atol=0.01)


def test_a_run_that_does_not_know_says_so_in_one_line(tmp_path, translator, capsys):
    save_random_run(tmp_path / "gan", {"G16": SATELLITES["G16"], "G17": SATELLITES["G17"]})
    out = tmp_path / "out"
    code = main(
        [
            "translate",
            "--checkpoint",
            str(tmp_path / "gan"),
            "--to",
            "G16",
            str(out),
            "--output",
            str(out),
            "--surprise",
        ]
    )
    assert code == 2 and not out.exists() and len(capsys.readouterr().err.splitlines()) == 1
    translator.params["usual"]["G17"]["precision"] *= 0
    with pytest.raises(InputError, match="does not know what is usual for G17"):
        translator.surprise(draw_tile("G17"))


def test_evaluate_tells_how_usual_files_are_and_which_faults_stand_out(tmp_path, capsys):
    for seed, minute in enumerate((30, 40, 50)):
        tile = draw_tile("G16", seed, (300, 300)).assign_coords(time=np.datetime64(f"2019-02-03T18:{minute}", "ns"))
        for satellite in ("G16", "G17"):
            path = (
                tmp_path / "l1g" / relative_path(satellite, tiny_flow.TILE, tile["time"].values.astype("M8[s]").item())
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            write_tile(tile.assign_attrs(satellite=satellite), path)
    words = ["--checkpoint", str(tiny_flow.finished_run()), "--l1g", str(tmp_path / "l1g"), "--source", "G16"]
    words += ["--target", "G17", "--baselines", "none", "--pictures", "0", "--output", str(tmp_path / "out")]
    assert main(["evaluate", *words, "--likelihood"]) == 0
    assert "simulated faults" in capsys.readouterr().out and (tmp_path / "out/figures/likelihood.png").exists()
    files, faults = (pd.read_csv(tmp_path / "out" / name) for name in ("likelihood.csv", "faults.csv"))
    assert len(files) == 3 and files["surprise"].between(0, 4).all()
    scores = faults.set_index("fault")
    assert list(scores.index) == ["stripes", "saturated", "calibration", "swapped"] and (scores["files"] == 3).all()
    assert (scores["auc_tile"] >= 0.5).all() and scores.loc["saturated", "auc_tile"] == 1
    assert (
        scores.loc["saturated", "auc_pixel"] > 0.9
        and scores.loc["calibration", "auc_pixel"] != scores.loc["saturated", "auc_pixel"]
    )
