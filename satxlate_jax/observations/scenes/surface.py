"""The ground: an invented geography of oceans, vegetation, soil and snow, the same in every scene of a seed.

Where land lies is random; what covers it follows latitude, height and season.
"""

from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from satxlate_jax.observations.scenes import geometry
from satxlate_jax.observations.scenes.fractals import Fractal, enlarge
from satxlate_jax.observations.scenes.spectra import spectral

_ELEVATION = Fractal("elevation", longest=14, smoothness=0.85)
_GREENNESS = Fractal("greenness", longest=9, smoothness=0.55)
_SANDINESS = Fractal("sandiness", longest=5, smoothness=0.5)
_SNOW = Fractal("snow", longest=3, smoothness=0.5)
_CURRENTS = Fractal("currents", longest=5, smoothness=0.9, drift=0.002, lifetime=24 * 20)
_AIR = Fractal("air temperature", longest=18, smoothness=1.2, drift=0.4, lifetime=60)

_FINE = {"elevation": _ELEVATION, "greenness": _GREENNESS, "sandiness": _SANDINESS, "snow_line": _SNOW}
_COAST = -0.1  # of the elevation field: a little more than half of the globe is sea


def season(time: datetime) -> float:
    """From -1 in the northern winter to 1 in the northern summer, three weeks behind the sun."""
    return float(np.cos(2 * np.pi * (time.timetuple().tm_yday - 200) / 365))


def air_temperature(seed: int, latitude: np.ndarray, longitude: np.ndarray, time: datetime, hours: float) -> np.ndarray:
    """Temperature of the air at sea level.

    Args:
      seed: of everything random.
      latitude: [row], degrees north.
      longitude: [column], degrees east.
      time: UTC.
      hours: the same as hours since some fixed moment.

    Returns:
      float32 [row, column], K.
    """
    south_north = np.sin(np.radians(latitude))[:, None].astype(np.float32)
    weather = _AIR.on_grid(seed, latitude, longitude, hours, finest=0.5)
    mean = 300 - 30 * south_north**2 + 9 * south_north * np.float32(season(time))
    return mean + weather * (1 + 5 * np.abs(south_north))


@dataclass(frozen=True)
class Surface:
    """What the ground is made of, each field [row, column].

    Attributes:
      elevation: km above the sea; negative is water.
      greenness: dimensionless; 0 is half vegetation, half soil.
      sandiness: dimensionless; high is bright soil, low is dark.
      snow_line: dimensionless; positive is snow.
      factor: how many pixels there are along one of the scene's coarse pixels.
    """

    elevation: np.ndarray
    greenness: np.ndarray
    sandiness: np.ndarray
    snow_line: np.ndarray
    factor: int = 1

    def refined(self, seed: int, latitude: np.ndarray, longitude: np.ndarray, finest: float) -> "Surface":
        """The same ground on a finer grid of the same area, with the structures that the coarse one cannot hold.

        Args:
          seed: of everything random.
          latitude: [row], of the finer grid.
          longitude: [column], of the finer grid.
          finest: wavelength of its finest structures, degrees.
        """
        factor = latitude.size // self.elevation.shape[0]
        fields = {}
        for name, fractal in _FINE.items():
            detail = fractal.on_grid(seed, latitude, longitude, finest=finest, coarsest=0.04)
            fields[name] = enlarge(getattr(self, name), factor) + detail
        return replace(self, **fields, factor=factor)

    def fractions(self) -> dict[str, np.ndarray]:
        """How much of each pixel is what: surface (a table of `spectra`) -> float32 [row, column], together 1."""
        sharp = np.float32(self.factor)
        land = np.clip(0.5 + self.elevation * (20 * sharp), 0, 1)
        snow = land * np.clip(0.5 + self.snow_line * (1.5 * sharp), 0, 1)
        bare = land - snow
        vegetation = bare * np.clip(0.5 + 0.9 * self.greenness, 0, 1)
        sand = (bare - vegetation) * np.clip(0.3 + 0.5 * self.sandiness, 0, 1)
        turbid = (1 - land) * np.clip(1 + self.elevation * 5, 0, 1) ** 2 * 0.8
        return {
            "ocean": 1 - land - turbid,
            "turbid": turbid,
            "vegetation": vegetation,
            "soil": bare - vegetation - sand,
            "sand": sand,
            "snow": snow,
        }

    def reflectance(self, wavelength: float, fractions: dict[str, np.ndarray]) -> np.ndarray:
        """Diffuse reflectance.

        Args:
          wavelength: um.
          fractions: from `fractions`, which is the same for all wavelengths.

        Returns:
          float32 [row, column], dimensionless.
        """
        parts = (np.float32(spectral(name, wavelength)) * fraction for name, fraction in fractions.items())
        total = sum(parts)
        # Brightness differs from field to field; leaves and soils darken together when wet.
        return total * np.clip(1 + 0.18 * self.sandiness, 0.4, 1.6) if wavelength < 4 else total


def build_surface(seed: int, latitude: np.ndarray, longitude: np.ndarray, time: datetime, air: np.ndarray) -> Surface:
    """The ground on a grid.

    Args:
      seed: of the geography.
      latitude: [row], degrees north.
      longitude: [column], degrees east.
      time: UTC; for the season.
      air: temperature of the air at sea level, float32 [row, column], K.
    """
    elevation = _ELEVATION.on_grid(seed, latitude, longitude) + _COAST
    rise = np.maximum(elevation, 0)
    elevation = np.where(elevation > 0, 1.1 * rise**1.7 + 0.08 * rise, 0.3 * elevation).astype(np.float32)
    # Wet tropics, dry subtropics, wet middle latitudes, with noise to blur the belts.
    climate = (0.55 * np.cos(np.radians(latitude * 6)) + 0.1).astype(np.float32)[:, None]
    greenness = 0.55 * _GREENNESS.on_grid(seed, latitude, longitude) + climate - 0.15 * np.maximum(elevation, 0)
    snow = 0.25 * (271.5 - (air - 6.5 * np.maximum(elevation, 0))) + 0.6 * _SNOW.on_grid(seed, latitude, longitude)
    return Surface(elevation, greenness, _SANDINESS.on_grid(seed, latitude, longitude), snow)


def surface_temperature(
    surface: Surface,
    seed: int,
    latitude: np.ndarray,
    longitude: np.ndarray,
    time: datetime,
    hours: float,
    air: np.ndarray,
) -> np.ndarray:
    """Temperature of the skin of sea and land, without clouds' shade.

    Land warms with the sun, an hour and a half behind it, dry soil most; it cools at night. Snow does not exceed
    freezing. The sea has no day and night.

    Args:
      surface: the ground.
      seed: of everything random.
      latitude: [row], degrees north.
      longitude: [column], degrees east.
      time: UTC.
      hours: the same as hours since some fixed moment.
      air: temperature of the air at sea level, float32 [row, column], K.

    Returns:
      float32 [row, column], K.
    """
    south_north = np.sin(np.radians(latitude))[:, None].astype(np.float32)
    sea = 301.5 - 33 * south_north**2 + 3 * south_north * np.float32(season(time))
    sea = np.maximum(sea + 1.1 * _CURRENTS.on_grid(seed, latitude, longitude, hours), 271.4)
    zenith, _ = geometry.solar_position(time, latitude[:, None], longitude - 22.5)
    sun = np.maximum(np.cos(np.radians(zenith)), 0)
    parts = surface.fractions()
    soil = parts["soil"] + parts["sand"]
    warming = 7 * parts["vegetation"] + (18 + 3 * surface.sandiness) * soil + 2 * parts["snow"]
    cooling = 3 * parts["vegetation"] + 7 * soil + 6 * parts["snow"]
    land = air - 6.5 * np.maximum(surface.elevation, 0) + warming * sun - cooling * (1 - sun) ** 3
    land = np.where(parts["snow"] > 0.5, np.minimum(land, 273.2), land)
    water = parts["ocean"] + parts["turbid"]
    return (water * sea + (1 - water) * land).astype(np.float32)
