"""Satellites that no training saw: of a known instrument exactly like it, of another one by its wavelengths."""

import jax
import numpy as np
import pytest
import xarray as xr

from satxlate_jax import load, write_tile
from satxlate_jax.__main__ import main
from satxlate_jax.archive.catalog import relative_path
from satxlate_jax.cli import InputError
from satxlate_jax.instruments import get_satellite, published_statistics
from satxlate_jax.models.families import make_translator
from satxlate_jax.translation.flow_translator import FlowTranslator
from tests import tiny_flow
from tests.random_run import save_random_run
from tests.tiny_flow import SATELLITES, draw, draw_tile

# SEVIRI's bands with a wavelength that the run knows -> ABI's band that it is, and so whose law it has
SEVIRI = {1: 2, 4: 7, 5: 8, 6: 10, 7: 11, 8: 12}


@pytest.fixture(scope="module")
def translator():
    return load(tiny_flow.finished_run())


def seviri_tile(seed=0, size=40):
    fields, variables = draw(np.random.default_rng(seed), size), {}
    for number, abi in SEVIRI.items():
        band = get_satellite("G16").band(abi)
        variables[f"BAND{number:02d}"] = (("lat", "lon"), (band.mean + band.std * fields[abi]).astype(np.float32))
    place = draw_tile("G16", shape=(size, size))
    tile = xr.Dataset(variables, place.coords, {"satellite": "MSG4", "tile": tiny_flow.TILE})
    for number in SEVIRI:
        tile[f"BAND{number:02d}"].attrs["units"] = get_satellite("MSG4").band(number).unit
    band = get_satellite("G16").band(3)
    return tile, band.mean + band.std * fields[3], band.std


def test_a_known_instrument_is_as_the_one_that_was_seen(translator, tmp_path):
    """In Python and from a file, whose view of the place is the satellite's own."""
    tile = draw_tile("G16", 4, (300, 300))
    expected = translator.translate(tile, to="H8")
    unseen = translator.translate(tile.assign_attrs(satellite="G18"), to="H8")
    assert unseen.attrs["source_satellite"] == "G18" and unseen.attrs["satellite"] == "H8"
    for name in ("BAND03", "BAND08", "BAND12"):
        np.testing.assert_allclose(unseen[name], expected[name], atol=0.5)
    path = tmp_path / relative_path("G18", tiny_flow.TILE, tile["time"].values.astype("M8[s]").item())
    path.parent.mkdir(parents=True)
    write_tile(tile.assign_attrs(satellite="G18"), path)
    words = ["translate", "--checkpoint", str(tiny_flow.finished_run()), "--to", "H8", "--output", str(tmp_path / "o")]
    assert main([*words, str(tmp_path)]) == 0 and len(list((tmp_path / "o").glob("*.nc"))) == 1


def test_the_command_tells_how_much_is_extrapolated(tmp_path, capsys):
    tile, *_ = seviri_tile(size=300)
    path = tmp_path / relative_path("MSG4", tiny_flow.TILE, tile["time"].values.astype("M8[s]").item())
    path.parent.mkdir(parents=True)
    write_tile(tile, path)
    words = ["translate", "--checkpoint", str(tiny_flow.finished_run()), "--to", "G16", "--output", str(tmp_path / "o")]
    assert main([*words, "--as_instrument", str(path)]) == 0
    bands = ", ".join(f"BAND{number:02d} 100.0%" for number in (2, 3, 7, 8, 10, 11, 12))
    assert f"flagged as extrapolated: {bands} of the pixels" in capsys.readouterr().out


def test_another_instrument_counts_by_its_wavelengths(translator):
    """0.86 um, which it lacks, follows as surely as the law allows; responses differ, which is marked."""
    errors, bars = [], []
    for seed in range(4):
        tile, truth, scale = seviri_tile(seed)
        made = translator.adopt("MSG4").translate(tile, to="G16")
        np.testing.assert_array_equal(made["BAND08"], tile["BAND05"])
        assert (made["extrapolated"] == 1).all()
        errors.append((made["BAND03"].values - truth) / scale)
        bars.append(made["BAND03_std"].values / scale)
    known = np.isfinite(errors)
    assert known.mean() > 0.9 and np.sqrt(np.nanmean(np.square(errors))) < 1.5 * tiny_flow.NOISE
    assert 0.5 < np.mean(np.abs(np.array(errors)[known]) < np.array(bars)[known]) < 0.9
    sample = translator.adopt("MSG4").sample(tile, to="G16")
    assert float(np.abs(sample["BAND03"] - made["BAND03"]).max()) > 0


def test_it_must_be_asked_for(tmp_path, translator, capsys):
    tile, _, _ = seviri_tile(size=300)
    path = tmp_path / "l1g" / relative_path("MSG4", tiny_flow.TILE, tile["time"].values.astype("M8[s]").item())
    path.parent.mkdir(parents=True)
    write_tile(tile, path)
    words = ["translate", "--to", "G16", str(path), "--output", str(tmp_path / "out")]
    known = [*words, "--checkpoint", str(tiny_flow.finished_run())]
    assert main(known) == 2 and "MSG4" in capsys.readouterr().err
    assert main([*known, "--as_instrument"]) == 0 and len(list((tmp_path / "out").glob("*.nc"))) == 1
    gan = save_random_run(tmp_path / "gan", {"G16": SATELLITES["G16"], "G17": SATELLITES["G17"]})
    capsys.readouterr()
    assert main([*words, "--checkpoint", str(gan), "--as_instrument"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    with pytest.raises(InputError, match="has no use for G16"):
        translator.adopt("G16")


@pytest.mark.parametrize(("first", "second", "expected"), [("H8", "G16", ()), ("G16", "H8", ("GK2A",))])
def test_an_adapter_serves_only_a_satellite_that_needs_one(first, second, expected):
    """AMI's windows of 8.6 and 12.4 um respond as AHI's do: after AHI they need no adapter, after ABI that of AHI."""
    satellites = {}
    for name in (first, second):
        mean, std = published_statistics(name, (11, 15))
        satellites[name] = {"bands": [11, 15], "mean": mean.tolist(), "std": std.tolist()}
    metadata = {"config": tiny_flow.get_config().to_dict(), "satellites": satellites, "step": 0}
    params = make_translator(metadata["config"], satellites).init(jax.random.key(0))
    assert set(params["adapters"]) == {second}
    adopted = FlowTranslator(params, metadata, "run").adopt("GK2A")
    assert set(adopted.params["adapters"]) == {second, *expected}
