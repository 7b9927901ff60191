"""Top-of-atmosphere reflectances of a scene as a satellite sees it, 0.47 to 2.25 um, at each band's resolution."""

import math

import numpy as np

from satxlate_jax.geometry import TILE_DEGREES, tile_grid
from satxlate_jax.instruments import Band
from satxlate_jax.simulator import geometry
from satxlate_jax.simulator.atmosphere import solar_transmission
from satxlate_jax.simulator.clouds import RELIEF, detail, optical_depth
from satxlate_jax.simulator.fractals import Window, enlarge
from satxlate_jax.simulator.scattering import cloud_reflection, path_reflectance, sun_glint
from satxlate_jax.simulator.scene import PIXELS, Scene
from satxlate_jax.simulator.view import View

# Reflectance is radiance over the sunlight that falls on level ground. When the sun sets both vanish; the ratio is
# faded out between these zenith angles, degrees.
_FADES_FROM, _DARK_FROM = 86.0, 91.0
_LOWEST_SUN = 75.0  # degrees from the zenith; a lower sun does not shade clouds more


def daylight(sun_zenith: np.ndarray) -> np.ndarray:
    """1 by day, 0 by night, smooth in between, float32."""
    part = np.clip((_DARK_FROM - sun_zenith) / (_DARK_FROM - _FADES_FROM), 0, 1)
    return part * part * (3 - 2 * part)


class ReflectiveView:
    """The part of the work that all reflective bands of one view and one resolution share."""

    def __init__(self, scene: Scene, view: View, pixels: int):
        self._scene, self._view, self._factor = scene, view, pixels // PIXELS
        self._sun = scene.sun_zenith, scene.sun_azimuth
        self._sun_air_mass = geometry.air_mass(scene.sun_zenith)
        self._both = self._sun_air_mass + view.air_mass
        self._vapour = scene.atmosphere.vapour_above(view.level_weights)
        self._cosine = geometry.scattering_cosine(scene.sun_zenith, scene.sun_azimuth, view.zenith, view.azimuth)
        self._glint = sun_glint(scene.wind_speed, scene.sun_zenith, scene.sun_azimuth, view.zenith, view.azimuth)
        latitude, longitude = tile_grid(scene.tile, pixels)
        finest = 2 * TILE_DEGREES / pixels
        self._surface = scene.surface
        if self._factor > 1:
            self._surface = scene.surface.refined(Window(scene.window.seed, latitude, longitude), finest)
        self._fractions = self._surface.fractions()
        self._path = self._finer(self._both / 2)
        self._depths, self._ice, self._radius, amounts = [], [], [], []
        for layer, (north, east) in zip(view.clouds, view.offsets, strict=True):
            amount = self._finer(layer.amount)
            if self._factor > 1:
                met = Window(scene.window.seed, latitude + north, longitude + east, scene.window.hours)
                amount = amount + detail(layer.kind, met, finest)
            amounts.append(amount)
            self._depths.append(optical_depth(layer.kind, amount))
            self._ice.append(self._finer(layer.ice))
            self._radius.append(self._finer(layer.radius))
        self._shading = [
            self._shade(RELIEF[layer.kind] * np.minimum(amount, 1.5)) if RELIEF[layer.kind] else None
            for layer, amount in zip(view.clouds, amounts, strict=True)
        ]
        self._lit = [self._finer(depth) for depth in self._view.lit]

    def _finer(self, field: np.ndarray) -> np.ndarray:
        return enlarge(field.astype(np.float32), self._factor)

    def _shade(self, top: np.ndarray) -> np.ndarray:
        """How much more sunlight falls on a cloud top (km) that leans towards the sun, relative to a level one."""
        zenith, azimuth = (float(angle[PIXELS // 2, PIXELS // 2]) for angle in self._sun)
        steepness = math.tan(math.radians(min(zenith, _LOWEST_SUN)))
        pixel = geometry.KM_PER_DEGREE * TILE_DEGREES / top.shape[0]
        south, east = np.gradient(top, np.float32(pixel))
        rise = east * np.float32(math.sin(math.radians(azimuth))) - south * np.float32(math.cos(math.radians(azimuth)))
        return np.clip(1 - np.float32(0.5 * steepness) * rise, 0.55, 1.45)

    def reflectance(self, band: Band) -> np.ndarray:
        """Bidirectional reflectance at the top of the atmosphere without noise, float32 [row, column]."""
        scene, wavelength = self._scene, band.wavelength
        gases = solar_transmission(scene.atmosphere, wavelength, self._both, self._vapour, self._view.heights)
        scattered, passed = path_reflectance(
            wavelength, scene.atmosphere.haze, self._sun_air_mass, self._view.air_mass, self._cosine
        )
        total = self._surface.reflectance(wavelength, self._fractions)
        water = self._fractions["ocean"] + self._fractions["turbid"]
        total = (total + water * self._finer(self._glint)) * self._finer(gases[0] * passed)
        for number, (depth, lit) in enumerate(zip(self._depths, self._lit, strict=True)):
            properties = (self._ice[number], self._radius[number], wavelength, self._path)
            reflected, upward = cloud_reflection(depth, *properties)
            _, downward = cloud_reflection(lit, *properties)
            bright = reflected if self._shading[number] is None else reflected * self._shading[number]
            total = bright * self._finer(gases[number + 1]) + upward * downward * total / (1 - reflected * total)
        total = total + self._finer(scattered)
        return total * self._finer(daylight(scene.sun_zenith))
