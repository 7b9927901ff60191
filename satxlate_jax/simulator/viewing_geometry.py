"""Directions of the sun and of geostationary satellites above simulated ground, and parallax.

For real tiles there is `satxlate_jax.geometry`: the sun's series here is up to 0.45 degrees off, and stays, because
simulated scenes depend on it. Angles are in degrees; azimuths run clockwise from north in [0, 360).

Sources: Spencer, Search 2 (5), 172, 1971 (the sun, as NOAA's solar calculator uses it); Kasten & Young, Applied Optics
28, 4735, 1989 (air mass); GOES-R Product Definition and Users' Guide, vol. 3 (geostationary geometry; here on a sphere,
right to a few tenths of a degree).
"""

import math
from datetime import datetime

import numpy as np

from satxlate_jax import geometry

PIXELS = 300  # along a side of a tile on a scene's grid, 0.02 degrees
EARTH_RADIUS_KM = 6371.0
ORBIT_RADIUS_KM = 42164.0  # of a geostationary satellite, from the Earth's centre
KM_PER_DEGREE = EARTH_RADIUS_KM * math.pi / 180

Direction = tuple[np.ndarray, np.ndarray]  # zenith angle and azimuth

# Spencer's series: a constant, then the factors of the cosine and sine of the year's angle and of its multiples.
_DECLINATION = (0.006918, (-0.399912, 0.070257), (-0.006758, 0.000907), (-0.002697, 0.001480))  # radians
_EQUATION_OF_TIME = (0.000075, (0.001868, -0.032077), (-0.014615, -0.040849))  # radians
IRRADIANCE = (1.000110, (0.034221, 0.001280), (0.000719, 0.000077))  # relative to that at the mean distance


def spencer(series: tuple, time: datetime) -> float:
    """One of the series above at a time in UTC."""
    day = time.timetuple().tm_yday - 1 + (time.hour - 12 + time.minute / 60) / 24
    angle = 2 * math.pi * day / 365
    total, *factors = series
    for multiple, (cosine, sine) in enumerate(factors, start=1):
        total += cosine * math.cos(multiple * angle)
        total += sine * math.sin(multiple * angle)
    return total


def solar_position(time: datetime, latitude: np.ndarray, longitude: np.ndarray) -> Direction:
    """Direction of the sun, float32, without refraction, at a time in UTC; latitude and longitude broadcast."""
    minutes = 229.18 * spencer(_EQUATION_OF_TIME, time)
    hours = time.hour + (time.minute + minutes) / 60 + time.second / 3600 + np.asarray(longitude) / 15
    declination, hour_angle = spencer(_DECLINATION, time), np.radians(15 * (hours - 12))
    zenith, azimuth = geometry.sky_direction(np.radians(latitude), declination, hour_angle)
    return zenith.astype(np.float32), azimuth


def view_position(satellite_longitude: float, latitude: np.ndarray, longitude: np.ndarray) -> Direction:
    """Direction of a geostationary satellite, float32, from its longitude; a zenith angle above 90 is out of sight."""
    latitude = np.radians(latitude)
    away = np.radians(satellite_longitude - np.asarray(longitude))
    ratio = ORBIT_RADIUS_KM / EARTH_RADIUS_KM
    up = ratio * np.cos(latitude) * np.cos(away) - 1
    north = -ratio * np.sin(latitude) * np.cos(away)
    zenith, azimuth = geometry.direction(up, north, ratio * np.sin(away))
    return zenith.astype(np.float32), azimuth


def air_mass(zenith: np.ndarray) -> np.ndarray:
    """Length of a slant path through the atmosphere relative to the vertical; from 90 degrees on, that at 90 (38)."""
    zenith = np.minimum(zenith, np.float32(90))
    return 1 / (np.cos(np.radians(zenith)) + 0.50572 * (96.07995 - zenith) ** np.float32(-1.6364))


def scattering_cosine(sun: Direction, view: Direction) -> np.ndarray:
    """Cosine of the angle by which sunlight is turned towards the satellite: -1 straight back."""
    sun_zenith, view_zenith = np.radians(sun[0]), np.radians(view[0])
    between = np.cos(np.radians(sun[1] - view[1]))
    return -(np.cos(sun_zenith) * np.cos(view_zenith) + np.sin(sun_zenith) * np.sin(view_zenith) * between)


def slant_offset(height: np.ndarray | float, ray: Direction, latitude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Degrees north and east from a place on the ground to the point where a slant ray passes a height in km."""
    degrees = height * np.tan(np.radians(ray[0])) / np.float32(KM_PER_DEGREE)
    azimuth = np.radians(ray[1])
    return degrees * np.cos(azimuth), degrees * np.sin(azimuth) / np.cos(np.radians(latitude))
