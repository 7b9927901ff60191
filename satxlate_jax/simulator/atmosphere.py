"""Clear air on vertical levels, and clouds in four layers. Fields are float32 [row, column].

A column of air has a constant lapse rate up to the tropopause and constant temperature above it; vapour is relative
humidity times saturation (Magnus' formula as in the WMO's Guide to Instruments and Methods of Observation); carbon
dioxide and its like are well mixed; ozone lies in the stratosphere.

Clouds, from below: broken stratocumulus and cumulus; frontal sheets; deep convection, which climbs to the tropopause;
cirrus. Sheets and cirrus are fractals drawn out along a wind that bends, so that they form bands and fibres. A layer
is a dimensionless `amount`, which becomes optical depth above zero; finer structure is added to the amount.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from satxlate_jax.simulator.fractals import Fractal, Window

_LAPSE_RATE = 6.5  # K/km
LEVEL_STEP = 1.25  # km
LEVELS = np.arange(0, 17.6, LEVEL_STEP, dtype=np.float32)  # km above the sea; what lies higher is one layer
_HIGHEST = 17.3  # km, of any cloud

_HUMIDITY_LOW = Fractal("humidity low", longest=10, smoothness=0.8, drift=0.2, lifetime=24)
_HUMIDITY_MIDDLE = Fractal("humidity middle", longest=12, smoothness=0.8, stretch=2.5, drift=0.5, lifetime=30)
_HUMIDITY_HIGH = Fractal("humidity high", longest=14, smoothness=0.85, stretch=3, drift=0.8, lifetime=36)
_OZONE = Fractal("ozone", longest=20, smoothness=1.1, stretch=2, drift=0.5, lifetime=72)
_HAZE = Fractal("haze", longest=10, smoothness=0.8, drift=0.3, lifetime=48)

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

# Layer -> the field that continues its amount below the scene's pixels, and its strength
DETAIL = {
    "low": (Fractal("low detail", longest=0.42, smoothness=0.6, drift=0.25, lifetime=5), 0.5),
    "middle": (Fractal("middle detail", longest=0.8, smoothness=0.6, drift=0.5, lifetime=5), 0.22),
    "convection": (Fractal("convection detail", longest=0.5, smoothness=0.6, drift=0.3, lifetime=3), 0.15),
    "cirrus": (Fractal("cirrus detail", longest=0.8, smoothness=0.7, drift=0.8, lifetime=5), 0.3),
}
_DEPTH = {"low": 12.0, "middle": 8.0, "convection": 40.0, "cirrus": 1.1}  # optical depth at amount 1
RELIEF = {"low": 0.5, "middle": 0.5, "convection": 2.5, "cirrus": 0.0}  # km that the top rises from amount 0 to 1


@dataclass(frozen=True)
class Weather:
    """Temperature of the air, and what decides where clouds form."""

    # Latitude and longitude, [2, row, column], degrees, up to some degrees away from the true ones: a field that runs
    # from west to east meanders when it is evaluated there.
    bent_map: np.ndarray
    front: np.ndarray  # 0.75 on a front, -0.25 far from any
    sea: np.ndarray  # 1 over sea, 0 over land
    air: np.ndarray  # temperature at sea level, K
    tropopause: np.ndarray  # height, km

    def temperature(self, height: np.ndarray | float) -> np.ndarray:
        """Temperature of the air at a height (km, broadcast against the pixels), K."""
        return self.air - np.float32(_LAPSE_RATE) * np.minimum(height, self.tropopause)


@dataclass(frozen=True)
class Cloud:
    """One layer of cloud."""

    kind: str  # 'low', 'middle', 'convection' or 'cirrus'
    amount: np.ndarray  # dimensionless; see `optical_depth`
    top: np.ndarray  # height of the top, km above the sea
    ice: np.ndarray  # fraction of the particles that are ice, 0 to 1
    radius: np.ndarray  # size of the particles relative to the usual one of their phase

    @cached_property
    def depth(self) -> np.ndarray:
        """Optical depth in the visible, seen from above."""
        return optical_depth(self.kind, self.amount)


@dataclass(frozen=True)
class Atmosphere:
    """Contents of the clear air over each pixel."""

    vapour: np.ndarray  # of each layer between LEVELS, [layer, row, column], kg/m2
    ozone: np.ndarray  # column relative to 300 Dobson units
    haze: np.ndarray  # optical depth of aerosol at 0.55 um


def level_weights(heights: np.ndarray) -> np.ndarray:
    """Weights [height, level, row, column] that interpolate values on LEVELS to heights [height, row, column] in km."""
    places = np.clip(heights, LEVELS[0], LEVELS[-1]) / np.float32(LEVEL_STEP)
    return np.maximum(0, 1 - np.abs(places[:, None] - np.arange(LEVELS.size, dtype=np.float32)[:, None, None]))


def _tropics(window: Window) -> np.ndarray:
    """1 in the tropics, 0 towards the poles, [row, 1]."""
    return 1 / (1 + np.exp((np.abs(window.latitude) - 36) / 6))[:, None].astype(np.float32)


def build_weather(window: Window, sea: np.ndarray, air: np.ndarray) -> Weather:
    """Winds, fronts and the tropopause in a window; see `Weather`."""
    tropopause = np.clip(9.5 + 6.5 * _tropics(window) + 0.05 * (air - 290), 8, LEVELS[-1])
    north = window.latitude[:, None].astype(np.float32) + 2.6 * _WIND_NORTH.on_grid(window, finest=0.3)
    east = window.longitude[None, :].astype(np.float32) + 2.2 * _WIND_EAST.on_grid(window, finest=0.3)
    # A front is where a slowly varying field crosses zero: a long, narrow band.
    bent_map = np.stack([north, east])
    distance = _FRONT.on_map(window, bent_map, finest=0.5)
    return Weather(bent_map, np.exp(-((distance / 0.45) ** 2)) - 0.25, sea, air, tropopause)


def build_atmosphere(window: Window, weather: Weather, moistening: np.ndarray) -> Atmosphere:
    """The clear air of a scene; clouds add `moistening`, 0 to about 1, to the middle and upper air."""
    low = np.clip(0.76 + 0.07 * _HUMIDITY_LOW.on_grid(window), 0.3, 0.98)
    middle = _HUMIDITY_MIDDLE.on_map(window, weather.bent_map, finest=0.15)
    middle = np.clip(np.exp(-1.1 + 0.55 * middle + 0.8 * moistening), 0.05, 0.95)
    high = _HUMIDITY_HIGH.on_map(window, weather.bent_map, finest=0.15)
    high = np.clip(np.exp(-1.3 + 0.55 * high + 1.0 * moistening), 0.04, 1.0)
    vapour = []
    for height in LEVELS[:-1] + np.float32(LEVEL_STEP / 2):
        temperature = weather.temperature(height)
        to_middle = np.clip((height - 0.9) / 2.2, 0, 1)
        to_high = np.clip((height - 5) / 3, 0, 1)
        humidity = low * (1 - to_middle) + (middle * (1 - to_high) + high * to_high) * to_middle
        humidity = 0.02 + (humidity - 0.02) * np.clip((weather.tropopause + 1 - height) / 2, 0, 1)
        celsius = temperature - np.float32(273.15)
        saturation = 611.2 * np.exp(17.62 * celsius / (243.12 + celsius)) / (461.5 * temperature)  # kg/m3
        vapour.append(humidity * saturation.astype(np.float32) * np.float32(LEVEL_STEP * 1000))
    ozone = 1.15 - 0.3 * _tropics(window) + 0.1 * _OZONE.on_map(window, weather.bent_map, finest=0.8)
    haze = 0.1 * np.exp(0.7 * _HAZE.on_map(window, weather.bent_map, finest=0.2))
    return Atmosphere(np.stack(vapour).astype(np.float32), ozone.astype(np.float32), haze.astype(np.float32))


def optical_depth(kind: str, amount: np.ndarray) -> np.ndarray:
    """Optical depth in the visible, 0 where the amount is below -0.1, with a soft edge."""
    edge = np.float32(0.1)
    # A parabola from -edge to +edge, then a straight line: smooth, and exactly zero outside clouds.
    inside = np.clip(amount + edge, 0, 2 * edge)
    grown = inside * inside / (4 * edge) + np.maximum(amount - edge, 0)
    return np.float32(_DEPTH[kind]) * grown * np.sqrt(grown)


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


def build_clouds(window: Window, weather: Weather) -> list[Cloud]:
    """The cloud layers in a window, the lowest first; their tops never cross."""
    height = _HEIGHT.on_grid(window, finest=0.2)
    parts = {"low": _low(window, weather, height), "middle": _middle(window, weather, height)}
    parts |= _high(window, weather, height)
    layers = []
    for kind, (amount, top) in parts.items():
        ice = np.clip((268 - weather.temperature(top)) / 32, 0, 1) ** 1.5
        sizes = Fractal(f"particle size {kind}", longest=4, smoothness=0.45, drift=0.4, lifetime=12)
        radius = np.exp(0.3 * sizes.on_grid(window, finest=0.08))
        layers.append(Cloud(kind, *(field.astype(np.float32) for field in (amount, top, ice, radius))))
    return layers
