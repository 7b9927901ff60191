"""One scene: ground, air and clouds of a tile at a moment, before any satellite looks at it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from satxlate_jax.observations.grid import tile_grid
from satxlate_jax.observations.scenes import geometry
from satxlate_jax.observations.scenes.atmosphere import Atmosphere, build_atmosphere
from satxlate_jax.observations.scenes.clouds import CloudLayer, bend_wind, build_clouds, front_strength, optical_depth
from satxlate_jax.observations.scenes.surface import Surface, air_temperature, build_surface, surface_temperature

PIXELS = 300  # along a side of a tile on the scene's grid, 0.02 degrees
MARGIN = 40  # pixels of sky around the tile, so that slant views and shadows from outside have something to meet
_EPOCH = datetime(2019, 1, 1)


@dataclass(frozen=True)
class Scene:
    """What is there, whoever looks.

    Ground and air are on the tile's grid of 300 x 300; clouds reach MARGIN pixels farther on every side.

    Attributes:
      seed: of everything random.
      tile: such as 'h09v03'.
      time: UTC.
      hours: the same since a fixed moment.
      latitude: [row], degrees north.
      longitude: [column], degrees east.
      surface: the ground.
      surface_temperature: float32 [row, column], K.
      atmosphere: the clear air.
      clouds: the layers, the lowest first.
      wind_speed: near the sea, float32 [row, column], m/s.
      sun_zenith: float32 [row, column], degrees.
      sun_azimuth: float32 [row, column], degrees clockwise from north.
    """

    seed: int
    tile: str
    time: datetime
    hours: float
    latitude: np.ndarray
    longitude: np.ndarray
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
    wide = _widen(latitude), _widen(longitude)
    inner = (slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
    hours = (time - _EPOCH) / timedelta(hours=1)

    air = air_temperature(seed, *wide, time, hours)
    ground = build_surface(seed, *wide, time, air)
    warp = bend_wind(seed, *wide, hours)
    front = front_strength(seed, warp, hours)
    sea = np.clip(0.5 - 4 * ground.elevation, 0, 1)
    tropopause = np.clip(9.5 + 6.5 / (1 + np.exp((np.abs(wide[0]) - 36) / 6))[:, None] + 0.05 * (air - 290), 8, 17.5)
    clouds = build_clouds(seed, *wide, hours, warp, front, sea, tropopause, air)

    surface = Surface(
        *(field[inner] for field in (ground.elevation, ground.greenness, ground.sandiness, ground.snow_line))
    )
    covered = sum(1 - np.exp(-optical_depth(layer.kind, layer.amount[inner])) for layer in clouds[1:])
    atmosphere = build_atmosphere(
        seed, latitude, longitude, hours, air[inner], tuple(axis[inner] for axis in warp), np.minimum(covered, 1.2)
    )
    skin = surface_temperature(surface, seed, latitude, longitude, time, hours, air[inner])
    sun = geometry.solar_position(time, latitude[:, None], longitude[None, :])
    wind = (4.5 + 2.5 * front[inner]).astype(np.float32)
    return Scene(seed, tile, time, hours, latitude, longitude, surface, skin, atmosphere, clouds, wind, *sun)
