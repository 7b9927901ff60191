"""The ground: an invented geography of oceans, vegetation, soil and snow, the same in every scene of a seed.

Where land lies is random; what covers it follows latitude, height and season.
"""

from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from satxlate_jax.simulator import geometry
from satxlate_jax.simulator.fractals import Fractal, Window, enlarge
from satxlate_jax.simulator.spectra import spectral

_ELEVATION = Fractal("elevation", longest=14, smoothness=0.85)
_VALLEYS = Fractal("valleys", longest=1.8, smoothness=0.8)
_GREENNESS = Fractal("greenness", longest=9, smoothness=0.55)
_SANDINESS = Fractal("sandiness", longest=5, smoothness=0.5)
_SNOW = Fractal("snow", longest=3, smoothness=0.5)
_CURRENTS = Fractal("currents", longest=5, smoothness=0.9, drift=0.002, lifetime=24 * 20)
_AIR = Fractal("air temperature", longest=18, smoothness=1.2, drift=0.4, lifetime=60)

_SEA_LEVEL = -0.1  # of the elevation field: a little more than half of the globe is sea
_FINE = {"elevation": _ELEVATION, "greenness": _GREENNESS, "sandiness": _SANDINESS, "snow_line": _SNOW}


def _season(time: datetime) -> np.float32:
    """From -1 in the northern winter to 1 in the northern summer, three weeks behind the sun."""
    return np.float32(np.cos(2 * np.pi * (time.timetuple().tm_yday - 200) / 365))


def _sine_of_latitude(window: Window) -> np.ndarray:
    return np.sin(np.radians(window.latitude))[:, None].astype(np.float32)


def air_temperature(window: Window, time: datetime) -> np.ndarray:
    """Temperature of the air at sea level.

    Args:
      window: where and when.
      time: UTC; for the season.

    Returns:
      float32 [row, column], K.
    """
    sine = _sine_of_latitude(window)
    weather = _AIR.on_grid(window, finest=0.5)
    return 300 - 30 * sine**2 + 9 * sine * _season(time) + weather * (1 + 5 * np.abs(sine))


@dataclass(frozen=True)
class Surface:
    """What the ground is made of, each field float32 [row, column].

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

    def refined(self, window: Window, finest: float) -> "Surface":
        """The same ground on a finer grid of the same area, with the structures that the coarse one cannot hold.

        Args:
          window: the finer grid.
          finest: wavelength of its finest structures, degrees.
        """
        factor = window.latitude.size // self.elevation.shape[0]
        fields = {
            name: enlarge(getattr(self, name), factor) + fractal.on_grid(window, finest, coarsest=0.04)
            for name, fractal in _FINE.items()
        }
        return replace(self, **fields, factor=factor)

    def fractions(self) -> dict[str, np.ndarray]:
        """How much of each pixel is what: surface (a table of `spectra`) -> float32 [row, column], together 1."""
        land = np.clip(0.5 + self.elevation * np.float32(20 * self.factor), 0, 1)
        snow = land * np.clip(0.5 + self.snow_line * np.float32(1.5 * self.factor), 0, 1)
        bare = land - snow
        vegetation = bare * np.clip(0.5 + 0.9 * self.greenness, 0, 1)
        sand = (bare - vegetation) * np.clip(0.3 + 0.5 * self.sandiness, 0, 1)
        turbid = 0.8 * (1 - land) * np.clip(1 + self.elevation * 10, 0, 1) ** 2
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
        total = sum(np.float32(spectral(name, wavelength)) * fraction for name, fraction in fractions.items())
        # Brightness differs from place to place: by day in the solar bands, hardly in the thermal ones.
        return total * np.clip(1 + 0.18 * self.sandiness, 0.4, 1.6) if wavelength < 4 else total


def build_surface(window: Window, air: np.ndarray) -> Surface:
    """The ground in a window.

    Args:
      window: where.
      air: temperature of the air at sea level, float32 [row, column], K.
    """
    elevation = _ELEVATION.on_grid(window) + _SEA_LEVEL
    rise = np.maximum(elevation, 0)
    # Zero lines of a field branch like valleys: lower and greener than what lies between them.
    ridge = np.minimum(np.abs(_VALLEYS.on_grid(window)), 1.5) - 0.6
    mountains = (0.75 * rise**1.6 + 0.08 * rise) * (1 + 0.45 * ridge)
    elevation = np.where(elevation > 0, mountains, 0.3 * elevation).astype(np.float32)
    height = np.maximum(elevation, 0)
    # Wet tropics, dry subtropics, wet middle latitudes, with noise to blur the belts.
    climate = (0.55 * np.cos(np.radians(window.latitude * 6)) + 0.1).astype(np.float32)[:, None]
    greenness = 0.55 * _GREENNESS.on_grid(window) + climate - 0.15 * height - 0.5 * ridge
    snow = 0.25 * (271.5 - (air - 6.5 * height)) + 0.6 * _SNOW.on_grid(window)
    return Surface(elevation, greenness, _SANDINESS.on_grid(window), snow)


def surface_temperature(surface: Surface, window: Window, time: datetime, air: np.ndarray) -> np.ndarray:
    """Temperature of the skin of sea and land, without clouds' shade.

    Land warms with the sun, an hour and a half behind it, dry soil most; it cools at night. Snow does not exceed
    freezing. The sea has no day and night.

    Args:
      surface: the ground.
      window: where and when.
      time: UTC.
      air: temperature of the air at sea level, float32 [row, column], K.

    Returns:
      float32 [row, column], K.
    """
    sine = _sine_of_latitude(window)
    sea = 301.5 - 33 * sine**2 + 3 * sine * _season(time) + 1.1 * _CURRENTS.on_grid(window)
    sea = np.maximum(sea, 271.4)
    zenith, _ = geometry.solar_position(time, window.latitude[:, None], window.longitude - 22.5)
    sun = np.maximum(np.cos(np.radians(zenith)), 0)
    parts = surface.fractions()
    soil = parts["soil"] + parts["sand"]
    warming = 7 * parts["vegetation"] + (18 + 3 * surface.sandiness) * soil + 2 * parts["snow"]
    cooling = 3 * parts["vegetation"] + 7 * soil + 6 * parts["snow"]
    land = air - 6.5 * np.maximum(surface.elevation, 0) + warming * sun - cooling * (1 - sun) ** 3
    land = np.where(parts["snow"] > 0.5, np.minimum(land, 273.2), land)
    water = parts["ocean"] + parts["turbid"]
    return (water * sea + (1 - water) * land).astype(np.float32)
