"""One scene (ground, air and clouds of one tile at one time) and a satellite's view of it: parallax and cloud shadows.

Fields are float32; [row, column] is the tile's grid of 300 x 300 where nothing else is said.
"""

from dataclasses import astuple, dataclass
from datetime import datetime, timedelta

import numpy as np
from scipy.ndimage import map_coordinates

from satxlate_jax.geometry import tile_grid
from satxlate_jax.instruments import Satellite
from satxlate_jax.simulator import atmosphere, geometry
from satxlate_jax.simulator import surface as ground
from satxlate_jax.simulator.fractals import Window
from satxlate_jax.simulator.geometry import PIXELS, Direction

_MARGIN = 40  # pixels of sky around the tile, so that slant views and shadows from outside have something to meet
_INNER = (..., slice(_MARGIN, -_MARGIN), slice(_MARGIN, -_MARGIN))
_EPOCH = datetime(2019, 1, 1)
_LOWEST_SUN = 80.0  # degrees from the zenith; shadows of a lower sun stay this long
_PARALLAX_STEPS = 3


@dataclass(frozen=True)
class Scene:
    """The world before any satellite observes it."""

    tile: str  # such as 'h09v03'
    time: datetime  # UTC
    window: Window  # the tile's grid, the time and the seed
    surface: ground.Surface
    surface_temperature: np.ndarray  # K
    weather: atmosphere.Weather
    air: atmosphere.Atmosphere
    clouds: list[atmosphere.Cloud]  # the lowest first, with a margin of sky on every side of the tile
    sun: Direction
    sun_air_mass: np.ndarray  # slant path of sunlight


def _widen(axis: np.ndarray) -> np.ndarray:
    steps = np.arange(1, _MARGIN + 1) * (axis[1] - axis[0])
    return np.concatenate([axis[0] - steps[::-1], axis, axis[-1] + steps])


def build_scene(tile: str, time: datetime, seed: int) -> Scene:
    """The scene of a tile at a time in UTC; the same seed, tile and time give the same scene.

    Raises:
      InputError: there is no such tile.
    """
    latitude, longitude = tile_grid(tile, PIXELS)
    hours = (time - _EPOCH) / timedelta(hours=1)
    window = Window(seed, latitude, longitude, hours)
    wide = Window(seed, _widen(latitude), _widen(longitude), hours)

    temperature = ground.air_temperature(wide, time)
    surface = ground.build_surface(wide, temperature)
    weather = atmosphere.build_weather(wide, np.clip(0.5 - 4 * surface.elevation, 0, 1), temperature)
    clouds = atmosphere.build_clouds(wide, weather)

    surface = ground.Surface(*(field[_INNER] for field in astuple(surface)))
    weather = atmosphere.Weather(*(field[_INNER] for field in astuple(weather)))
    covered = sum(1 - np.exp(-atmosphere.optical_depth(layer.kind, layer.amount[_INNER])) for layer in clouds[1:])
    air = atmosphere.build_atmosphere(window, weather, np.minimum(covered, 1.2))
    skin = ground.surface_temperature(surface, window, time, weather.air)
    sun = geometry.solar_position(time, latitude[:, None], longitude[None, :])
    return Scene(tile, time, window, surface, skin, weather, air, clouds, sun, geometry.air_mass(sun[0]))


@dataclass(frozen=True)
class VisibleCloud(atmosphere.Cloud):
    """A layer of cloud as it appears to a satellite: displaced away from it."""

    offset: tuple[float, float]  # mean displacement, degrees north and east
    lit: np.ndarray  # optical depth along the sun's rays that reach the pixel's ground


@dataclass(frozen=True)
class View:
    """Contents of a satellite's pixels."""

    direction: Direction
    air_mass: np.ndarray  # slant path of the view
    clouds: list[VisibleCloud]
    heights: np.ndarray  # of the ground and of each layer's top where they are seen, [1 + layer, row, column], km
    level_weights: np.ndarray  # of the atmosphere's levels at those heights, [1 + layer, level, row, column]
    vapour: np.ndarray  # above those heights, [1 + layer, row, column], kg/m2


def _sample(field: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return map_coordinates(field, (rows, columns), output=np.float32, order=1, mode="nearest")


def _intersect(top: np.ndarray, rays: Direction, latitude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the wide grid at which rays from the tile's pixels meet a cloud top."""
    step = latitude[0] - latitude[1]
    rows, columns = np.meshgrid(np.arange(PIXELS) + _MARGIN, np.arange(PIXELS) + _MARGIN, indexing="ij")
    height = top[_INNER]
    for _ in range(_PARALLAX_STEPS):
        north, east = geometry.slant_offset(height, rays, latitude[:, None])
        met = rows - np.clip(north / step, -_MARGIN, _MARGIN), columns + np.clip(east / step, -_MARGIN, _MARGIN)
        height = _sample(top, *met)
    return met


def build_view(scene: Scene, satellite: Satellite) -> View:
    """The scene along the lines of sight from a satellite's place and along the sun's rays."""
    latitude, longitude = scene.window.latitude, scene.window.longitude
    direction = geometry.view_position(satellite.longitude, latitude[:, None], longitude[None, :])
    shade = np.minimum(scene.sun[0], np.float32(_LOWEST_SUN)), scene.sun[1]
    centre = PIXELS // 2
    central = direction[0][centre, centre], direction[1][centre, centre]
    clouds = []
    for layer in scene.clouds:
        met = _intersect(layer.top, direction, latitude)
        amount, top, ice, radius = (
            _sample(field, *met) for field in (layer.amount, layer.top, layer.ice, layer.radius)
        )
        north, east = geometry.slant_offset(float(top.mean()), central, latitude[centre])
        lit = _sample(layer.amount, *_intersect(layer.top, shade, latitude))
        lit = atmosphere.optical_depth(layer.kind, lit)
        clouds.append(VisibleCloud(layer.kind, amount, top, ice, radius, (float(north), float(east)), lit))
    heights = np.stack([np.maximum(scene.surface.elevation, 0), *(layer.top for layer in clouds)])
    weights, layers = atmosphere.level_weights(heights), scene.air.vapour
    above = np.concatenate([np.cumsum(layers[::-1], axis=0)[::-1], np.zeros_like(layers[:1])])
    vapour = np.einsum("hlij,lij->hij", weights, above)
    return View(direction, geometry.air_mass(direction[0]), clouds, heights, weights, vapour)
