"""Clouds in four layers, each with optical depth, height, phase and particle size.

From below: broken stratocumulus and cumulus; frontal sheets; deep convection, which climbs to the tropopause; cirrus.
Sheets and cirrus are fractals drawn out along a wind that bends, so that they form bands and fibres. A layer is known
by its `amount`, a dimensionless field that becomes optical depth above zero; finer structure is added to the amount.
"""

from dataclasses import dataclass

import numpy as np

from satxlate_jax.simulator.atmosphere import LAPSE_RATE
from satxlate_jax.simulator.fractals import Fractal, Window

_WIND_NORTH = Fractal("wind north", longest=13, smoothness=1.1, drift=0.4, lifetime=48)
_WIND_EAST = Fractal("wind east", longest=11, smoothness=1.1, drift=0.4, lifetime=48)
_FRONT = Fractal("front", longest=17, smoothness=0.9, stretch=1.8, drift=0.4, lifetime=40)
_LOW = Fractal("low", longest=7, smoothness=0.6, stretch=1.4, drift=0.25, lifetime=20)
_CELLS = Fractal("cells", longest=0.42, smoothness=0.9, drift=0.25, lifetime=5)
_CUMULUS = Fractal("cumulus", longest=0.35, smoothness=0.35, drift=0.25, lifetime=3)
_REGIME = Fractal("regime", longest=5, smoothness=1.0, drift=0.25, lifetime=20)
_MIDDLE = Fractal("middle", longest=6, smoothness=0.6, stretch=2.6, drift=0.5, lifetime=20)
_CONVECTION = Fractal("convection", longest=3.5, smoothness=0.75, drift=0.3, lifetime=8)
_CIRRUS = Fractal("cirrus", longest=7, smoothness=0.5, stretch=6, drift=0.8, lifetime=24)
_SHIELD = Fractal("cirrus shield", longest=9, smoothness=0.9, stretch=2, drift=0.8, lifetime=30)
_HEIGHT = Fractal("cloud height", longest=6, smoothness=0.9, drift=0.5, lifetime=24)

_HIGHEST = 17.3  # km, of any cloud

# Layer -> what continues its amount below the scene's pixels, and how strongly.
_DETAIL = {
    "low": (Fractal("low detail", longest=0.42, smoothness=0.6, drift=0.25, lifetime=5), 0.5),
    "middle": (Fractal("middle detail", longest=0.8, smoothness=0.6, drift=0.5, lifetime=5), 0.22),
    "convection": (Fractal("convection detail", longest=0.5, smoothness=0.6, drift=0.3, lifetime=3), 0.15),
    "cirrus": (Fractal("cirrus detail", longest=0.8, smoothness=0.7, drift=0.8, lifetime=5), 0.3),
}
_DEPTH = {"low": 12.0, "middle": 8.0, "convection": 40.0, "cirrus": 1.1}  # optical depth at amount 1
RELIEF = {"low": 0.5, "middle": 0.5, "convection": 2.5, "cirrus": 0.0}  # km that the top rises from amount 0 to 1


@dataclass(frozen=True)
class CloudLayer:
    """One layer of cloud, each field float32 [row, column].

    Attributes:
      kind: 'low', 'middle', 'convection' or 'cirrus'.
      amount: dimensionless; see `optical_depth`.
      top: height of the top, km above the sea.
      ice: fraction of the particles that are ice, 0 to 1.
      radius: size of the particles relative to the usual one of their phase.
    """

    kind: str
    amount: np.ndarray
    top: np.ndarray
    ice: np.ndarray
    radius: np.ndarray


@dataclass(frozen=True)
class Weather:
    """What decides where clouds form.

    Attributes:
      bent_map: latitude and longitude, float32 [row, column] each, degrees, up to some degrees away from the true
        ones: a field that runs from west to east meanders when it is looked up there.
      front: 0.75 on a front, -0.25 far from any, float32 [row, column].
      sea: 1 over sea, 0 over land, float32 [row, column].
      air: temperature at sea level, float32 [row, column], K.
      tropopause: its height, float32 [row, column], km.
    """

    bent_map: tuple[np.ndarray, np.ndarray]
    front: np.ndarray
    sea: np.ndarray
    air: np.ndarray
    tropopause: np.ndarray


def optical_depth(kind: str, amount: np.ndarray) -> np.ndarray:
    """Optical depth in the visible, 0 where the amount is below -0.1, with a soft edge."""
    edge = np.float32(0.1)
    # A parabola from -edge to +edge, then a straight line: smooth, and exactly zero outside clouds.
    inside = np.clip(amount + edge, 0, 2 * edge)
    grown = inside * inside / (4 * edge) + np.maximum(amount - edge, 0)
    return np.float32(_DEPTH[kind]) * grown * np.sqrt(grown)


def detail(kind: str, window: Window, finest: float) -> np.ndarray:
    """Structures of a layer's amount that are finer than the scene's pixels.

    Args:
      kind: of the layer.
      window: the fine grid.
      finest: wavelength of the finest structures, degrees.

    Returns:
      float32 [row, column], dimensionless.
    """
    fractal, strength = _DETAIL[kind]
    return np.float32(strength) * fractal.on_grid(window, finest, coarsest=0.05)


def build_weather(window: Window, sea: np.ndarray, air: np.ndarray, tropopause: np.ndarray) -> Weather:
    """Winds and fronts in a window; see `Weather`."""
    north = window.latitude[:, None].astype(np.float32) + 2.6 * _WIND_NORTH.on_grid(window, finest=0.3)
    east = window.longitude[None, :].astype(np.float32) + 2.2 * _WIND_EAST.on_grid(window, finest=0.3)
    # A front is where a slowly varying field crosses zero: a long, narrow band.
    distance = _FRONT.on_map(window, (north, east), finest=0.5)
    return Weather((north, east), np.exp(-((distance / 0.45) ** 2)) - 0.25, sea, air, tropopause)


def _low(window: Window, weather: Weather, height: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # Zero lines of a small field divide the plane into cells. Dark lines are closed cells of stratocumulus, bright
    # ones open cells; which of them, the regime decides. Cumulus are the peaks of another field.
    regime = _REGIME.on_grid(window, finest=0.5)
    cells = np.clip(2.2 * regime, -1, 1) * (np.abs(_CELLS.on_grid(window)) - 0.7)
    sheet = 0.75 * _LOW.on_map(window, weather.bent_map) + 0.75 * cells
    sheet = sheet + 0.6 * (weather.sea - 0.6) - 0.2 * weather.front - 0.32
    puffs = 0.8 * _CUMULUS.on_grid(window) + 0.35 * regime - 1.0
    amount = np.maximum(sheet, np.minimum(puffs, sheet + 1.6))
    return amount, np.clip(1.4 + 0.5 * height + 0.7 * np.clip(amount, 0, 1.5), 0.5, 3.4)


def _middle(window: Window, weather: Weather, height: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    storms = 1 / (1 + np.exp((29 - np.abs(window.latitude)) / 6))[:, None].astype(np.float32)
    amount = 0.75 * _MIDDLE.on_map(window, weather.bent_map) + (1.0 + 0.9 * storms) * weather.front - 1.08
    top = 5.2 + 0.9 * height + 0.9 * np.clip(amount, 0, 1.5)
    return amount, np.clip(top, 3.6, weather.tropopause - 1)


def _high(window: Window, weather: Weather, height: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Towers of deep convection, and the cirrus above and around them."""
    unstable = 0.045 * (weather.air - 291) + 0.5 * weather.front
    towers = 0.75 * _CONVECTION.on_grid(window) + unstable - 1.3
    rising = 1 - np.exp(-np.maximum(towers, 0) / 0.3)
    towers_top = np.minimum(6.5 + (weather.tropopause + 0.4 - 6.5) * rising, _HIGHEST - 0.15)
    # The anvil: cirrus in a wide, smooth surrounding of the towers.
    anvil = np.clip(0.75 * _CONVECTION.on_grid(window, finest=0.5) + unstable - 0.95, 0, 0.9)
    cirrus = 0.7 * _CIRRUS.on_map(window, weather.bent_map)
    cirrus = cirrus + 0.9 * _SHIELD.on_map(window, weather.bent_map, finest=0.3)
    cirrus = cirrus + 0.7 * weather.front + 1.3 * anvil - 0.86
    cirrus_top = np.clip(weather.tropopause - 1.6 + 0.8 * height, 7.0, _HIGHEST)
    return {"convection": (towers, towers_top), "cirrus": (cirrus, np.maximum(cirrus_top, towers_top + 0.15))}


def build_clouds(window: Window, weather: Weather) -> list[CloudLayer]:
    """The cloud layers in a window, the lowest first; their tops never cross."""
    height = _HEIGHT.on_grid(window, finest=0.2)
    parts = {"low": _low(window, weather, height), "middle": _middle(window, weather, height)}
    parts |= _high(window, weather, height)
    layers = []
    for kind, (amount, top) in parts.items():
        temperature = weather.air - LAPSE_RATE * np.minimum(top, weather.tropopause)
        ice = np.clip((268 - temperature) / 32, 0, 1) ** 1.5
        sizes = Fractal(f"particle size {kind}", longest=4, smoothness=0.45, drift=0.4, lifetime=12)
        radius = np.exp(0.3 * sizes.on_grid(window, finest=0.08))
        layers.append(CloudLayer(kind, *(field.astype(np.float32) for field in (amount, top, ice, radius))))
    return layers
