"""A scene along one satellite's lines of sight and along the sun's rays: parallax and cloud shadows."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from satxlate_jax.instruments import Satellite
from satxlate_jax.simulator import geometry
from satxlate_jax.simulator.atmosphere import level_weights
from satxlate_jax.simulator.clouds import CloudLayer, optical_depth
from satxlate_jax.simulator.scene import MARGIN, PIXELS, Scene

_LOWEST_SUN = 80.0  # degrees from the zenith; shadows of a lower sun stay this long
_PARALLAX_STEPS = 3


@dataclass(frozen=True)
class View:
    """What a satellite's pixels contain, on the tile's grid of 300 x 300.

    Attributes:
      satellite: who looks.
      zenith: of the view, float32 [row, column], degrees.
      azimuth: of the view, float32 [row, column], degrees clockwise from north.
      air_mass: slant path of the view, float32 [row, column].
      clouds: the layers as they appear: a cloud is seen displaced away from the satellite.
      heights: of the ground and of each layer's top where they are seen, float32 [1 + layer, row, column], km.
      level_weights: of the atmosphere's levels at those heights, float32 [1 + layer, level, row, column].
      offsets: mean displacement of each layer, degrees north and east.
      lit: optical depth of each layer along the sun's rays that reach the pixel's ground, float32 [row, column] each.
    """

    satellite: Satellite
    zenith: np.ndarray
    azimuth: np.ndarray
    air_mass: np.ndarray
    clouds: list[CloudLayer]
    heights: np.ndarray
    level_weights: np.ndarray
    offsets: list[tuple[float, float]]
    lit: list[np.ndarray]


def _sample(field: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return map_coordinates(field, (rows, columns), output=np.float32, order=1, mode="nearest")


def _places_met(
    top: np.ndarray, zenith: np.ndarray, azimuth: np.ndarray, latitude: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where rays from the tile's pixels meet a cloud top: rows and columns of the wide grid."""
    step = latitude[0] - latitude[1]
    rows, columns = np.meshgrid(np.arange(PIXELS) + MARGIN, np.arange(PIXELS) + MARGIN, indexing="ij")
    height = top[MARGIN:-MARGIN, MARGIN:-MARGIN]
    for _ in range(_PARALLAX_STEPS):
        north, east = geometry.slant_offset(height, zenith, azimuth, latitude[:, None])
        met = rows - np.clip(north / step, -MARGIN, MARGIN), columns + np.clip(east / step, -MARGIN, MARGIN)
        height = _sample(top, *met)
    return met


def look(scene: Scene, satellite: Satellite) -> View:
    """How a satellite sees the scene's clouds."""
    latitude, longitude = scene.window.latitude, scene.window.longitude
    zenith, azimuth = geometry.view_position(satellite.longitude, latitude[:, None], longitude[None, :])
    shade_zenith = np.minimum(scene.sun_zenith, np.float32(_LOWEST_SUN))
    centre = PIXELS // 2, PIXELS // 2
    clouds, offsets, lit = [], [], []
    for layer in scene.clouds:
        met = _places_met(layer.top, zenith, azimuth, latitude)
        fields = (_sample(field, *met) for field in (layer.amount, layer.top, layer.ice, layer.radius))
        clouds.append(CloudLayer(layer.kind, *fields))
        mean_top = float(clouds[-1].top.mean())
        north, east = geometry.slant_offset(mean_top, zenith[centre], azimuth[centre], latitude[PIXELS // 2])
        offsets.append((float(north), float(east)))
        met = _places_met(layer.top, shade_zenith, scene.sun_azimuth, latitude)
        lit.append(optical_depth(layer.kind, _sample(layer.amount, *met)))
    heights = np.stack([np.maximum(scene.surface.elevation, 0), *(layer.top for layer in clouds)])
    paths = zenith, azimuth, geometry.air_mass(zenith)
    return View(satellite, *paths, clouds, heights, level_weights(heights), offsets, lit)
