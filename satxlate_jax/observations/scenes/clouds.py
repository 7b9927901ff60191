"""Clouds in four layers, each with optical depth, height, phase and particle size.

From below: broken stratocumulus and cumulus; frontal sheets; deep convection, which climbs to the tropopause; cirrus.
Sheets and cirrus are fractals drawn out along a wind that bends, so that they form bands and fibres. A layer is known
by its `amount`, a dimensionless field that becomes optical depth above zero; finer structure is added to the amount.
"""

from dataclasses import dataclass

import numpy as np

from satxlate_jax.observations.scenes.fractals import Fractal

_WARP_NORTH = Fractal("wind north", longest=13, smoothness=1.1, drift=0.4, lifetime=48)
_WARP_EAST = Fractal("wind east", longest=11, smoothness=1.1, drift=0.4, lifetime=48)
_FRONT = Fractal("front", longest=17, smoothness=0.9, stretch=1.8, drift=0.4, lifetime=40)
_CELLS = Fractal("cells", longest=0.42, smoothness=0.9, drift=0.25, lifetime=5)
_CUMULUS = Fractal("cumulus", longest=0.35, smoothness=0.35, drift=0.25, lifetime=3)
_REGIME = Fractal("regime", longest=5, smoothness=1.0, drift=0.25, lifetime=20)
_LOW = Fractal("low", longest=7, smoothness=0.6, stretch=1.4, drift=0.25, lifetime=20)
_MIDDLE = Fractal("middle", longest=6, smoothness=0.6, stretch=2.6, drift=0.5, lifetime=20)
_CONVECTION = Fractal("convection", longest=3.5, smoothness=0.75, drift=0.3, lifetime=8)
_CIRRUS = Fractal("cirrus", longest=7, smoothness=0.5, stretch=6, drift=0.8, lifetime=24)
_SHIELD = Fractal("cirrus shield", longest=9, smoothness=0.9, stretch=2, drift=0.8, lifetime=30)
_HEIGHT = Fractal("cloud height", longest=6, smoothness=0.9, drift=0.5, lifetime=24)
_PARTICLES = Fractal("particle size", longest=4, smoothness=0.6, drift=0.4, lifetime=12)

_DETAIL = {  # layer -> what continues its amount below the scene's pixels, and how strongly
    "low": (Fractal("low detail", longest=0.42, smoothness=0.6, drift=0.25, lifetime=5), 0.5),
    "middle": (Fractal("middle detail", longest=0.8, smoothness=0.6, drift=0.5, lifetime=5), 0.4),
    "convection": (Fractal("convection detail", longest=0.5, smoothness=0.6, drift=0.3, lifetime=3), 0.35),
    "cirrus": (Fractal("cirrus detail", longest=0.8, smoothness=0.7, drift=0.8, lifetime=5), 0.3),
}


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


_DEPTH = {"low": 9.0, "middle": 8.0, "convection": 40.0, "cirrus": 1.1}  # optical depth at amount 1


def optical_depth(kind: str, amount: np.ndarray) -> np.ndarray:
    """Optical depth in the visible, 0 where the amount is below -0.1, with a soft edge."""
    edge = np.float32(0.1)
    # A parabola from -edge to +edge, then a straight line: smooth, and exactly zero outside clouds.
    inside = np.clip(amount + edge, 0, 2 * edge)
    grown = inside * inside / (4 * edge) + np.maximum(amount - edge, 0)
    return np.float32(_DEPTH[kind]) * grown * np.sqrt(grown)


def detail(
    kind: str, seed: int, latitude: np.ndarray, longitude: np.ndarray, hours: float, finest: float
) -> np.ndarray:
    """Structures of a layer's amount that are finer than the scene's pixels.

    Args:
      kind: of the layer.
      seed: of everything random.
      latitude: [row] of the fine grid, degrees north.
      longitude: [column] of the fine grid, degrees east.
      hours: since some fixed moment.
      finest: wavelength of the finest structures, degrees.

    Returns:
      float32 [row, column], dimensionless.
    """
    fractal, strength = _DETAIL[kind]
    return np.float32(strength) * fractal.on_grid(seed, latitude, longitude, hours, finest, coarsest=0.05)


def bend_wind(seed: int, latitude: np.ndarray, longitude: np.ndarray, hours: float) -> tuple[np.ndarray, np.ndarray]:
    """A map drawn out along the wind: fields that run from west to east on it meander on the Earth.

    Returns:
      Latitudes and longitudes, float32 [row, column], degrees, up to some degrees away from the true ones.
    """
    north = 2.6 * _WARP_NORTH.on_grid(seed, latitude, longitude, hours, finest=0.3)
    east = 2.2 * _WARP_EAST.on_grid(seed, latitude, longitude, hours, finest=0.3)
    return (
        north + latitude[:, None].astype(np.float32),
        east + longitude[None, :].astype(np.float32),
    )


def front_strength(seed: int, warp: tuple[np.ndarray, np.ndarray], hours: float) -> np.ndarray:
    """How near a front is, from 0 far away to 1 on it: narrow where a slowly varying field crosses zero."""
    distance = _FRONT.at(seed, *warp, hours, finest=0.5)
    return np.exp(-((distance / 0.45) ** 2)) - 0.25


def _ice_fraction(temperature: np.ndarray) -> np.ndarray:
    return np.clip((268 - temperature) / 32, 0, 1) ** 1.5


def build_clouds(
    seed: int,
    latitude: np.ndarray,
    longitude: np.ndarray,
    hours: float,
    warp: tuple[np.ndarray, np.ndarray],
    front: np.ndarray,
    warm_sea: np.ndarray,
    tropopause: np.ndarray,
    air: np.ndarray,
) -> list[CloudLayer]:
    """The cloud layers of a scene, the lowest first.

    Args:
      seed: of everything random.
      latitude: [row], degrees north.
      longitude: [column], degrees east.
      hours: since some fixed moment.
      warp: from `bend_wind`.
      front: from `front_strength`.
      warm_sea: 1 over sea, 0 over land, [row, column].
      tropopause: height, [row, column], km.
      air: temperature at sea level, [row, column], K.
    """
    grid = (seed, latitude, longitude, hours)
    height = _HEIGHT.on_grid(*grid, finest=0.2)
    storms = np.float32(1) / (1 + np.exp((29 - np.abs(latitude)) / 6))[:, None].astype(np.float32)

    # Cells: the zero lines of a small field divide the plane; dark lines are closed cells of stratocumulus, bright
    # lines open ones. Cumulus are the peaks of another.
    cells = np.clip(2.2 * _REGIME.on_grid(*grid, finest=0.5), -1, 1) * (np.abs(_CELLS.on_grid(*grid)) - 0.7)
    sheet = 0.75 * _LOW.at(seed, *warp, hours) + 0.75 * cells + 0.6 * (warm_sea - 0.6) - 0.2 * front - 0.2
    puffs = 0.8 * _CUMULUS.on_grid(*grid) + 0.35 * _REGIME.on_grid(*grid, finest=0.5) - 1.0
    low = np.maximum(sheet, np.minimum(puffs, sheet + 1.6))
    low_top = np.clip(1.4 + 0.5 * height + 0.7 * np.clip(low, 0, 1.5), 0.5, 3.4)

    middle = 0.75 * _MIDDLE.at(seed, *warp, hours) + (1.0 + 0.9 * storms) * front - 0.95
    middle_top = np.clip(5.2 + 0.9 * height + 0.9 * np.clip(middle, 0, 1.5), 3.6, tropopause - 1)

    convection = 0.75 * _CONVECTION.on_grid(*grid) + 0.045 * (air - 291) + 0.5 * front - 1.3
    rising = 1 - np.exp(-np.maximum(convection, 0) / 0.3)
    convection_top = np.minimum(3.5 + (tropopause + 0.4 - 3.5) * rising, 17.2)
    convection_top = np.maximum(convection_top, middle_top * 0.8)

    # The anvil: cirrus in a wide, smooth surrounding of the towers.
    anvil = np.maximum(0.75 * _CONVECTION.on_grid(*grid, finest=0.5) + 0.045 * (air - 291) + 0.5 * front - 0.95, 0)
    cirrus = 0.7 * _CIRRUS.at(seed, *warp, hours) + 0.9 * _SHIELD.at(seed, *warp, hours, finest=0.3)
    cirrus = cirrus + 0.7 * front + 1.3 * np.minimum(anvil, 0.9) - 0.75
    cirrus_top = np.clip(tropopause - 1.6 + 0.8 * height, 7.0, 17.2)
    cirrus_top = np.maximum(cirrus_top, np.minimum(convection_top + 0.15, 17.3))

    layers = []
    tops = {"low": low_top, "middle": middle_top, "convection": convection_top, "cirrus": cirrus_top}
    amounts = {"low": low, "middle": middle, "convection": convection, "cirrus": cirrus}
    for kind, top in tops.items():
        temperature = air - 6.5 * np.minimum(top, tropopause)
        sizes = Fractal(f"{_PARTICLES.name} {kind}", _PARTICLES.longest, _PARTICLES.smoothness, lifetime=12)
        radius = np.exp(0.3 * sizes.on_grid(*grid, finest=0.3))
        fields = (amounts[kind], top, _ice_fraction(temperature), radius)
        layers.append(CloudLayer(kind, *(field.astype(np.float32) for field in fields)))
    return layers
