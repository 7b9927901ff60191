"""Scenes through a spectral flow, on granules that every clone has: deviations, flags, identities, missing bands."""

import jax
import numpy as np
import pytest
import xarray as xr

from configs.base_flow import use_flow
from satxlate_jax import load, read_scene
from satxlate_jax.__main__ import main
from satxlate_jax.checkpoints import Checkpoints
from satxlate_jax.cli import InputError
from satxlate_jax.instruments import get_satellite, published_statistics
from satxlate_jax.models.families import make_translator
from tests.random_run import save_random_run
from tests.sources.test_scenes import pytestmark  # noqa: F401 - what satpy and its libraries warn of
from tests.tiny_run import PROJECT

pytest.importorskip("satpy")
GRANULES = str(PROJECT / "notebooks" / "granules")
PRETRAINED = "pretrained:goes_thermal"


@pytest.fixture(scope="module")
def scene():
    return read_scene(GRANULES)


@pytest.fixture(scope="module")
def translated(scene):
    return load(PRETRAINED).translate(scene, to="G16").compute()


def test_every_band_has_a_deviation_and_satpys_identity(scene, translated):
    bands = {7: "C07", 8: "C08", 9: "C09", 10: "C10", 12: "C12", 16: "C16"}
    extras = {f"BAND{number:02d}_std" for number in bands} | {"extrapolated", "quality", "solar_zenith"}
    extras.add("extrapolated_bands")
    assert {key["name"] for key in translated.keys()} == {*bands.values(), *extras}
    seen = np.isfinite(scene["C08"].values)
    assert seen.mean() > 0.99
    for number, name in bands.items():
        band, std = translated[name], translated[f"BAND{number:02d}_std"]
        (key,) = (key for key in translated.keys() if key["name"] == name)
        um = get_satellite("G16").band(number).wavelength
        assert key["wavelength"].central == pytest.approx(um, abs=0.1) and key["resolution"] == 2004
        assert key["calibration"].name == "brightness_temperature" and translated[um].attrs["name"] == name
        assert band.attrs["platform_name"] == "GOES-16" and band.attrs["area"] == scene["C08"].attrs["area"]
        np.testing.assert_array_equal(np.isfinite(band), seen)
        np.testing.assert_array_equal(np.isfinite(std), seen)
        if name in scene:
            np.testing.assert_array_equal(band, scene[name])
            assert np.nanmax(std) <= 0.11  # of the instrument
        else:
            assert std.attrs["units"] == "K" and 1 < np.nanmin(std) and np.nanmax(std) < 12
    flags, bits = translated["extrapolated"], translated["extrapolated_bands"]
    assert set(np.unique(flags)) <= {0, 1} and bits.attrs["flag_meanings"].split()[0] == "BAND07"
    np.testing.assert_array_equal(flags == 1, bits > 0)


def test_granules_of_the_satellite_to_make_are_refused(tmp_path, capsys):
    words = ["--checkpoint", PRETRAINED, "--to", "G17", GRANULES, "--output", str(tmp_path / "out")]
    assert main(["translate", *words]) == 2
    *_, reason = capsys.readouterr().err.splitlines()
    assert "the first: G17 M1 2019-10-27 20:00:27: is of G17, the satellite to make" in reason
    assert not list(tmp_path.rglob("*.nc"))


def test_a_missing_granule_is_told_of_and_what_it_leaves_is_flagged(tmp_path, capsys):
    """Its band is no longer passed on; nothing that is inferred from fewer bands than in training was calibrated."""
    assert main(["translate", "--checkpoint", PRETRAINED, "--to", "G16", "--output", str(tmp_path), GRANULES]) == 0
    told = capsys.readouterr().out
    assert "lacks band 16, which the run was trained with" in told and "BAND16 100.0%" in told
    (path,) = tmp_path.glob("*.nc")
    with xr.open_dataset(path) as made:
        titles = {name: made[name].attrs["long_name"] for name in made if str(name).endswith("_std")}
    assert all(("nominal noise" in title) == (name[4:6] in ("08", "09", "10")) for name, title in titles.items())
    assert all("not calibrated" in titles[f"BAND{number}_std"] for number in ("07", "12", "16"))
    assert main(["info", str(path)]) == 0
    told = capsys.readouterr().out
    for number in (7, 8, 9, 10, 12, 16):
        line = next(line for line in told.splitlines() if line.startswith(f"  {number} ("))
        passed = number in (8, 9, 10)
        assert ("passed on" in line) == passed and ("extrapolated" not in line) == passed


def test_a_tile_beside_the_scan_is_said_to_be_and_a_misspelt_one_is_found_at_once(tmp_path, capsys):
    words = ["translate", "--checkpoint", PRETRAINED, "--to", "G16", "--output", str(tmp_path / "out"), GRANULES]
    assert main([*words, "--tiles", "h30v03"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith("shows nothing of h30v03")
    assert main([*words, "--tiles", "h09v03,h9v3"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "'h9v3' is not a tile's name" in error


def test_what_is_on_the_sensor_s_grid_is_not_drawn_in_one_line(tmp_path, capsys):
    assert main(["translate", "--checkpoint", PRETRAINED, "--to", "G16", "--output", str(tmp_path), GRANULES]) == 0
    (path,), _ = tmp_path.glob("*.nc"), capsys.readouterr()
    assert main(["quicklook", str(path), "--output", str(tmp_path / "pictures")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "translate with --tiles" in error and not (tmp_path / "pictures").exists()


def test_what_is_missing_is_inferred_as_repair_infers_it(scene, translated):
    """Both from all that is there; a Scene's own satellite is completed likewise."""
    variables = {f"BAND{number:02d}": (("y", "x"), scene[f"C{number:02d}"].values) for number in (8, 9, 10)}
    repaired = load(PRETRAINED).repair(xr.Dataset(variables, attrs={"satellite": "G16"}))
    for number in (7, 12, 16):
        for key, name in ((f"C{number:02d}", f"BAND{number:02d}"), (f"BAND{number:02d}_std",) * 2):
            np.testing.assert_allclose(translated[key], repaired[name], atol=0.02)
    completed = load(PRETRAINED).translate(scene, to="G17")["C16"].values
    assert np.nanmax(np.abs(completed - translated["C16"].values)) < 10 and np.isfinite(completed).mean() > 0.99


def test_blocks_do_not_show(scene, translated):
    """Of 288 and 212 pixels; of 224 and 276, where the rest is too narrow to be a block."""
    for block in (480, 436):
        in_blocks = load(PRETRAINED, block=block).translate(scene, to="G16")
        assert len(in_blocks["C12"].chunks[0]) > 1
        np.testing.assert_allclose(in_blocks["C12"], translated["C12"], atol=0.1)


def test_composites_find_the_bands(scene, tmp_path, default_config):
    """Air mass needs four, of which two are inferred; by a flow that was made for these bands and learned nothing."""
    bands, config = {"G17": (8, 9, 10), "G16": (8, 9, 10, 12, 13)}, use_flow(default_config())
    satellites = {}
    for name, numbers in bands.items():
        mean, std = published_statistics(name, numbers)
        satellites[name] = {"bands": list(numbers), "mean": mean.tolist(), "std": std.tolist()}
    flow = make_translator(config, satellites)
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints")
    metadata = {"format": 2, "config": config.to_dict(), "satellites": satellites, "seed": 0, "step": 1}
    checkpoints.save(1, {"generator": jax.jit(flow.init)(jax.random.key(0))}, metadata)
    checkpoints.close()
    made = load(tmp_path / "run").translate(scene, to="G16")
    made.load(["airmass"])
    assert not made.missing_datasets
    airmass = made["airmass"].values
    difference = made["C08"].values - made["C10"].values  # its red
    np.testing.assert_allclose(airmass[0], difference, atol=1e-3)
    assert airmass.shape == (3, 500, 500) and np.isfinite(airmass[1]).mean() > 0.99


def test_what_cannot_do_without_a_band_says_so(scene, tmp_path):
    gan = load(save_random_run(tmp_path / "gan", {"G16": (8, 16), "G17": (8, 16)}))
    with pytest.raises(InputError, match="the Scene lacks BAND16 of G17, which the network needs; load it"):
        gan.translate(scene, to="G16")
    flow = load(PRETRAINED)
    flow.params = {name: part for name, part in flow.params.items() if name != "usual"}
    with pytest.raises(InputError, match="the Scene lacks BAND16 of G17"):
        flow.translate(scene, to="G16")
    elsewhere = load(save_random_run(tmp_path / "other", {"G16": (13, 14), "G17": (13, 14)}))
    with pytest.raises(InputError, match="the Scene lacks BAND13, BAND14"):
        elsewhere.translate(scene, to="G16")
