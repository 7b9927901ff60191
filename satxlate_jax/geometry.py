"""Where the sun stands in the sky, within 0.012 degrees of NREL's SPA from 1990 to 2040 (measured: 0.004).

The angles are geometric: without refraction, which lifts the sun by half a degree at the horizon. Azimuths run
clockwise from north in [0, 360).

Sources: Meeus, Astronomical Algorithms, 2nd ed., chapters 12 and 25 (sidereal time, the sun's apparent place); Meeus,
Astronomical Formulae for Calculators, chapter 18 (the pull of Venus, Jupiter and the Moon on the Earth).
"""

from datetime import UTC, datetime

import numpy as np

_EPOCH = np.datetime64("2000-01-01T12:00", "ns")  # J2000.0
_CENTURY = 36525.0  # days
_CLOCK_LAG = 66.0 / 86400  # days that UTC is behind the uniform time of the ephemerides: 57 s in 1990, 69 s in 2020
_PARALLAX = 8.794 / 3600  # degrees by which the sun at the horizon is lower than from the Earth's centre


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
