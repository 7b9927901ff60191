"""`satxlate info`, `satxlate runs` and the run that is shipped: it loads, translates and scores as its card says."""

import json
import re
import shlex
import subprocess

import numpy as np
import pytest
import xarray as xr

from satxlate_jax import load, read_tile, write_tile
from satxlate_jax.__main__ import main
from satxlate_jax.archive.catalog import relative_path
from satxlate_jax.cli import InputError
from satxlate_jax.geometry import tile_grid
from satxlate_jax.instruments import published_statistics
from satxlate_jax.options import parse
from satxlate_jax.training.config import load_config
from satxlate_jax.translation.load import SHIPPED
from tests import tiny_flow
from tests.random_run import save_random_run
from tests.tiny_flow import TILE, draw_tile
from tests.tiny_run import PROJECT

NAME = "pretrained:goes_thermal"
CARD = SHIPPED / "goes_thermal.md"


def told(capsys, *words):
    """What `satxlate info` prints."""
    assert main(["info", *map(str, words)]) == 0
    return capsys.readouterr().out


def test_a_run_says_what_it_is(capsys):
    run = tiny_flow.finished_run()
    capsys.readouterr()
    text = told(capsys, run)
    assert text.startswith("flow_run: spectral flow, step 6 of 6, ") and len(text.splitlines()) <= 50
    assert "\n  G17, ABI: bands 2 (0.64 um), 8 (6.19 um), 10 (7.34 um)\n" in text
    assert "\n  G17 to G16: passed on 2, 8, 10; inferred 3, 7, 11, 12\n" in text
    assert "train 40 records, validation 16 records" in text and "seed 0" in text and "jax " in text
    (scores,) = re.findall(r"G16, from its bands that G17 has too, by band: (.*)\n", text)
    assert re.fullmatch(r"3: [\d.e-]+, 7: [\d.]+ K, 11: [\d.]+ K, 12: [\d.]+ K", scores)
    assert "errors on what was left out" in text


def test_a_run_without_calibration_and_a_vae_gan_say_so(tmp_path, capsys):
    save_random_run(tmp_path / "gan", {"G16": (7, 8), "G17": (8,)})
    text = told(capsys, tmp_path / "gan")
    assert "vae gan, step 7 of 7" in text and "is no error bar" in text and "none are stored" in text


def test_a_translation_says_what_it_is(tmp_path, capsys):
    run, tile = tiny_flow.finished_run(), draw_tile("G17", shape=(300, 300))
    tile["BAND10"][:30] += 60  # a tenth is unlike the training
    tile["BAND10"][270:] = np.nan  # another tenth is missing: a ninth of what is there
    source = tmp_path / relative_path("G17", TILE, tile["time"].values.astype("M8[s]").item())
    write_tile(tile, source)
    words = ["--checkpoint", str(run), "--to", "G16", str(source), "--surprise", "--output", str(tmp_path)]
    assert main(["translate", *words]) == 0
    (path,) = tmp_path.glob("*.nc")
    capsys.readouterr()
    text = told(capsys, path)
    assert f"from {source.name}, by run 'flow_run', step 6" in text and f"{path.name}: G16 ABI bands" in text
    assert re.search(r"\n  8 \(6.19 um\): passed on, mean 2\d\d.* K, standard deviation [\d.]+ K\n", text)
    assert re.search(r"\n  11 \(8.5 um\): inferred, mean ", text)
    (share,) = re.findall(r", extrapolated ([\d.]+)%$", text, re.MULTILINE)[-1:]
    assert float(re.findall(r" 12 \(9.61 um\): .*, extrapolated ([\d.]+)%", text)[0]) == pytest.approx(100 / 9, abs=1)
    assert not re.search(r"passed on, .*extrapolated", text)
    with xr.open_dataset(path) as made:
        titles = {number: made[f"BAND{number:02d}_std"].attrs["long_name"] for number in (8, 12)}
        assert "noise" in titles[8] and "calibrated" in titles[12]
        assert made["BAND12"].attrs["ancillary_variables"] == "BAND12_std quality extrapolated_bands"
        assert float(share) == pytest.approx(100 * float(made["extrapolated"].mean()), abs=0.06) and float(share) > 9
        assert f"surprise of the measurements: {float(made['surprise'].mean()):.1f} bits" in text


def test_granules_are_told_what_takes_them(capsys):
    (granule, *_) = sorted((PROJECT / "notebooks" / "granules").glob("*.nc"))
    assert main(["info", str(granule)]) == 2
    assert "is a Level-1b granule; `satxlate translate` takes it" in capsys.readouterr().err
    assert main(["info", str(granule.parent)]) == 2
    assert "name one" not in capsys.readouterr().err


def test_several_are_told_one_after_the_other(capsys):
    run, both = tiny_flow.finished_run(), told(capsys, tiny_flow.finished_run(), NAME)
    assert both == f"{told(capsys, run)}\n{told(capsys, NAME)}"


def test_a_tile_says_which_bands_it_holds(tmp_path, capsys):
    tile = draw_tile("G17", shape=(300, 300))
    tile["BAND10"][:75] = np.nan
    path = tmp_path / relative_path("G17", TILE, tile["time"].values.astype("M8[s]").item())
    write_tile(tile, path)
    first, *lines = told(capsys, path).splitlines()
    assert first == f"{path.name}: G17 (ABI), tile {TILE}, 2019-01-03 18:30 UTC" and len(lines) == 16
    held = [int(line.split()[0]) for line in lines if "not there" not in line]
    assert held == [2, 8, 10] and lines[9].endswith(", 25.0% missing")
    mean = float(tile["BAND08"].mean())
    assert float(re.search(r"mean ([\d.]+) K, 0.0% missing", lines[7])[1]) == pytest.approx(mean, abs=0.06)
    path.write_bytes(path.read_bytes()[:1000])
    assert main(["info", str(path)]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1 and path.name in error


def test_of_a_folder_of_files_one_is_named(tmp_path, capsys):
    file = tmp_path / "out" / "of_a_day" / "some.nc"
    file.parent.mkdir(parents=True)
    file.touch()
    assert main(["info", str(tmp_path / "out")]) == 2
    assert f"is not a run: it has no folder 'checkpoints'; of its files name one, such as {file}" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    "what", ["nowhere", "folder", "text.nc", "plain.nc", "damaged.nc", "pretrained:", "pretrained:none"]
)
def test_what_is_neither_is_one_line(what, tmp_path, capsys):
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.nc").write_text("no netCDF")
    xr.Dataset({"a": 1}).to_netcdf(tmp_path / "plain.nc")
    damaged = {"checkpoint_satellites": "{", "checkpoint_config": "{}"}
    xr.Dataset({"a": 1}, attrs=damaged).to_netcdf(tmp_path / "damaged.nc")
    assert main(["info", what if ":" in what else str(tmp_path / what)]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1 and what in error
    assert (NAME in error) == (":" in what)  # the names of those that there are


def test_the_shipped_run_is_listed_small_and_tells_of_no_machine(capsys):
    assert main(["runs"]) == 0
    assert re.fullmatch(rf"{NAME}  .+ \(\d+ kB\)\n", capsys.readouterr().out)
    path = SHIPPED / "goes_thermal.npz"
    assert path.stat().st_size < 200_000
    with np.load(path, allow_pickle=False) as archive:
        text = str(archive["metadata"])
        assert all(archive[name].dtype == np.float32 for name in archive if name != "metadata")
    assert "/tmp" not in text and "/home" not in text and json.loads(text)["config"]["data"]["dir"] == ""
    assert CARD.read_text().rstrip() in told(capsys, NAME)


def test_the_shipped_run_translates(tmp_path):
    """Bands at their means, in waves of a few degrees: 3.9 and 9.6 um are plausible, what is given passes."""
    mean, std = published_statistics("G17", (8, 9, 10, 16))
    rows, columns = np.mgrid[:300, :300] / 300
    wave = np.sin(6 * rows + 4 * columns)
    lat, lon = tile_grid("h09v03", 300)
    bands = zip((8, 9, 10, 16), mean, std, strict=True)
    variables = {
        f"BAND{n:02d}": (("lat", "lon"), (m + s * wave).astype(np.float32), {"units": "K"}) for n, m, s in bands
    }
    axes = {"lat": lat, "lon": lon, "time": np.datetime64("2019-12-01T10:30", "ns")}
    tile = xr.Dataset(variables, axes, {"satellite": "G17", "tile": "h09v03"})
    source = tmp_path / relative_path("G17", "h09v03", tile["time"].values.astype("M8[s]").item())
    write_tile(tile, source)
    assert main(["translate", "--checkpoint", NAME, "--to", "G16", str(source), "--output", str(tmp_path)]) == 0
    with xr.open_dataset(next(tmp_path.glob("*.nc"))) as made:
        assert made.attrs["checkpoint_run"] == "goes_thermal"
        np.testing.assert_allclose(made["BAND08"], tile["BAND08"], atol=0.011)
        assert 260 < float(made["BAND07"].mean()) < 300 and 235 < float(made["BAND12"].mean()) < 275
        assert (made["BAND12_std"] > 0.5).all()


def test_the_command_that_makes_it_again_is_understood():
    """Its command lines, each parsed by the program it names, but for that of tfds."""
    script = [str(SHIPPED / "goes_thermal.sh"), "--dry_run", "L1G", "WORK"]
    lines = subprocess.run(script, capture_output=True, text=True, check=True).stdout.splitlines()
    commands = [shlex.split(line)[4:] for line in lines if " -m satxlate_jax " in line]
    assert [words[0] for words in commands] == ["train", "evaluate", "evaluate", "runs"] and len(lines) == 6
    assert load_config([word for word in commands[0][1:] if "workdir" not in word]).data.satellites.G17 == (
        8,
        9,
        10,
        16,
    )
    for command in commands[1:3]:
        assert parse(command[0], command[1:]).tiles == ["h09v03"]
    assert commands[3][1:] == ["--pack", "WORK/goes_thermal", "--output", "satxlate_jax/pretrained/goes_thermal.npz"]
    assert subprocess.run([str(SHIPPED / "goes_thermal.sh"), "L1G"], capture_output=True).returncode == 2


def test_the_shipped_run_has_one_step():
    assert load(NAME, 200).step == 200
    with pytest.raises(InputError, match="has no step 100, only 200"):
        load(NAME, 100)


def test_a_packed_run_translates_as_the_run_does(tmp_path, monkeypatch, capsys):
    run, tile = tiny_flow.finished_run(), draw_tile("G17")
    monkeypatch.setattr("satxlate_jax.translation.load.SHIPPED", tmp_path)
    assert main(["runs", "--pack", str(run), "--output", str(tmp_path / "own.npz")]) == 0
    xr.testing.assert_equal(
        load("pretrained:own").translate(tile, "G16").drop_attrs(), load(run).translate(tile, "G16").drop_attrs()
    )
    assert main(["runs", "--pack", str(run)]) == 2 and "go together" in capsys.readouterr().err


def test_the_shipped_run_is_as_good_as_its_card_says(realdata_dir):
    """RMSE, K, of each row of the card's table, computed here from the tiles themselves."""
    rows = re.findall(r"\| \S+ (\d{4}-\d{3}).*? \| (\d+), .*? \| ([\d.]+) \|", CARD.read_text())
    assert len(rows) == 4
    translator = load(NAME)
    for date, band, rmse in rows:
        year, day = date.split("-")
        errors = []
        for path in (realdata_dir / "l1g/GOES17/GEONEX-L1G/h09v03" / year / day).glob("*.hdf"):
            tile = read_tile(path, bands=(7, 8, 9, 10, 12, 16))
            name = f"BAND{int(band):02d}"
            if np.isfinite(tile[name]).any():
                errors.append((translator.translate(tile, "G16")[name] - tile[name]).values.ravel())
        assert np.sqrt(np.nanmean(np.concatenate(errors) ** 2)) == pytest.approx(float(rmse), abs=0.011), (date, band)
