"""A satellite's own image is mended: what is missing follows from what is there, what was measured stays."""

import numpy as np
import pytest
import xarray as xr

from satxlate_jax import load, write_tile
from satxlate_jax.__main__ import main
from satxlate_jax.archive.catalog import relative_path
from satxlate_jax.cli import InputError
from satxlate_jax.instruments import get_satellite
from satxlate_jax.models.band_covariance import condition
from satxlate_jax.translation.flags import unpack_bits
from tests import tiny_flow
from tests.random_run import save_random_run
from tests.tiny_flow import SATELLITES, draw_tile

STD = {number: get_satellite("G16").band(number).std for number in SATELLITES["G16"]}


@pytest.fixture(scope="module")
def translator():
    return load(tiny_flow.finished_run())


def test_the_conditional_law_is_that_of_a_gaussian():
    """By the covariance itself, in the textbook's form."""
    random = np.random.default_rng(0)
    factors = random.normal(size=(1, 5, 5))
    covariance, given = (factors @ factors.swapaxes(1, 2))[0], np.array([True, False, True, True, False])
    usual = {"precision": np.linalg.inv(covariance)[None], "mean": np.zeros(5), "factor": 1.0}
    _, gains, std = condition(usual, given).values()
    ours, theirs = np.flatnonzero(~given), np.flatnonzero(given)
    weights = covariance[np.ix_(ours, theirs)] @ np.linalg.inv(covariance[np.ix_(theirs, theirs)])
    x = random.normal(size=5) * given
    np.testing.assert_allclose((x @ gains[0])[ours], weights @ x[theirs], rtol=1e-8)
    np.testing.assert_allclose((x @ gains[0])[theirs], x[theirs])
    left = covariance[np.ix_(ours, ours)] - weights @ covariance[np.ix_(theirs, ours)]
    np.testing.assert_allclose(std[0][ours], np.sqrt(np.diag(left)), rtol=1e-8)


@pytest.mark.parametrize("band", [7, 11, 12])
def test_an_absent_band_follows_from_the_others(translator, band):
    """Nothing can be better than the noise that each band has of its own, 0.2 deviations; the error bar knows it."""
    errors, bars = [], []
    for seed in range(4):
        tile = draw_tile("G16", seed, (33, 47))
        made = translator.repair(tile.drop_vars(f"BAND{band:02d}"))
        assert made["filled"].attrs["flag_meanings"].split()[SATELLITES["G16"].index(band)] == f"BAND{band:02d}"
        assert (made["filled"] == 2 ** SATELLITES["G16"].index(band)).all()
        errors.append((made[f"BAND{band:02d}"] - tile[f"BAND{band:02d}"]).values / STD[band])
        bars.append(made[f"BAND{band:02d}_std"].values / STD[band])
    assert np.sqrt(np.mean(np.square(errors))) < 1.5 * tiny_flow.NOISE
    assert 0.5 < np.mean(np.abs(errors) < bars) < 0.9


def test_holes_are_filled_and_what_was_measured_stays(translator):
    """Bit for bit; a pixel that all bands lack stays missing, with specks in more places than there are sets."""
    tile, random = draw_tile("G16", 1, (40, 50)), np.random.default_rng(0)
    names = [name for name in tile.data_vars if str(name).startswith("BAND")]
    holed = tile.copy(deep=True)
    for name in names:
        holed[name].values[random.random((40, 50)) < 0.02] = np.nan
        holed[name].values[:3, :4] = np.nan
    holed["BAND12"].values[10:20, 10:25] = np.nan
    made = translator.repair(holed.transpose("lon", "lat")).transpose("lat", "lon")
    for index, name in enumerate(names):
        measured = np.isfinite(holed[name].values)
        np.testing.assert_array_equal(made[name].values[measured], holed[name].values[measured])
        assert np.isnan(made[name].values[:3, :4]).all() and np.isnan(made[name]).sum() == 12
        told = (made["filled"].values >> index) % 2 == 1
        np.testing.assert_array_equal(told, ~measured & np.isfinite(made[name].values))
    error = (made["BAND12"] - tile["BAND12"]).values[10:20, 10:25] / STD[12]
    assert np.sqrt(np.mean(error**2)) < 2 * tiny_flow.NOISE


def test_around_a_hole_the_band_itself_counts(translator):
    """A band that is 10 K too warm is so in the hole, too."""
    tile = draw_tile("G16", 2, (48, 48))
    tile["BAND12"] = tile["BAND12"] + 10
    holed = tile.copy(deep=True)
    holed["BAND12"].values[20:26, 20:26] = np.nan
    bias = float((translator.repair(holed)["BAND12"] - tile["BAND12"]).values[20:26, 20:26].mean())
    assert abs(bias) < 3
    assert float((translator.repair(tile.drop_vars("BAND12"))["BAND12"] - tile["BAND12"]).mean()) < -7


def test_what_is_made_of_filled_values_is_flagged_and_no_measurement(translator):
    """A band that passes on keeps the deviation of its repair; what is inferred from it is flagged there."""
    tile = draw_tile("G17", 2, (48, 48))
    holed = tile.drop_vars("BAND08")
    holed["BAND10"][:6] = np.nan
    holed["BAND02"][10:14] = np.nan
    repaired = translator.repair(holed)
    plain, made = translator.translate(tile, "G16"), translator.translate(repaired, "G16")
    bits = dict(
        zip(made["extrapolated_bands"].flag_meanings.split(), made["extrapolated_bands"].flag_masks, strict=True)
    )
    flagged = {name: (made["extrapolated_bands"].values & mask) != 0 for name, mask in bits.items()}
    source, target = ({f"BAND{band:02d}" for band in SATELLITES[one]} for one in ("G17", "G16"))
    filled = unpack_bits(repaired["filled"])
    for name in sorted(target & source):
        np.testing.assert_array_equal(flagged[name], filled[name])
        std = xr.where(filled[name], repaired[f"{name}_std"], plain[f"{name}_std"])
        np.testing.assert_array_equal(made[f"{name}_std"], std)
        title = made[name].attrs["long_name"]
        assert title.endswith("synthesised") if filled[name].all() else ("filled" in title) == filled[name].any()
    assert all(flagged[name].all() for name in target - source)  # all rest on the band that was filled throughout
    assert made["extrapolated"].all() and not plain["extrapolated"].all()


def test_files_are_mended(tmp_path, capsys):
    run, tile = tiny_flow.finished_run(), draw_tile("G16", 3, (300, 300))
    source = tmp_path / relative_path("G16", tiny_flow.TILE, tile["time"].values.astype("M8[s]").item())
    source.parent.mkdir(parents=True)
    write_tile(tile.drop_vars("BAND11"), source)
    words = ["translate", "--checkpoint", str(run), "--repair", str(source), "--output", str(tmp_path / "out")]
    assert main(words) == 0
    with xr.open_dataset(tmp_path / "out" / f"{source.stem}_repaired.nc") as made:
        assert made.attrs["satellite"] == made.attrs["source_satellite"] == "G16"
        assert "synthesised" not in made.attrs["title"] + made["BAND08"].attrs["long_name"]
        np.testing.assert_allclose(made["BAND08"], tile["BAND08"], atol=0.011)
        error = (made["BAND11"] - tile["BAND11"]).values / STD[11]
        assert np.sqrt(np.mean(error**2)) < 1.5 * tiny_flow.NOISE and (made["filled"] == 2**5).all()
    capsys.readouterr()
    assert main(words) == 0 and "0 written, 1 already there" in capsys.readouterr().out
    assert not main(["info", str(tmp_path / "out" / f"{source.stem}_repaired.nc")])
    assert "um): filled throughout" in capsys.readouterr().out.partition("  11 (")[2].splitlines()[0]


def test_what_cannot_be_mended_is_one_line(tmp_path, translator, capsys):
    gan = save_random_run(tmp_path / "gan", {"G16": SATELLITES["G16"], "G17": SATELLITES["G17"]})
    words = ["translate", "--repair", str(tmp_path), "--output", str(tmp_path / "out")]
    for more in (["--checkpoint", str(gan)], ["--checkpoint", str(tiny_flow.finished_run()), "--zarr"]):
        assert main([*words, *more]) == 2 and not (tmp_path / "out").exists()
        assert len(capsys.readouterr().err.splitlines()) == 1
    tile = draw_tile("G16")
    with pytest.raises(InputError, match="holds no band of G16"):
        translator.repair(tile.drop_vars([f"BAND{band:02d}" for band in SATELLITES["G16"]]))
