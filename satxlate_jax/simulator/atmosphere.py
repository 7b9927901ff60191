"""The clear air: temperature, water vapour and ozone on a few levels, and what they let through.

A column is a constant lapse rate up to the tropopause and constant temperature above it; vapour is relative humidity
times saturation (Magnus' formula as in the WMO's Guide to Instruments and Methods of Observation); carbon dioxide and
its like are well mixed; ozone lies in the stratosphere.
"""

from dataclasses import dataclass

import numpy as np

from satxlate_jax.simulator.fractals import Fractal, Window
from satxlate_jax.simulator.spectra import planck, spectral

LAPSE_RATE = 6.5  # K/km
LEVEL_STEP = 1.25  # km
LEVELS = np.arange(0, 17.6, LEVEL_STEP, dtype=np.float32)  # km above the sea; what lies higher is one layer
_NEAR_INFRARED_POWER = 0.55  # of the absorber amount in strong lines
_MIXED_SCALE_HEIGHT = 5.0  # km; absorption falls off faster than density, because lines narrow with pressure

_HUMIDITY_LOW = Fractal("humidity low", longest=10, smoothness=0.8, drift=0.2, lifetime=24)
_HUMIDITY_MIDDLE = Fractal("humidity middle", longest=12, smoothness=0.8, stretch=2.5, drift=0.5, lifetime=30)
_HUMIDITY_HIGH = Fractal("humidity high", longest=14, smoothness=0.85, stretch=3, drift=0.8, lifetime=36)
_OZONE = Fractal("ozone", longest=20, smoothness=1.1, stretch=2, drift=0.5, lifetime=72)
_HAZE = Fractal("haze", longest=10, smoothness=0.8, drift=0.3, lifetime=48)


@dataclass(frozen=True)
class Atmosphere:
    """Clear air over each pixel.

    Attributes:
      sea_level_temperature: of the air, float32 [row, column], K.
      tropopause: height, float32 [row, column], km.
      vapour: water vapour of each layer between LEVELS, float32 [layer, row, column], kg/m2.
      ozone: column relative to 300 Dobson units, float32 [row, column].
      haze: optical depth of aerosol at 0.55 um, float32 [row, column].
    """

    sea_level_temperature: np.ndarray
    tropopause: np.ndarray
    vapour: np.ndarray
    ozone: np.ndarray
    haze: np.ndarray

    def temperature(self, height: np.ndarray | float) -> np.ndarray:
        """Temperature at a height (km, broadcast against the pixels), K."""
        return self.sea_level_temperature - np.float32(LAPSE_RATE) * np.minimum(height, self.tropopause)

    def vapour_above(self, weights: np.ndarray) -> np.ndarray:
        """Water vapour above some heights.

        Args:
          weights: from `level_weights`, [height, level, row, column].

        Returns:
          float32 [height, row, column], kg/m2.
        """
        above = np.concatenate([np.cumsum(self.vapour[::-1], axis=0)[::-1], np.zeros_like(self.vapour[:1])])
        return np.einsum("hlij,lij->hij", weights, above)


def _saturation_density(temperature: np.ndarray) -> np.ndarray:
    celsius = temperature - np.float32(273.15)
    pressure = 611.2 * np.exp(17.62 * celsius / (243.12 + celsius))  # Pa
    return (pressure / (461.5 * temperature)).astype(np.float32)  # kg/m3


def _tropics(window: Window) -> np.ndarray:
    """1 in the tropics, 0 towards the poles, float32 [row, 1]."""
    return 1 / (1 + np.exp((np.abs(window.latitude) - 36) / 6))[:, None].astype(np.float32)


def tropopause_height(window: Window, air: np.ndarray) -> np.ndarray:
    """Height of the tropopause, float32 [row, column], km: high in the tropics and over warm air (sea level, K)."""
    return np.clip(9.5 + 6.5 * _tropics(window) + 0.05 * (air - 290), 8, LEVELS[-1])


def build_atmosphere(
    window: Window,
    air: np.ndarray,
    tropopause: np.ndarray,
    bent_map: tuple[np.ndarray, np.ndarray],
    moistening: np.ndarray,
) -> Atmosphere:
    """The clear air of a scene.

    Args:
      window: where and when.
      air: temperature at sea level, float32 [row, column], K.
      tropopause: its height, float32 [row, column], km.
      bent_map: see `clouds.Weather`; humidity and ozone are drawn out along the wind.
      moistening: what clouds add to the middle and upper air, float32 [row, column], 0 to about 1.
    """
    low = np.clip(0.76 + 0.07 * _HUMIDITY_LOW.on_grid(window), 0.3, 0.98)
    middle = np.exp(-1.1 + 0.55 * _HUMIDITY_MIDDLE.on_map(window, bent_map, finest=0.15) + 0.8 * moistening)
    high = np.exp(-1.3 + 0.55 * _HUMIDITY_HIGH.on_map(window, bent_map, finest=0.15) + 1.0 * moistening)
    middle, high = np.clip(middle, 0.05, 0.95), np.clip(high, 0.04, 1.0)
    vapour = []
    for height in LEVELS[:-1] + np.float32(LEVEL_STEP / 2):
        temperature = air - LAPSE_RATE * np.minimum(height, tropopause)
        to_middle = np.clip((height - 0.9) / 2.2, 0, 1)
        to_high = np.clip((height - 5) / 3, 0, 1)
        humidity = low * (1 - to_middle) + (middle * (1 - to_high) + high * to_high) * to_middle
        humidity = 0.02 + (humidity - 0.02) * np.clip((tropopause + 1 - height) / 2, 0, 1)
        vapour.append(humidity * _saturation_density(temperature) * np.float32(LEVEL_STEP * 1000))
    ozone = 1.15 - 0.3 * _tropics(window) + 0.1 * _OZONE.on_map(window, bent_map, finest=0.8)
    haze = 0.1 * np.exp(0.7 * _HAZE.on_map(window, bent_map, finest=0.2))
    return Atmosphere(*(field.astype(np.float32) for field in (air, tropopause, np.stack(vapour), ozone, haze)))


def level_weights(heights: np.ndarray) -> np.ndarray:
    """Weights by which values on LEVELS give values at heights (linear interpolation).

    Args:
      heights: float32 [height, row, column], km; clipped to the levels.

    Returns:
      float32 [height, level, row, column].
    """
    places = np.clip(heights, LEVELS[0], LEVELS[-1]) / np.float32(LEVEL_STEP)
    return np.maximum(0, 1 - np.abs(places[:, None] - np.arange(LEVELS.size, dtype=np.float32)[:, None, None]))


def thermal_column(
    atmosphere: Atmosphere, wavelength: float, view_air_mass: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What the air above some heights lets through and emits towards a satellite.

    Args:
      atmosphere: the air.
      wavelength: um.
      view_air_mass: slant path of the view, float32 [row, column].
      weights: from `level_weights`, of the heights wanted.

    Returns:
      Transmission (1) and radiance (W m-2 sr-1 um-1) of the air above each height, float32 [height, row, column].
    """
    lines, continuum = (np.float32(spectral(name, wavelength)) for name in ("vapour_lines", "vapour_continuum"))
    mixed = np.float32(spectral("mixed_gases", wavelength))
    stratosphere = np.float32(spectral("ozone", wavelength)) * atmosphere.ozone
    stratosphere = stratosphere + mixed * np.exp(-LEVELS[-1] / np.float32(_MIXED_SCALE_HEIGHT))
    through = np.exp(-stratosphere * view_air_mass)
    warmer = np.float32(8)  # K: where ozone lies it is warmer than at the tropopause
    emitted = (1 - through) * planck(wavelength, atmosphere.temperature(LEVELS[-1]) + warmer)
    transmission = weights[:, -1] * through
    radiance = weights[:, -1] * emitted
    for layer in range(LEVELS.size - 2, -1, -1):
        bottom = LEVELS[layer]
        vapour = atmosphere.vapour[layer]
        depth = vapour * (lines + continuum * vapour / np.float32(LEVEL_STEP * 1000))
        profile = np.exp(-np.array([bottom, bottom + LEVEL_STEP]) / _MIXED_SCALE_HEIGHT)
        depth = depth + mixed * np.float32(profile[0] - profile[1])
        below = through * np.exp(-depth * view_air_mass)
        emitted = emitted + (through - below) * planck(wavelength, atmosphere.temperature(bottom + LEVEL_STEP / 2))
        through = below
        transmission += weights[:, layer] * through
        radiance += weights[:, layer] * emitted
    return transmission, radiance


def solar_transmission(
    atmosphere: Atmosphere, wavelength: float, two_way_air_mass: np.ndarray, vapour: np.ndarray, heights: np.ndarray
) -> np.ndarray:
    """Transmission of sunlight down to some heights and up to the satellite, gases only.

    Args:
      atmosphere: the air.
      wavelength: um, below 4.
      two_way_air_mass: slant paths of sun and view together, float32 [row, column].
      vapour: water vapour above each height, float32 [height, row, column], kg/m2.
      heights: float32 [height, row, column], km.

    Returns:
      float32 [height, row, column], dimensionless.
    """
    lines, mixed, ozone = (
        np.float32(spectral(name, wavelength)) for name in ("vapour_near_infrared", "mixed_gases", "ozone")
    )
    depth = ozone * atmosphere.ozone * two_way_air_mass
    depth = depth + lines * (np.maximum(vapour, 0) * two_way_air_mass) ** np.float32(_NEAR_INFRARED_POWER)
    if mixed:
        depth = depth + mixed * np.exp(heights / np.float32(-_MIXED_SCALE_HEIGHT)) * two_way_air_mass
    return np.exp(-depth)
