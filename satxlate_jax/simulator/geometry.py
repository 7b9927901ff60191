"""Where the sun and a geostationary satellite stand as seen from simulated ground, and what slant views displace.

For real tiles there is `satxlate_jax.geometry`: the sun's series here is up to 0.45 degrees off, and stays, because
simulated scenes depend on it.

Angles are in degrees; azimuths run clockwise from north in [0, 360).

Sources: Spencer, Search 2 (5), 172, 1971 (declination, equation of time, distance of the sun, as NOAA's solar
calculator uses them); Kasten & Young, Applied Optics 28, 4735, 1989 (air mass); GOES-R Product Definition and Users'
Guide, vol. 3 (geostationary geometry; here on a sphere, right to a few tenths of a degree).
"""

import math
from datetime import datetime

import numpy as np

EARTH_RADIUS_KM = 6371.0
ORBIT_RADIUS_KM = 42164.0  # of a geostationary satellite, from the Earth's centre
KM_PER_DEGREE = EARTH_RADIUS_KM * math.pi / 180


def _year_angle(time: datetime) -> float:
    day = time.timetuple().tm_yday - 1 + (time.hour - 12 + time.minute / 60) / 24
    return 2 * math.pi * day / 365


def solar_declination(time: datetime) -> float:
    """The sun's declination, degrees north (Spencer 1971)."""
    x = _year_angle(time)
    radians = (
        0.006918
        - 0.399912 * math.cos(x)
        + 0.070257 * math.sin(x)
        - 0.006758 * math.cos(2 * x)
        + 0.000907 * math.sin(2 * x)
        - 0.002697 * math.cos(3 * x)
        + 0.001480 * math.sin(3 * x)
    )
    return math.degrees(radians)


def solar_distance_factor(time: datetime) -> float:
    """Solar irradiance relative to that at the mean distance (Spencer 1971)."""
    x = _year_angle(time)
    return (
        1.000110
        + 0.034221 * math.cos(x)
        + 0.001280 * math.sin(x)
        + 0.000719 * math.cos(2 * x)
        + 0.000077 * math.sin(2 * x)
    )


def solar_hours(time: datetime, longitude: np.ndarray) -> np.ndarray:
    """True solar time, hours; 12 at local noon. Not wrapped into one day.

    Args:
      time: UTC, without a time zone.
      longitude: degrees east, any shape.
    """
    x = _year_angle(time)
    minutes = 229.18 * (
        0.000075
        + 0.001868 * math.cos(x)
        - 0.032077 * math.sin(x)
        - 0.014615 * math.cos(2 * x)
        - 0.040849 * math.sin(2 * x)
    )
    return time.hour + (time.minute + minutes) / 60 + time.second / 3600 + np.asarray(longitude) / 15


def _angles(up: np.ndarray, north: np.ndarray, east: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    zenith = np.degrees(np.arctan2(np.hypot(north, east), up))
    azimuth = np.degrees(np.arctan2(east, north)) % 360
    return zenith.astype(np.float32), azimuth.astype(np.float32)


def solar_position(time: datetime, latitude: np.ndarray, longitude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sun's place in the sky, without refraction.

    Args:
      time: UTC, without a time zone.
      latitude: degrees north, broadcast against `longitude`.
      longitude: degrees east.

    Returns:
      Zenith angle [0, 180] and azimuth [0, 360), degrees, float32, of the broadcast shape.
    """
    latitude = np.radians(latitude)
    declination = math.radians(solar_declination(time))
    hour_angle = np.radians(15 * (solar_hours(time, longitude) - 12))
    up = np.sin(latitude) * math.sin(declination) + np.cos(latitude) * math.cos(declination) * np.cos(hour_angle)
    north = np.cos(latitude) * math.sin(declination) - np.sin(latitude) * math.cos(declination) * np.cos(hour_angle)
    east = -math.cos(declination) * np.sin(hour_angle)
    return _angles(up, north + 0 * up, east + 0 * up)


def view_position(
    satellite_longitude: float, latitude: np.ndarray, longitude: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A geostationary satellite's place in the sky.

    Args:
      satellite_longitude: of the sub-satellite point, degrees east.
      latitude: degrees north, broadcast against `longitude`.
      longitude: degrees east.

    Returns:
      Zenith angle [0, 180] (above 90 the satellite is below the horizon) and azimuth [0, 360), degrees, float32.
    """
    latitude = np.radians(latitude)
    away = np.radians(satellite_longitude - np.asarray(longitude))
    ratio = ORBIT_RADIUS_KM / EARTH_RADIUS_KM
    up = ratio * np.cos(latitude) * np.cos(away) - 1
    north = -ratio * np.sin(latitude) * np.cos(away)
    east = ratio * np.sin(away)
    return _angles(up, north, east + 0 * up)


def air_mass(zenith: np.ndarray) -> np.ndarray:
    """Length of a slant path through the atmosphere, 1 for the vertical (Kasten & Young 1989).

    Args:
      zenith: degrees; beyond 90, where there is no such path, the value at 90 (about 38).
    """
    zenith = np.minimum(zenith, np.float32(90))
    return 1 / (np.cos(np.radians(zenith)) + 0.50572 * (96.07995 - zenith) ** np.float32(-1.6364))


def scattering_cosine(
    sun_zenith: np.ndarray, sun_azimuth: np.ndarray, view_zenith: np.ndarray, view_azimuth: np.ndarray
) -> np.ndarray:
    """Cosine of the angle by which sunlight is turned towards the satellite: -1 straight back. Angles in degrees."""
    sun, view = np.radians(sun_zenith), np.radians(view_zenith)
    between = np.cos(np.radians(sun_azimuth - view_azimuth))
    return -(np.cos(sun) * np.cos(view) + np.sin(sun) * np.sin(view) * between)


def slant_offset(
    height: np.ndarray, zenith: np.ndarray, azimuth: np.ndarray, latitude: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How far from a place on the ground a slant ray from it passes a height, for parallax and shadows.

    Args:
      height: km.
      zenith: of the ray, degrees, below 90.
      azimuth: of the ray, degrees.
      latitude: of the place, degrees north.

    Returns:
      Degrees northward and degrees of longitude eastward.
    """
    degrees = height * np.tan(np.radians(zenith)) / np.float32(KM_PER_DEGREE)
    azimuth = np.radians(azimuth)
    return degrees * np.cos(azimuth), degrees * np.sin(azimuth) / np.cos(np.radians(latitude))
