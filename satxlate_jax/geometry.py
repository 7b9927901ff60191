"""The GeoNEX grid, and the positions of the sun and of geostationary satellites in the sky.

Tiles hXXvYY are 6 x 6 degrees: h 00 to 59 eastward from 180 W, v 00 to 19 southward from 60 N. A tile's row 0 is
north, its column 0 west, and a pixel's centre lies half a pixel inside.

The sun's position is within 0.012 degrees of NREL's SPA from 1990 to 2040 (measured: 0.004). Angles are geometric,
without refraction, which lifts the sun by half a degree at the horizon. Azimuths run clockwise from north in [0, 360).

Sources: Wang et al., Remote Sensing 2020, 12(8), 1267 (the GeoNEX common grid); Meeus, Astronomical Algorithms, 2nd
ed., chapters 12 and 25 (sidereal time, the sun's apparent place); Meeus, Astronomical Formulae for Calculators,
chapter 18 (the perturbations by Venus, Jupiter and the Moon); Soler & Eisemann, J. Surv. Eng. 120 (3), 115, 1994 (look
angles to geostationary satellites from the ellipsoid).
"""

import re
from datetime import UTC, datetime

import numpy as np

from satxlate_jax.cli import InputError

TILE_DEGREES = 6.0
COLUMNS = 60
ROWS = 20
NORTH = 60.0
WEST = -180.0
# Size of a pixel as the product states it (0.02 degrees is 2.2 km at the equator) -> pixels along a tile's side.
PIXELS = {2.0: 300, 1.0: 600, 0.5: 1200}

# Solar zenith angles, degrees, at which the sun is no longer well up, has set, and civil twilight has ended.
DAY_ENDS, HORIZON, NIGHT_BEGINS = 80.0, 90.0, 96.0

_TILE = re.compile(r"h(\d\d)v(\d\d)", re.ASCII)

_EPOCH = np.datetime64("2000-01-01T12:00", "ns")  # J2000.0
_CENTURY = 36525.0  # days
_CLOCK_LAG = 66.0 / 86400  # days that UTC is behind the uniform time of the ephemerides: 57 s in 1990, 69 s in 2020
_PARALLAX = 8.794 / 3600  # degrees by which the sun at the horizon is lower than from the Earth's centre

_EQUATOR_KM, _FLATTENING = 6378.137, 1 / 298.257223563  # WGS84
_ORBIT_KM = 42164.16  # radius of the geostationary orbit


def parse_tile(tile: str) -> tuple[int, int]:
    """Column h and row v of a tile's name, such as 'h09v03'; InputError where there is no such tile."""
    match = _TILE.fullmatch(tile)
    if match is None:
        raise InputError(f"'{tile}' is not a tile's name; tiles are called hXXvYY, such as h09v03")
    h, v = int(match[1]), int(match[2])
    if h >= COLUMNS or v >= ROWS:
        raise InputError(f"there is no tile '{tile}'; h is 00 to {COLUMNS - 1}, v is 00 to {ROWS - 1}")
    return h, v


def tile_bounds(tile: str) -> tuple[float, float]:
    """A tile's northern edge (degrees north) and western edge (degrees east, [-180, 180))."""
    h, v = parse_tile(tile)
    return NORTH - TILE_DEGREES * v, WEST + TILE_DEGREES * h


def tile_grid(tile: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Latitudes, north to south, and longitudes, west to east, of the centres of a tile's pixels, float64 [size].

    A side has 300 pixels at 2 km, 600 at 1 km, 1200 at 0.5 km. InputError where there is no such tile.
    """
    latitude, longitude = tile_bounds(tile)
    centres = (np.arange(size) + 0.5) * (TILE_DEGREES / size)
    return latitude - centres, longitude + centres


def pixels_of(resolution_km: float) -> int:
    """Pixels along a tile's side at a resolution of 2, 1 or 0.5 km; InputError at another."""
    if resolution_km not in PIXELS:
        choices = ", ".join(f"{value:g}" for value in PIXELS)
        raise InputError(f"the grid has no resolution of {resolution_km} km; it has {choices}")
    return PIXELS[resolution_km]


def nearest_resolution(kilometres: float) -> float:
    """The resolution of the grid that is nearest to one, km."""
    return min(PIXELS, key=lambda one: abs(np.log(one / kilometres)))


def solar_position(
    time: datetime | np.datetime64 | np.ndarray, latitude: np.ndarray, longitude: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The sun's zenith angle [0, 180] and azimuth [0, 360), degrees, float32, geometric (without refraction).

    Args:
      time: UTC; a datetime (one with a time zone is converted) or datetime64, one or an array.
      latitude: degrees north, broadcast against `longitude` and `time`.
      longitude: degrees east.
    """
    if isinstance(time, datetime) and time.tzinfo is not None:
        time = time.astimezone(UTC).replace(tzinfo=None)
    days = (np.asarray(time, "datetime64[ns]") - _EPOCH) / np.timedelta64(1, "D")
    right_ascension, declination, sidereal_time = _apparent_place(days)
    hour_angle = sidereal_time + np.radians(longitude) - right_ascension
    zenith, azimuth = sky_direction(np.radians(latitude), declination, hour_angle)
    return (zenith + _PARALLAX * np.sin(np.radians(zenith))).astype(np.float32), azimuth


def view_angles(
    satellite_longitude: float, latitude: np.ndarray | float, longitude: np.ndarray | float
) -> tuple[np.ndarray, np.ndarray]:
    """A geostationary satellite's zenith angle [0, 180], above 90 out of sight, and azimuth [0, 360), degrees, float32.

    It is seen from level ground on the WGS84 ellipsoid at a geodetic latitude (degrees north) and a longitude (east),
    which broadcast, and stands over its own longitude on the equator.
    """
    latitude, away = np.radians(latitude), np.radians(satellite_longitude - np.asarray(longitude, np.float64))
    squared = _FLATTENING * (2 - _FLATTENING)  # of the eccentricity
    curvature = _EQUATOR_KM / np.sqrt(1 - squared * np.sin(latitude) ** 2)
    # from the place to the satellite: away from the axis, in the meridian's plane, and north along the axis
    outward = _ORBIT_KM * np.cos(away) - curvature * np.cos(latitude)
    northward = -curvature * (1 - squared) * np.sin(latitude)
    up = outward * np.cos(latitude) + northward * np.sin(latitude)
    north = northward * np.cos(latitude) - outward * np.sin(latitude)
    zenith, azimuth = direction(up, north, _ORBIT_KM * np.sin(away))
    return zenith.astype(np.float32), azimuth


def sky_direction(
    latitude: np.ndarray, declination: np.ndarray | float, hour_angle: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Zenith angle, float64, and azimuth, float32, degrees, of a body in the sky, from angles in radians."""
    up = np.sin(latitude) * np.sin(declination) + np.cos(latitude) * np.cos(declination) * np.cos(hour_angle)
    north = np.cos(latitude) * np.sin(declination) - np.sin(latitude) * np.cos(declination) * np.cos(hour_angle)
    return direction(up, north, -np.cos(declination) * np.sin(hour_angle))


def direction(up: np.ndarray, north: np.ndarray, east: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Zenith angle, float64, and azimuth in [0, 360), float32, of a vector, degrees."""
    azimuth = (np.degrees(np.arctan2(east, north)) % 360).astype(np.float32)
    azimuth = np.where(azimuth == 360, np.float32(0), azimuth)  # float32 has no 359.99999
    return np.degrees(np.arctan2(np.hypot(north, east), up)), azimuth


def _apparent_place(days: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The sun's right ascension and declination, and Greenwich's apparent sidereal time, radians; days from J2000."""
    t = (days + _CLOCK_LAG) / _CENTURY
    anomaly = np.radians(357.52911 + 35999.05029 * t - 0.0001537 * t**2)
    node = np.radians(125.04 - 1934.136 * t)  # of the Moon's orbit, with which the Earth's axis nods
    longitude = (
        280.46646
        + 36000.76983 * t
        + 0.0003032 * t**2
        + (1.914602 - 0.004817 * t - 0.000014 * t**2) * np.sin(anomaly)
        + (0.019993 - 0.000101 * t) * np.sin(2 * anomaly)
        + 0.000289 * np.sin(3 * anomaly)
        + _perturbation(t + 1)
        - 0.00569  # aberration
        - 0.00478 * np.sin(node)
    )
    longitude, obliquity = np.radians(longitude), np.radians(23.439291 - 0.0130042 * t + 0.00256 * np.cos(node))
    right_ascension = np.arctan2(np.cos(obliquity) * np.sin(longitude), np.cos(longitude))
    declination = np.arcsin(np.sin(obliquity) * np.sin(longitude))
    mean_time = 280.46061837 + 360.98564736629 * days + 0.000387933 * (days / _CENTURY) ** 2
    return right_ascension, declination, np.radians(mean_time - 0.00478 * np.sin(node) * np.cos(obliquity))


# Perturbations of the sun's longitude: degrees, degrees, degrees a century; by Venus (two), Jupiter, and long-period
_PERTURBATIONS = (
    (0.00134, 153.23 + 90, 22518.7541),
    (0.00154, 216.57 + 90, 45037.5082),
    (0.00200, 312.69 + 90, 32964.3577),
    (0.00178, 231.19, 20.20),
)


def _perturbation(t: np.ndarray) -> np.ndarray:
    """The pull of Venus, Jupiter and the Moon on the sun's longitude, degrees; centuries since 1900, January 0.5."""
    moon = 0.00179 * np.sin(np.radians(350.74 + 445267.1142 * t - 0.00144 * t**2))
    return moon + sum(size * np.sin(np.radians(phase + rate * t)) for size, phase, rate in _PERTURBATIONS)


def pixel_angles(
    time: datetime | np.datetime64, latitude: np.ndarray, longitude: np.ndarray, satellite_longitude: float
) -> np.ndarray:
    """Cosine of the solar zenith angle, and air mass of the view, at pixels, float32 [..., 2].

    Time is UTC; latitude (degrees north) and longitude (east) broadcast; the satellite's is of the point below it.
    """
    solar_zenith, _ = solar_position(time, latitude, longitude)
    return np.stack([np.cos(np.radians(solar_zenith)), air_mass(satellite_longitude, latitude, longitude)], axis=-1)


def air_mass(satellite_longitude: float, latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    """1 / cosine of the view zenith angle, float32; NaN where the satellite is out of sight."""
    zenith, _ = view_angles(satellite_longitude, latitude, longitude)
    return np.where(zenith < 89, 1 / np.cos(np.radians(np.minimum(zenith, 89))), np.nan).astype(np.float32)
