"""The GeoNEX grid, and where the sun stands in the sky.

Tiles hXXvYY are 6 x 6 degrees: h 00 to 59 eastward from 180 W, v 00 to 19 southward from 60 N. A tile's row 0 is
north, its column 0 west, and a pixel's centre lies half a pixel inside.

Source: Wang et al., Remote Sensing 2020, 12(8), 1267 (the GeoNEX common grid).

The sun's place is within 0.012 degrees of NREL's SPA from 1990 to 2040 (measured: 0.004).
The angles are geometric: without refraction, which lifts the sun by half a degree at the horizon. Azimuths run
clockwise from north in [0, 360).

Sources: Meeus, Astronomical Algorithms, 2nd ed., chapters 12 and 25 (sidereal time, the sun's apparent place); Meeus,
Astronomical Formulae for Calculators, chapter 18 (the pull of Venus, Jupiter and the Moon on the Earth).
"""

import re
from datetime import UTC, datetime

import numpy as np

from satxlate_jax.cli import InputError, parse_names

TILE_DEGREES = 6.0
COLUMNS = 60
ROWS = 20
NORTH = 60.0
WEST = -180.0
# Size of a pixel as the product states it (0.02 degrees is 2.2 km at the equator) -> pixels along a tile's side.
PIXELS = {2.0: 300, 1.0: 600, 0.5: 1200}

_TILE = re.compile(r"h(\d\d)v(\d\d)", re.ASCII)

_EPOCH = np.datetime64("2000-01-01T12:00", "ns")  # J2000.0
_CENTURY = 36525.0  # days
_CLOCK_LAG = 66.0 / 86400  # days that UTC is behind the uniform time of the ephemerides: 57 s in 1990, 69 s in 2020
_PARALLAX = 8.794 / 3600  # degrees by which the sun at the horizon is lower than from the Earth's centre


def parse_tile(tile: str) -> tuple[int, int]:
    """Column h and row v of a tile's name.

    Args:
      tile: such as 'h09v03'.

    Returns:
      h in [0, 59] and v in [0, 19].

    Raises:
      InputError: there is no such tile.
    """
    match = _TILE.fullmatch(tile)
    if match is None:
        raise InputError(f"'{tile}' is not a tile's name; tiles are called hXXvYY, such as h09v03")
    h, v = int(match[1]), int(match[2])
    if h >= COLUMNS or v >= ROWS:
        raise InputError(f"there is no tile '{tile}'; h is 00 to {COLUMNS - 1}, v is 00 to {ROWS - 1}")
    return h, v


def parse_tiles(text: str) -> tuple[str, ...]:
    """Names of tiles such as 'h09v03,h10v03', with or without spaces, each once.

    Raises:
      InputError: there is none, or one is no tile's name.
    """
    tiles = tuple(dict.fromkeys(parse_names(text))) if text.strip(" ,") else ()
    if not tiles:
        raise InputError(f"'{text}' names no tile; write tiles such as h09v03,h10v03, or leave the option out for all")
    for tile in tiles:
        parse_tile(tile)
    return tiles


def tile_bounds(tile: str) -> tuple[float, float]:
    """The tile's north-west corner.

    Args:
      tile: such as 'h09v03'.

    Returns:
      Latitude of its northern edge (degrees north) and longitude of its western edge (degrees east, [-180, 180)).

    Raises:
      InputError: there is no such tile.
    """
    h, v = parse_tile(tile)
    return NORTH - TILE_DEGREES * v, WEST + TILE_DEGREES * h


def tile_grid(tile: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Centres of a tile's pixels.

    Args:
      tile: such as 'h09v03'.
      size: pixels along a side (300 at 2 km, 600 at 1 km, 1200 at 0.5 km).

    Returns:
      Latitudes, float64 [size], north to south, degrees north; longitudes, float64 [size], west to east, degrees east.

    Raises:
      InputError: there is no such tile.
    """
    latitude, longitude = tile_bounds(tile)
    centres = (np.arange(size) + 0.5) * (TILE_DEGREES / size)
    return latitude - centres, longitude + centres


def pixels_of(resolution_km: float) -> int:
    """Pixels along a tile's side at a resolution of 2, 1 or 0.5 km.

    Raises:
      InputError: the grid has no such resolution.
    """
    if resolution_km not in PIXELS:
        choices = ", ".join(f"{value:g}" for value in PIXELS)
        raise InputError(f"the grid has no resolution of {resolution_km} km; it has {choices}")
    return PIXELS[resolution_km]


def solar_position(
    time: datetime | np.datetime64 | np.ndarray, latitude: np.ndarray, longitude: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The sun's place in the sky, geometric (without refraction).

    Args:
      time: UTC; a datetime (one with a time zone is converted) or datetime64, one or an array.
      latitude: degrees north, broadcast against `longitude` and `time`.
      longitude: degrees east.

    Returns:
      Zenith angle [0, 180] and azimuth [0, 360), degrees, float32, of the broadcast shape.
    """
    if isinstance(time, datetime) and time.tzinfo is not None:
        time = time.astimezone(UTC).replace(tzinfo=None)
    days = (np.asarray(time, "datetime64[ns]") - _EPOCH) / np.timedelta64(1, "D")
    right_ascension, declination, sidereal_time = _apparent_place(days)
    latitude = np.radians(latitude)
    hour_angle = sidereal_time + np.radians(longitude) - right_ascension
    up = np.sin(latitude) * np.sin(declination) + np.cos(latitude) * np.cos(declination) * np.cos(hour_angle)
    north = np.cos(latitude) * np.sin(declination) - np.sin(latitude) * np.cos(declination) * np.cos(hour_angle)
    east = -np.cos(declination) * np.sin(hour_angle)
    zenith = np.arctan2(np.hypot(north, east), up)
    zenith = np.degrees(zenith) + _PARALLAX * np.sin(zenith)
    azimuth = (np.degrees(np.arctan2(east, north)) % 360).astype(np.float32)
    return zenith.astype(np.float32), np.where(azimuth == 360, np.float32(0), azimuth)  # float32 has no 359.99999


def _apparent_place(days: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The sun's right ascension and declination, and Greenwich's apparent sidereal time, radians.

    Args:
      days: of UTC since J2000.0.
    """
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


def _perturbation(t: np.ndarray) -> np.ndarray:
    """What Venus, Jupiter and the Moon add to the sun's longitude, degrees.

    Args:
      t: centuries since 1900, January 0.5.
    """
    venus = 0.00134 * np.cos(np.radians(153.23 + 22518.7541 * t)) + 0.00154 * np.cos(
        np.radians(216.57 + 45037.5082 * t)
    )
    jupiter = 0.00200 * np.cos(np.radians(312.69 + 32964.3577 * t))
    moon = 0.00179 * np.sin(np.radians(350.74 + 445267.1142 * t - 0.00144 * t**2))
    return venus + jupiter + moon + 0.00178 * np.sin(np.radians(231.19 + 20.20 * t))
