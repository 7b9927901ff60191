"""Simulated observations: what distinguishes bands, surfaces, clouds, satellites; the archive and the command."""

from datetime import datetime

import numpy as np
import pytest
from pyhdf.SD import SD

from satxlate_jax.__main__ import main
from satxlate_jax.archive import catalog
from satxlate_jax.cli import InputError
from satxlate_jax.instruments import SATELLITES, get_satellite
from satxlate_jax.l1g.reader import read_tile, write_tile
from satxlate_jax.simulator.scene import build_scene, build_view
from satxlate_jax.simulator.simulate import simulate_archive, simulate_scene

SEED = 7
# Tiles and dates (2019) that show clear sea and land, stratocumulus, cirrus and deep convection.
SHOWN = (("h13v06", 6, 3), ("h14v08", 8, 3), ("h12v10", 6, 3), ("h14v08", 8, 10))
DAY, NIGHT = datetime(2019, 6, 3, 19), datetime(2019, 6, 3, 7)
SPRING, AUGUST = datetime(2019, 5, 10, 20), datetime(2019, 8, 10)


@pytest.fixture(scope="module")
def simulate(tmp_path_factory):
    """The file of what a satellite sees of a scene, each simulated once."""
    root = tmp_path_factory.mktemp("l1g")

    def path(satellite, tile, time, seed=SEED):
        path = root / str(seed) / catalog.relative_path(satellite, tile, time)
        if not path.exists():
            assert simulate_scene(root / str(seed), [satellite], tile, time, seed) == [path]
        return path

    return path


@pytest.fixture(scope="module")
def observe(simulate):
    """The tile that a satellite sees, on the 2 km grid."""
    return lambda *scene: read_tile(simulate(*scene))


class _Pixels:
    """Pixels of several scenes of one satellite, with what truly is there; arrays [scene, row, column, ...]."""

    def __init__(self, observe, satellite, scenes):
        bands, truth = [], []
        for name, time in scenes:
            tile = observe(satellite, name, time)
            bands.append(np.stack([tile[f"BAND{number:02d}"].values for number in range(1, 17)], axis=-1))
            scene = build_scene(name, time, SEED)
            clouds = build_view(scene, get_satellite(satellite)).clouds
            depths = np.stack([layer.depth for layer in clouds], axis=-1)
            ice = np.stack([layer.ice for layer in clouds], axis=-1)
            parts = scene.surface.fractions
            truth.append((depths, parts["ocean"], parts["snow"], ice))
        self.values = np.stack(bands)
        self.depths, self.ocean, self.snow, self.ice = (np.stack(field) for field in zip(*truth, strict=True))
        self.clear = self.depths.sum(axis=-1) < 0.01

    def band(self, number, mask):
        assert mask.sum() > 200, "too few such pixels to say anything"
        return self.values[..., number - 1][mask]


@pytest.fixture(scope="module")
def day(observe):
    return _Pixels(observe, "G16", [(tile, datetime(2019, month, day, 19)) for tile, month, day in SHOWN])


@pytest.fixture(scope="module")
def night(observe):
    return _Pixels(observe, "G16", [(tile, datetime(2019, month, day, 7)) for tile, month, day in SHOWN[1:3]])


@pytest.fixture(scope="module")
def himawari(observe):
    return _Pixels(observe, "H8", [(tile, AUGUST) for tile in ("h58v04", "h01v10", "h00v14")])


def test_files_hold_each_band_at_its_own_resolution(simulate):
    for satellite, name, time, red in (("G17", "h11v03", SPRING, 2), ("H8", "h01v10", AUGUST, 3)):
        path = simulate(satellite, name, time)
        sizes = {name: shape for name, (_, shape, *_) in SD(str(path)).datasets().items()}
        tile = read_tile(path)
        for band in SATELLITES[satellite].bands:
            pixels = 1200 if band.number == red else round(600 / band.native_resolution_km)
            assert sizes[band.name] == (pixels, pixels)
            values = tile[band.name].values
            assert np.isfinite(values).all()
            assert values.min() >= band.valid_range[0] and values.max() <= band.valid_range[1]
        assert sizes["Solar_Zenith"] == (300, 300) and "solar_azimuth" in tile


def test_another_seed_is_another_planet(observe):
    first, other = (observe("G16", "h12v10", DAY, seed) for seed in (SEED, SEED + 1))
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


def test_ice_is_darker_than_water_at_short_waves_and_snow_darker_still(day, observe):
    thick = day.depths > 15
    water = thick[..., 0] & (day.depths[..., 1:].sum(axis=-1) < 0.05)
    ice = thick[..., 2] & (day.ice[..., 2] > 0.8)
    for band in (5, 6):
        assert np.median(day.band(band, ice)) < 0.8 * np.median(day.band(band, water))
    assert abs(np.median(day.band(2, ice)) - np.median(day.band(2, water))) < 0.35
    winter = _Pixels(observe, "G16", [(tile, datetime(2019, 1, 20, 19)) for tile in ("h12v02", "h13v02")])
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


def test_night_is_dark_and_angles_say_so(night, observe):
    tile = observe("G16", "h12v10", NIGHT)
    assert (tile.solar_zenith > 95).all()
    for number in range(1, 7):
        assert not tile[f"BAND{number:02d}"].any()
    assert np.isfinite(night.values).all()


def test_twilight_has_no_edge(observe):
    tile = observe("G16", "h12v10", datetime(2019, 8, 11, 0, 50))
    assert tile.solar_zenith.min() < 91 < tile.solar_zenith.max() + 3
    rows = np.abs(np.diff(tile.BAND01.values.mean(axis=0)))  # along the way of the terminator
    assert rows.max() < 0.05 + 10 * np.median(rows)


def test_satellites_see_the_same_scene_from_two_sides(observe):
    east, west = (observe(name, "h11v03", SPRING) for name in ("G16", "G17"))
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


def test_neighbouring_tiles_join_without_a_seam(observe):
    left, right = (observe("G16", name, DAY) for name in ("h12v10", "h13v10"))
    for number in (2, 7, 8, 14):
        a, b = left[f"BAND{number:02d}"].values, right[f"BAND{number:02d}"].values
        across = np.abs(a[:, -1] - b[:, 0]).mean()
        within = np.abs(a[:, -1] - a[:, -2]).mean() + np.abs(b[:, 0] - b[:, 1]).mean()
        assert across < 2 * within + 0.02


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"satellites": ["G99"]}, "unknown satellite 'G99'"),
        ({"tiles": 0}, "tiles cannot be simulated"),
        ({"times": 0}, "times cannot be simulated"),
        ({"seed": -1}, "negative"),
        ({"workers": 0}, "at least 1"),
        ({"viewpoint": "G16"}, "--viewpoint G16 needs another satellite"),
        ({"viewpoint": "G99"}, "unknown satellite 'G99'"),
        ({"days": [366]}, "none of the times is on these --days; they are on 2019-0"),
    ],
)
def test_nonsense_is_one_clear_line(arguments, message):
    with pytest.raises(InputError, match=message):
        simulate_archive("unused", **{"satellites": ["G16"], **arguments})


def test_archive_holds_coincident_files_of_what_simulate_scene_writes(tmp_path):
    paths = simulate_archive(tmp_path / "all", ["G16", "G17", "H8"], tiles=2, times=1, seed=5, workers=2)
    files = catalog.find_tiles(tmp_path / "all")
    assert [file.path for file in files] == sorted(paths) and len(files) == 4
    by_satellite = {name: [file for file in files if file.satellite == name] for name in ("G16", "G17", "H8")}
    assert len(by_satellite["G17"]) == 2
    assert len(catalog.coincident(by_satellite["G16"], by_satellite["G17"])) == 1
    assert len(catalog.coincident(by_satellite["G17"], by_satellite["H8"])) == 1
    file = by_satellite["H8"][0]
    (again,) = simulate_scene(tmp_path / "one", ["H8"], file.tile, file.time, 5)
    assert read_tile(again).identical(read_tile(file.path))
    assert not list(tmp_path.rglob("*.tmp"))


def test_from_one_place_another_instrument_sees_the_same_scene_without_parallax(tmp_path, capsys):
    words = ["--tiles", "2", "--times", "2", "--seed", "5", "--days", "32-53"]  # one of the two times
    assert main(["simulate", "--output", str(tmp_path / "own"), "--satellites", "G17,H8", *words]) == 0
    moved = ["--satellites", "H8", "--viewpoint", "G17", "--output", str(tmp_path / "moved")]
    assert main(["simulate", *moved, *words]) == 0
    assert "wrote 2 L1G files of H8 in the place of G17" in capsys.readouterr().out
    own, moved = (catalog.find_tiles(tmp_path / name) for name in ("own", "moved"))
    own = {name: [file for file in own if file.satellite == name] for name in ("G17", "H8")}
    assert [(file.satellite, file.tile, file.time) for file in moved] == [
        ("H8", file.tile, file.time) for file in own["G17"]
    ]
    assert len(moved) == 2 and len(own["H8"]) == 2
    source, displaced, seen = (read_tile(files[0].path) for files in (own["G17"], own["H8"], moved))
    assert seen.attrs["viewpoint"] == "G17" and not {"viewpoint"} & (source.attrs.keys() | displaced.attrs.keys())
    same, parallax = (np.abs(tile.BAND13 - source.BAND13).mean() for tile in (seen, displaced))
    assert same < 0.5 and parallax > 4 * same  # K; the noise of two instruments
    write_tile(seen, tmp_path / own["H8"][0].path.name)
    assert read_tile(tmp_path / own["H8"][0].path.name).attrs["viewpoint"] == "G17"


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
