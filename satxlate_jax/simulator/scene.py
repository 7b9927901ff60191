"""One scene: ground, air and clouds of a tile at a moment, before any satellite looks at it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from satxlate_jax.geometry import tile_grid
from satxlate_jax.simulator import geometry
from satxlate_jax.simulator.atmosphere import Atmosphere, build_atmosphere, tropopause_height
from satxlate_jax.simulator.clouds import CloudLayer, build_clouds, build_weather, optical_depth
from satxlate_jax.simulator.fractals import Window
from satxlate_jax.simulator.surface import Surface, air_temperature, build_surface, surface_temperature

PIXELS = 300  # along a side of a tile on the scene's grid, 0.02 degrees
MARGIN = 40  # pixels of sky around the tile, so that slant views and shadows from outside have something to meet
_EPOCH = datetime(2019, 1, 1)


@dataclass(frozen=True)
class Scene:
    """What is there, whoever looks.

    Ground and air are on the tile's grid of 300 x 300; clouds reach MARGIN pixels farther on every side.

    Attributes:
      tile: such as 'h09v03'.
      time: UTC.
      window: the tile's grid, the time and the seed.
      surface: the ground.
      surface_temperature: float32 [row, column], K.
      atmosphere: the clear air.
      clouds: the layers, the lowest first.
      wind_speed: near the sea, float32 [row, column], m/s.
      sun_zenith: float32 [row, column], degrees.
      sun_azimuth: float32 [row, column], degrees clockwise from north.
    """

    tile: str
    time: datetime
    window: Window
    surface: Surface
    surface_temperature: np.ndarray
    atmosphere: Atmosphere
    clouds: list[CloudLayer]
    wind_speed: np.ndarray
    sun_zenith: np.ndarray
    sun_azimuth: np.ndarray


def _widen(axis: np.ndarray) -> np.ndarray:
    step = axis[1] - axis[0]
    steps = np.arange(1, MARGIN + 1) * step
    return np.concatenate([axis[0] - steps[::-1], axis, axis[-1] + steps])


def build_scene(tile: str, time: datetime, seed: int) -> Scene:
    """The scene of a tile at a moment.

    Args:
      tile: such as 'h09v03'.
      time: UTC, without a time zone.
      seed: of the geography and the weather; the same seed, tile and time give the same scene.

    Raises:
      InputError: there is no such tile.
    """
    latitude, longitude = tile_grid(tile, PIXELS)
    hours = (time - _EPOCH) / timedelta(hours=1)
    window = Window(seed, latitude, longitude, hours)
    wide = Window(seed, _widen(latitude), _widen(longitude), hours)
    inner = (slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))

    air = air_temperature(wide, time)
    ground = build_surface(wide, air)
    sea = np.clip(0.5 - 4 * ground.elevation, 0, 1)
    weather = build_weather(wide, sea, air, tropopause_height(wide, air))
    clouds = build_clouds(wide, weather)

    fields = (ground.elevation, ground.greenness, ground.sandiness, ground.snow_line)
    surface = Surface(*(field[inner] for field in fields))
    covered = sum(1 - np.exp(-optical_depth(layer.kind, layer.amount[inner])) for layer in clouds[1:])
    bent_map = tuple(axis[inner] for axis in weather.bent_map)
    atmosphere = build_atmosphere(
        window, air[inner], weather.tropopause[inner], bent_map, moistening=np.minimum(covered, 1.2)
    )
    skin = surface_temperature(surface, window, time, air[inner])
    sun = geometry.solar_position(time, latitude[:, None], longitude[None, :])
    wind = (4.5 + 2.5 * weather.front[inner]).astype(np.float32)
    return Scene(tile, time, window, surface, skin, atmosphere, clouds, wind, *sun)
