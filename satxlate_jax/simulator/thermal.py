"""Brightness temperatures of a scene as a satellite sees it, 3.9 um and longer."""

import numpy as np

from satxlate_jax.instruments import Band
from satxlate_jax.simulator import geometry
from satxlate_jax.simulator.atmosphere import thermal_column
from satxlate_jax.simulator.clouds import optical_depth
from satxlate_jax.simulator.scattering import cloud_reflection
from satxlate_jax.simulator.scene import Scene
from satxlate_jax.simulator.spectra import brightness_temperature, planck, solar_irradiance, spectral
from satxlate_jax.simulator.view import View

_SCATTERING_BELOW = 4.5  # um; at longer waves clouds only absorb and emit


class ThermalView:
    """The part of the work that all thermal bands of one view share."""

    def __init__(self, scene: Scene, view: View):
        self._scene, self._view = scene, view
        self._depths = [optical_depth(layer.kind, layer.amount) for layer in view.clouds]
        self._fractions = scene.surface.fractions()

    def radiance(self, band: Band) -> np.ndarray:
        """Radiance at the top of the atmosphere, float32 [row, column], W m-2 sr-1 um-1."""
        scene, wavelength = self._scene, band.wavelength
        through, above = thermal_column(scene.atmosphere, wavelength, self._view.air_mass, self._view.level_weights)
        reflectance = scene.surface.reflectance(wavelength, self._fractions)
        # The sky's own emission, mirrored by the ground: about that of the air near it.
        sky = (1 - through[0]) * planck(wavelength, scene.atmosphere.temperature(1.0))
        leaving = (1 - reflectance) * planck(wavelength, scene.surface_temperature) + reflectance * sky
        total = above[0] + through[0] * leaving
        for number, layer in enumerate(self._view.clouds, start=1):
            emissivity, passed = self._cloud(number - 1, wavelength)
            emission = planck(wavelength, scene.atmosphere.temperature(layer.top))
            total = passed * total + (1 - passed) * above[number] + emissivity * through[number] * emission
        if wavelength < _SCATTERING_BELOW:
            total = total + self._sunlight(wavelength, reflectance, through)
        return total

    def temperature(self, band: Band) -> np.ndarray:
        """Brightness temperature without noise, float32 [row, column], K."""
        return brightness_temperature(band.wavelength, self.radiance(band))

    def _cloud(self, number: int, wavelength: float) -> tuple[np.ndarray, np.ndarray]:
        """Emissivity and transmittance of a layer along the view."""
        layer, depth = self._view.clouds[number], self._depths[number]
        if wavelength < _SCATTERING_BELOW:
            reflected, passed = cloud_reflection(depth, layer.ice, layer.radius, wavelength, self._view.air_mass)
            return 1 - reflected - passed, passed
        water, ice = (np.float32(spectral(f"{name}_emission", wavelength)) for name in ("water", "ice"))
        # Smaller particles differ more from band to band: pull the ratio to its mean, 0.45, for large ones.
        ratio = 0.45 + (water - 0.45 + (ice - water) * layer.ice) / layer.radius
        passed = np.exp(-ratio * depth * self._view.air_mass)
        return 1 - passed, passed

    def _sunlight(self, wavelength: float, ground: np.ndarray, through: np.ndarray) -> np.ndarray:
        """Reflected sunlight, W m-2 sr-1 um-1: ground and clouds as in the reflective bands, without noise."""
        scene, view = self._scene, self._view
        sun_air_mass = geometry.air_mass(scene.sun_zenith)
        path = (sun_air_mass + view.air_mass) / 2
        gases = through ** ((sun_air_mass + view.air_mass) / view.air_mass)
        total = ground * gases[0]
        for number, layer in enumerate(view.clouds, start=1):
            reflected, passed = cloud_reflection(self._depths[number - 1], layer.ice, layer.radius, wavelength, path)
            total = reflected * gases[number] + passed**2 * total
        irradiance = solar_irradiance(wavelength) * geometry.solar_distance_factor(scene.time)
        height = np.maximum(np.cos(np.radians(scene.sun_zenith)), 0)
        return total * height * np.float32(irradiance / np.pi)
