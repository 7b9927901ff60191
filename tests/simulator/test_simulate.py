"""Simulated observations: what distinguishes bands, surfaces, clouds, satellites; the archive and the command."""

from datetime import datetime

import numpy as np
import pytest

from satxlate_jax.__main__ import main
from satxlate_jax.archive import catalog
from satxlate_jax.cli import InputError
from satxlate_jax.instruments import SATELLITES, get_satellite
from satxlate_jax.l1g.reader import read_tile
from satxlate_jax.simulator.clouds import optical_depth
from satxlate_jax.simulator.scene import build_scene
from satxlate_jax.simulator.simulate import simulate_archive, simulate_tile
from satxlate_jax.simulator.view import look

SEED = 7
DAY, NIGHT = datetime(2019, 8, 10, 20), datetime(2019, 8, 10, 8)
# Tiles and dates (2019) that show clear sea and land, stratocumulus, cirrus and deep convection.
SHOWN = (("h13v06", 6, 3), ("h14v08", 8, 3), ("h12v10", 6, 3), ("h14v08", 8, 10))


def _coarse(tile, number):
    """A band on the 2 km grid by area mean, float32 [300, 300]."""
    values = tile[f"BAND{number:02d}"].values
    factor = values.shape[0] // 300
    return values.reshape(300, factor, 300, factor).mean(axis=(1, 3))


class _Pixels:
    """Pixels of several scenes of one satellite, with what truly is there; arrays [scene, row, column, ...]."""

    def __init__(self, satellite, scenes):
        bands, truth = [], []
        for name, time in scenes:
            tile = simulate_tile(satellite, name, time, SEED)
            bands.append(np.stack([_coarse(tile, number) for number in range(1, 17)], axis=-1))
            scene = build_scene(name, time, SEED)
            clouds = look(scene, get_satellite(satellite)).clouds
            depths = np.stack([optical_depth(layer.kind, layer.amount) for layer in clouds], axis=-1)
            ice = np.stack([layer.ice for layer in clouds], axis=-1)
            parts = scene.surface.fractions()
            truth.append((depths, parts["ocean"], parts["snow"], ice))
        self.values = np.stack(bands)
        self.depths, self.ocean, self.snow, self.ice = (np.stack(field) for field in zip(*truth, strict=True))
        self.clear = self.depths.sum(axis=-1) < 0.01

    def band(self, number, mask):
        assert mask.sum() > 200, "too few such pixels to say anything"
        return self.values[..., number - 1][mask]


@pytest.fixture(scope="module")
def day():
    return _Pixels("G16", [(tile, datetime(2019, month, day, 19)) for tile, month, day in SHOWN])


@pytest.fixture(scope="module")
def night():
    return _Pixels("G16", [(tile, datetime(2019, month, day, 7)) for tile, month, day in SHOWN])


@pytest.fixture(scope="module")
def himawari():
    return _Pixels("H8", [(tile, datetime(2019, 8, 10)) for tile in ("h58v04", "h01v10", "h00v14")])


def test_tile_is_laid_out_as_the_file_format_wants():
    tile = simulate_tile("G17", "h12v10", DAY)
    sizes = {band.number: tile[band.name].shape for band in SATELLITES["G17"].bands}
    assert sizes[2] == (1200, 1200) and sizes[1] == sizes[3] == sizes[5] == (600, 600)
    assert {sizes[number] for number in (4, 6, *range(7, 17))} == {(300, 300)}
    assert tile.attrs["satellite"] == "G17" and tile.attrs["tile"] == "h12v10"
    assert tile.time.values == np.datetime64(DAY, "ns")
    assert tile.BAND02.dims == ("lat_500m", "lon_500m") and tile.BAND02.units == "1" and tile.BAND14.units == "K"
    assert tile.lat[0] > tile.lat[-1] and tile.lat_500m[0] > tile.lat[0]
    for band in SATELLITES["G17"].bands:
        values = tile[band.name].values
        assert values.dtype == np.float32 and np.isfinite(values).all()
        assert values.min() >= band.valid_range[0] and values.max() <= band.valid_range[1]
    assert simulate_tile("H8", "h01v10", DAY).BAND03.shape == (1200, 1200)  # AHI's red is its third band


def test_seed_decides_everything():
    first, again, other = (simulate_tile("G16", "h12v10", DAY, seed) for seed in (1, 1, 2))
    assert first.identical(again)
    assert np.abs(first.BAND14 - other.BAND14).mean() > 0.5


def test_split_window_is_small_over_clear_ocean(day):
    mask = day.clear & (day.ocean > 0.99)
    cleanest, window, dirty = (day.band(number, mask) for number in (13, 14, 15))
    assert 0.5 < np.median(window - dirty) < 4
    assert 0.5 < np.median(cleanest - dirty) < 5
    assert np.percentile(np.abs(window - dirty), 99) < 6


def test_absorbing_bands_are_colder_in_clear_sky(day):
    window = day.band(14, day.clear)
    carbon_dioxide, ozone = day.band(16, day.clear), day.band(12, day.clear)
    assert (carbon_dioxide < window - 5).all() and np.median(window - carbon_dioxide) < 35
    assert (ozone < day.band(13, day.clear) - 5).all()
    upper, middle, lower = (np.median(day.band(number, day.clear)) for number in (8, 9, 10))
    assert 225 < upper < middle - 4 < lower - 8 < np.median(window) - 10


def test_water_vapour_bands_are_smoother_than_the_window(day):
    def roughness(number):
        # Means over 10 x 10 pixels, so that noise does not count, and without the high clouds that all bands see.
        values = day.values[..., number - 1].reshape(-1, 30, 10, 30, 10).mean(axis=(2, 4))
        high = day.depths[..., 1:].sum(axis=-1).reshape(-1, 30, 10, 30, 10).max(axis=(2, 4)) > 0.05
        return np.abs(np.diff(values, axis=1))[~(high[:, 1:] | high[:, :-1])].mean()

    assert roughness(8) < 0.5 * roughness(14) and roughness(9) < 0.5 * roughness(14)
    assert roughness(10) < 0.8 * roughness(14)


def test_shortest_thermal_band_sees_the_sun_by_day_only(day, night):
    low = [(p.depths[..., 0] > 5) & (p.depths[..., 2:].sum(axis=-1) < 0.01) for p in (day, night)]
    by_day, by_night = (p.band(7, mask) - p.band(14, mask) for p, mask in zip((day, night), low, strict=True))
    assert np.median(by_day) > 8 and np.median(by_night) < 0
    clear = [np.median(p.band(7, p.clear) - p.band(14, p.clear)) for p in (day, night)]
    assert clear[0] > clear[1] - 0.1 and abs(clear[1]) < 4


def test_cirrus_band_is_dark_but_for_high_cloud(day):
    high = (day.depths[..., 3] > 1) | (day.depths[..., 2] > 10)
    low_only = day.depths[..., 1:].sum(axis=-1) < 0.01
    assert np.percentile(day.band(4, low_only), 95) < 0.03
    assert np.median(day.band(4, high)) > 0.1
    assert np.percentile(day.band(2, low_only), 95) > 0.3


def test_ice_is_darker_than_water_at_short_waves_and_snow_darker_still(day):
    thick = day.depths > 15
    water = thick[..., 0] & (day.depths[..., 1:].sum(axis=-1) < 0.05)
    ice = thick[..., 2] & (day.ice[..., 2] > 0.8)
    for band in (5, 6):
        assert np.median(day.band(band, ice)) < 0.8 * np.median(day.band(band, water))
    assert abs(np.median(day.band(2, ice)) - np.median(day.band(2, water))) < 0.35
    winter = _Pixels("G16", [(tile, datetime(2019, 1, 20, 19)) for tile in ("h12v02", "h13v02")])
    snow = winter.clear & (winter.snow > 0.95)
    assert np.median(winter.band(2, snow)) > 0.6 and np.median(winter.band(5, snow)) < 0.2


def test_green_lies_between_blue_and_red(himawari):
    blue, green, red = (himawari.values[..., band - 1] for band in (1, 2, 3))
    assert ((green > np.minimum(blue, red) - 0.03) & (green < np.maximum(blue, red) + 0.03)).mean() > 0.97
    sea = himawari.clear & (himawari.ocean > 0.99)
    blue, green, red = (np.median(himawari.band(band, sea)) for band in (1, 2, 3))
    assert red < green < blue
    infrared = np.median(himawari.band(4, sea))
    assert infrared < red  # water is black beyond the visible


def test_night_is_dark_and_angles_say_so(night):
    tile = simulate_tile("G16", "h12v10", NIGHT)
    assert (tile.solar_zenith > 95).all()
    for number in range(1, 7):
        assert not _coarse(tile, number).any()
    assert np.isfinite(night.values).all()


def test_twilight_has_no_edge():
    tile = simulate_tile("G16", "h12v10", datetime(2019, 8, 11, 0, 50))
    assert tile.solar_zenith.min() < 91 < tile.solar_zenith.max() + 3
    rows = np.abs(np.diff(_coarse(tile, 1).mean(axis=0)))  # along the way of the terminator
    assert rows.max() < 0.05 + 10 * np.median(rows)


def test_satellites_see_the_same_scene_from_two_sides():
    east, west = (simulate_tile(name, "h11v03", datetime(2019, 5, 10, 20), SEED) for name in ("G16", "G17"))
    first, second = east.BAND14.values, west.BAND14.values
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.8
    assert np.abs(first - second).max() > 10
    # A cloud is displaced away from the satellite: westward for the eastern one. Find the shift that fits best.
    high = first < 250
    assert high.sum() > 500
    columns = np.arange(40, 260)
    errors = [
        np.abs(first[:, columns] - second[:, columns + shift])[high[:, columns]].mean() for shift in range(-30, 31)
    ]
    assert 3 <= np.argmin(errors) - 30 <= 30
    # Noise is each instrument's own: differences do not cancel in a band where the views agree.
    assert np.abs(east.BAND15.values - west.BAND15.values).min() < 0.01
    assert (east.solar_zenith == west.solar_zenith).all()


def test_neighbouring_tiles_join_without_a_seam():
    left, right = (simulate_tile("G16", name, DAY, SEED) for name in ("h12v10", "h13v10"))
    for number in (2, 7, 8, 14):
        a, b = left[f"BAND{number:02d}"].values, right[f"BAND{number:02d}"].values
        across = np.abs(a[:, -1] - b[:, 0]).mean()
        within = np.abs(a[:, -1] - a[:, -2]).mean() + np.abs(b[:, 0] - b[:, 1]).mean()
        assert across < 2 * within + 0.02


def test_nonsense_is_one_clear_line():
    with pytest.raises(InputError, match="unknown satellite 'G99'"):
        simulate_tile("G99", "h12v10", DAY)
    with pytest.raises(InputError, match="not a tile's name"):
        simulate_tile("G16", "nowhere", DAY)
    with pytest.raises(InputError, match="G16 does not see tile h45v05"):
        simulate_tile("G16", "h45v05", DAY)
    for arguments, message in (
        ({"tiles": ["h45v05"]}, "none of G16 sees tile h45v05"),
        ({"satellites": []}, "no satellite"),
        ({"tiles": 0}, "tiles cannot be simulated"),
        ({"times": 0}, "times cannot be simulated"),
        ({"seed": -1}, "negative"),
        ({"workers": 0}, "at least 1"),
    ):
        with pytest.raises(InputError, match=message):
            simulate_archive("unused", **{"satellites": ["G16"], **arguments})


def test_archive_holds_coincident_files_of_what_simulate_tile_gives(tmp_path):
    paths = simulate_archive(tmp_path, ["G16", "G17", "H8"], tiles=2, times=1, seed=5, workers=2)
    files = catalog.find_tiles(tmp_path)
    assert [file.path for file in files] == sorted(paths) and len(files) == 4
    by_satellite = {name: [file for file in files if file.satellite == name] for name in ("G16", "G17", "H8")}
    assert len(by_satellite["G17"]) == 2
    assert len(catalog.coincident(by_satellite["G16"], by_satellite["G17"])) == 1
    assert len(catalog.coincident(by_satellite["G17"], by_satellite["H8"])) == 1
    file = by_satellite["H8"][0]
    written, made = read_tile(file.path), simulate_tile("H8", file.tile, file.time, seed=5)
    for band in SATELLITES["H8"].bands:
        step = 1e-4 if band.unit == "1" else 1e-2
        np.testing.assert_allclose(written[band.name], _coarse(made, band.number), atol=0.51 * step + 1e-4)
    np.testing.assert_allclose(written.solar_zenith, made.solar_zenith, atol=0.006)
    assert not list(tmp_path.rglob("*.tmp"))


def test_command_writes_where_told_and_explains_itself(tmp_path, capsys):
    arguments = ["--satellites", "G16", "--tiles", "1", "--times", "1", "--output", str(tmp_path / "l1g")]
    assert main(["simulate", *arguments]) == 0
    assert "1 L1G files of G16" in capsys.readouterr().out
    (file,) = catalog.find_tiles(tmp_path)
    assert file.path.relative_to(tmp_path / "l1g") == catalog.relative_path("G16", file.tile, file.time)
    assert main(["simulate", "--output", str(tmp_path), "--satellites", "G16,XX"]) == 2
    message = capsys.readouterr().err
    assert "unknown satellite 'XX'" in message and message.count("\n") == 1
    with pytest.raises(SystemExit) as stop:
        main(["simulate", "--help"])
    assert stop.value.code == 0 and "not a radiative-transfer model" in capsys.readouterr().out
