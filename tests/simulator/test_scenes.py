"""The parts of simulated scenes against formulas, independent computations and real files' angles."""

import math
from datetime import datetime, timedelta

import numpy as np
import pytest

from satxlate_jax.archive import catalog
from satxlate_jax.cli import InputError
from satxlate_jax.instruments import SATELLITES, get_satellite
from satxlate_jax.l1g import reader as l1g
from satxlate_jax.simulator import measurements, optical_properties, viewing_geometry
from satxlate_jax.simulator.atmosphere import Cloud
from satxlate_jax.simulator.fractals import Fractal, Window, enlarge
from satxlate_jax.simulator.simulate import choose_tiles, choose_times, overlapping_groups


def _instruments(*names):
    return [SATELLITES[name] for name in names]


# Geometry


def test_sun_stands_where_real_files_say(realdata_dir):
    for file in catalog.find_tiles(realdata_dir / "l1g", tiles=["h09v03"]):
        tile = l1g.read_tile(file.path, bands=[8])
        zenith, azimuth = viewing_geometry.solar_position(file.time, tile.lat.values[:, None], tile.lon.values[None, :])
        assert np.abs(zenith - tile.solar_zenith.values).max() < 0.5
        assert np.abs((azimuth - tile.solar_azimuth.values + 180) % 360 - 180).max() < 0.5


def test_sun_overhead_at_equinox_and_solstice():
    noon = datetime(2019, 3, 20, 12, 7)  # the equation of time is -7 minutes
    zenith, _ = viewing_geometry.solar_position(noon, np.array(0.0), np.array(0.0))
    assert zenith < 0.8
    for solstice, declination in ((datetime(2019, 6, 21, 12, 2), 23.44), (datetime(2019, 12, 22, 12), -23.44)):
        assert viewing_geometry.solar_position(solstice, np.array(declination), np.array(0.0))[0] < 0.8
    midnight, _ = viewing_geometry.solar_position(noon, np.array(0.0), np.array(180.0))
    assert midnight > 179


def test_satellite_stands_where_vectors_say():
    latitude, longitude, below = 33.0, -118.0, -137.2
    ground = viewing_geometry.EARTH_RADIUS_KM * np.array(
        [
            math.cos(math.radians(latitude)) * math.cos(math.radians(longitude)),
            math.cos(math.radians(latitude)) * math.sin(math.radians(longitude)),
            math.sin(math.radians(latitude)),
        ]
    )
    satellite = viewing_geometry.ORBIT_RADIUS_KM * np.array(
        [math.cos(math.radians(below)), math.sin(math.radians(below)), 0]
    )
    ray = satellite - ground
    cosine = ray @ ground / np.linalg.norm(ray) / np.linalg.norm(ground)
    zenith, azimuth = viewing_geometry.view_position(below, np.array(latitude), np.array(longitude))
    assert zenith == pytest.approx(math.degrees(math.acos(cosine)), abs=1e-3)
    east = np.array([-math.sin(math.radians(longitude)), math.cos(math.radians(longitude)), 0])
    assert math.sin(math.radians(azimuth)) * math.sin(math.radians(zenith)) == pytest.approx(
        ray @ east / np.linalg.norm(ray), abs=1e-5
    )
    assert 180 < azimuth < 270  # the satellite is south-west
    assert viewing_geometry.view_position(below, np.array(0.0), np.array(below))[0] == pytest.approx(0, abs=1e-4)


def test_air_mass_is_secant_until_low_then_finite():
    assert viewing_geometry.air_mass(np.float32(0)) == pytest.approx(1, abs=1e-3)
    assert viewing_geometry.air_mass(np.float32(60)) == pytest.approx(2, abs=0.01)
    assert viewing_geometry.air_mass(np.float32(90)) == pytest.approx(38, abs=0.5)
    assert np.isfinite(viewing_geometry.air_mass(np.float32(150)))


# Random fields

_FIELD = Fractal("test", longest=8, smoothness=0.7)


def test_field_is_the_same_in_every_window_and_around_the_globe():
    latitude, longitude = np.linspace(10, 4, 60), np.linspace(170, 190, 200)
    whole = _FIELD.on_grid(Window(3, latitude, longitude), finest=0.2)
    part = _FIELD.on_grid(Window(3, latitude[20:40], longitude[50:120]), finest=0.2)
    np.testing.assert_allclose(whole[20:40, 50:120], part, atol=1e-5)
    turned = _FIELD.on_grid(Window(3, latitude, longitude - 360), finest=0.2)
    np.testing.assert_allclose(whole, turned, atol=1e-3)
    assert np.abs(whole - _FIELD.on_grid(Window(4, latitude, longitude), finest=0.2)).max() > 0.1


def test_warped_field_on_the_true_map_is_the_field():
    window = Window(3, np.linspace(10, 8, 200), np.linspace(0, 2, 200))
    plain = _FIELD.on_grid(window, finest=0.2)
    places = np.meshgrid(window.latitude, window.longitude, indexing="ij")
    np.testing.assert_allclose(_FIELD.on_map(window, places, finest=0.2), plain, atol=0.02)


def test_field_has_unit_variance_and_small_octaves_are_weak():
    field = _FIELD.on_grid(Window(0, np.linspace(-80, 80, 400), np.linspace(-180, 180, 900)), finest=1)
    assert field.std() == pytest.approx(1, abs=0.15)
    assert abs(field.mean()) < 0.1
    window = Window(0, np.linspace(0, 6, 150), np.linspace(0, 6, 150))
    coarse, fine = _FIELD.on_grid(window, finest=0.5), _FIELD.on_grid(window, finest=0.1, coarsest=0.5)
    np.testing.assert_allclose(coarse + fine, _FIELD.on_grid(window, finest=0.1), atol=1e-5)
    assert 0 < fine.std() < 0.4


def test_field_drifts_and_renews_itself():
    moving = Fractal("moving", longest=8, smoothness=0.7, drift=1.0)
    latitude, longitude = np.linspace(10, 4, 60), np.linspace(0, 20, 200)
    start = moving.on_grid(Window(1, latitude, longitude), finest=0.2)
    later = moving.on_grid(Window(1, latitude, longitude + 5, hours=5), finest=0.2)
    np.testing.assert_allclose(start, later, atol=1e-4)
    living = Fractal("living", longest=8, smoothness=0.7, lifetime=6)
    fields = [living.on_grid(Window(1, latitude, longitude, hours), finest=0.2) for hours in (0, 0.01, 60)]
    correlation = [np.corrcoef(fields[0].ravel(), field.ravel())[0, 1] for field in fields[1:]]
    assert correlation[0] > 0.98 and abs(correlation[1]) < 0.7


def test_enlarging_keeps_means_and_straight_lines():
    random = np.random.default_rng(0).standard_normal((12, 10)).astype(np.float32)
    assert enlarge(random, 4).shape == (48, 40)
    ramp = np.outer(np.arange(12, dtype=np.float32), np.ones(10, np.float32))
    expected = (np.arange(48) + 0.5) / 4 - 0.5
    np.testing.assert_allclose(enlarge(ramp, 4)[8:-8, 5], expected[8:-8], atol=1e-5)
    assert enlarge(random, 1) is random


# Spectra


def test_planck_integrates_to_stefan_boltzmann_and_inverts():
    wavelength = np.geomspace(0.5, 1000, 4000)
    radiance = [float(optical_properties.planck(value, np.float64(290))) for value in wavelength]
    assert np.trapezoid(radiance, wavelength) * np.pi == pytest.approx(5.670374e-8 * 290**4, rel=1e-3)
    for band in (*SATELLITES["G16"].bands[6:], *SATELLITES["H8"].bands[6:]):
        temperature = np.array([190, 250, 330], np.float32)
        back = optical_properties.brightness_temperature(
            band.wavelength, optical_properties.planck(band.wavelength, temperature)
        )
        np.testing.assert_allclose(back, temperature, rtol=1e-5)
        step = np.float32(0.5)
        difference = optical_properties.planck(band.wavelength, temperature + step) - optical_properties.planck(
            band.wavelength, temperature - step
        )
        np.testing.assert_allclose(optical_properties.planck_slope(band.wavelength, temperature), difference, rtol=2e-3)


def test_surfaces_look_as_they_should():
    def reflect(name, *wavelengths):
        return [optical_properties.spectral(name, wavelength) for wavelength in wavelengths]

    red, near_infrared = reflect("vegetation", 0.64, 0.865)
    assert near_infrared > 5 * red
    visible, short_wave = reflect("snow", 0.64, 1.61)
    assert visible > 0.8 and short_wave < 0.2
    for surface in ("ocean", "soil", "sand"):
        blue, green, red = reflect(surface, 0.47, 0.51, 0.64)
        assert min(blue, red) <= green <= max(blue, red)
    assert reflect("sand", 8.5)[0] > 3 * reflect("sand", 12.3)[0]  # quartz
    with pytest.raises(KeyError):
        optical_properties.spectral("cheese", 1.0)


# Radiance


def _cloud(depth, ice, wavelength, radius=1.0):
    depth, ice, radius, none = (np.float32([value]) for value in (depth, ice, radius, 0))
    layer = Cloud("low", none, none, ice, radius)
    reflected, passed = measurements.cloud_reflection(layer, depth, wavelength, np.float32([1.5]))
    return float(reflected[0]), float(passed[0])


def test_clouds_conserve_energy_and_absorb_where_ice_does():
    for wavelength in (0.47, 0.64, 0.865):
        reflected, passed = _cloud(10, 0, wavelength)
        assert reflected + passed == pytest.approx(1, abs=1e-6)
        assert 0.4 < reflected < 0.7
    for ice in (0, 1):
        for wavelength in (1.378, 1.61, 2.25, 3.9):
            reflected, passed = _cloud(20, ice, wavelength)
            assert 0 < reflected < 1 and 0 < passed < 1 and reflected + passed < 1
    assert _cloud(0, 0, 1.61) == pytest.approx((0, 1), abs=1e-5)
    for wavelength in (1.61, 2.25, 3.9):
        assert _cloud(50, 1, wavelength)[0] < 0.8 * _cloud(50, 0, wavelength)[0]
    assert _cloud(50, 0, 2.25, radius=2)[0] < _cloud(50, 0, 2.25, radius=0.7)[0]
    # With hardly any absorption the absorbing solution (Stephens 1978) becomes the conservative one.
    assert _cloud(5, 0, 1.0)[0] == pytest.approx(_cloud(5, 0, 0.865)[0], abs=0.02)


def test_clear_air_is_blue():
    haze, one = np.float32([0.05]), np.float32([1.2])
    cosine = np.float32([-0.8])
    blue, red, infrared = (
        float(measurements.path_reflectance(value, haze, one, one, cosine)[0][0]) for value in (0.47, 0.64, 0.865)
    )
    assert blue > 2 * red > 2 * infrared > 0
    assert measurements.air_optical_depth(0.55) == pytest.approx(0.098, abs=0.002)  # Hansen & Travis, table


def test_glint_is_where_the_sun_mirrors():
    wind, angle = np.float32([4]), np.float32([30])
    glint = [
        float(measurements.sun_glint(wind, (angle, np.float32([90])), (angle, np.float32([azimuth])))[0])
        for azimuth in (270, 300, 90)
    ]
    assert glint[0] > 0.1 and glint[0] > 2 * glint[1] and glint[2] < 0.001


def test_noise_is_at_the_instruments_level():
    random = np.random.default_rng(0)
    for band in get_satellite("H8").bands[6:]:
        warm = measurements.add_temperature_noise(np.full((200, 200), 300, np.float32), band, random)
        cold = measurements.add_temperature_noise(np.full((200, 200), 220, np.float32), band, random)
        assert warm.std() == pytest.approx(band.noise, rel=0.05)
        assert cold.std() > 1.2 * warm.std()
    band = get_satellite("G16").band(2)
    bright = measurements.add_reflectance_noise(np.ones((200, 200), np.float32), np.float32(1), band, random)
    assert bright.std() == pytest.approx(band.noise, rel=0.05)
    dark = measurements.add_reflectance_noise(np.zeros((9, 9), np.float32), np.float32(-0.1), band, random)
    assert not dark.any()


# Tiles and times


def test_groups_are_the_satellites_that_overlap():
    groups = overlapping_groups(_instruments("G16", "G17", "H8"))
    assert {tuple(s.name for s in members): columns for members, columns in groups} == {
        ("G16", "G17"): [*range(7, 17)],
        ("G17", "H8"): [0, 1, 2, 3, 57, 58, 59],
    }
    american_and_japanese = [one for one in SATELLITES.values() if one.instrument in ("ABI", "AHI")]
    six = {tuple(s.name for s in members) for members, _ in overlapping_groups(american_and_japanese)}
    assert six == {("G16", "G17", "G18", "G19"), ("G17", "G18", "H8", "H9")}
    assert [tuple(s.name for s in m) for m, _ in overlapping_groups(_instruments("G16", "H8"))] == [("G16",), ("H8",)]


@pytest.mark.parametrize("count", [1, 2, 5, 12])
def test_every_satellite_gets_tiles_that_it_sees_well(count):
    satellites = _instruments("G16", "G17", "H8")
    tiles = choose_tiles(satellites, count, seed=0)
    assert len(tiles) == len(set(tiles)) == max(2, count)
    for satellite in satellites:
        assert any(int(tile[1:3]) in satellite.tile_columns for tile in tiles)
    assert choose_tiles(satellites, count, seed=0) == tiles
    assert choose_tiles(satellites, 12, seed=1) != choose_tiles(satellites, 12, seed=0)


def test_times_spread_over_days_seasons_and_hours():
    times = choose_times(["h12v04", "h00v10"], 24, seed=0)
    days = [time.date() for time in times]
    assert len(set(days)) == 24 and times == sorted(times)
    assert {time.year for time in times} <= {2019, 2020}
    paper = [time for time in times if time.year == 2019 and 32 <= time.timetuple().tm_yday <= 53]
    assert len(paper) == 2
    assert len({time.month for time in times}) >= 10
    middle = -143.0  # degrees, between the two tiles
    local = np.array([(time.hour + time.minute / 60 + middle / 15) % 24 for time in times])
    assert (np.abs(local - 12) < 2.5).mean() > 0.5
    assert ((local < 4) | (local > 20)).any() and ((np.abs(local - 6.2) < 1.5) | (np.abs(local - 17.8) < 1.5)).any()
    assert choose_times(["h12v04"], 690, seed=0)[-1] < datetime(2021, 1, 1) + timedelta(days=2)


def test_too_much_is_an_input_error():
    with pytest.raises(InputError, match="G17 and H8"):
        choose_tiles(_instruments("G17", "H8"), 500, 0)
    with pytest.raises(InputError, match="at most 694 times"):
        choose_times(["h12v04"], 5000, 0)


def test_even_a_few_times_hold_one_by_day_for_testing():
    for count in (2, 3, 8):
        times = choose_times(["h12v10"], count, seed=0)
        tested = [time for time in times if time.year == 2019 and 32 <= time.timetuple().tm_yday <= 53]
        assert len(tested) == 1 and 16 <= tested[0].hour <= 21
