"""Simulated measurements: reflectances (0.47 to 2.25 um) and brightness temperatures (from 3.9 um), with noise.

Arrays are float32 [row, column] where nothing else is said; wavelengths are in um, heights in km, angles in degrees.

Sources: Stephens, J. Atmos. Sci. 35, 2123, 1978 (two-stream reflectance and transmittance of clouds); Hansen & Travis,
Space Sci. Rev. 16, 527, 1974 (optical depth of the air); Cox & Munk, J. Opt. Soc. Am. 44, 838, 1954 (sun glint).
"""

import math
from dataclasses import replace

import numpy as np

from satxlate_jax.geometry import TILE_DEGREES, tile_grid
from satxlate_jax.instruments import Band
from satxlate_jax.simulator import viewing_geometry
from satxlate_jax.simulator.atmosphere import DETAIL, LEVEL_STEP, LEVELS, RELIEF, Cloud
from satxlate_jax.simulator.fractals import enlarge
from satxlate_jax.simulator.optical_properties import brightness_temperature, planck, planck_slope, spectral
from satxlate_jax.simulator.scene import Scene, View
from satxlate_jax.simulator.viewing_geometry import PIXELS, Direction

_SUN_TEMPERATURE = 5772.0  # K, of a black sun (good to 10 % at 3.9 um)
_SUN_SOLID_ANGLE = 6.794e-5  # sr, seen from the mean distance
_NEAR_INFRARED_POWER = 0.55  # of the absorber amount in strong lines
_MIXED_SCALE_HEIGHT = 5.0  # km; absorption falls off faster than density, because lines narrow with pressure
_HAZE_ASYMMETRY = 0.65
_ANGSTROM_EXPONENT = 1.3  # of haze: its optical depth goes as wavelength ** -1.3
_SCATTERING_BELOW = 4.5  # um; at longer waves clouds only absorb and emit
# Reflectance is radiance over the sunlight that falls on level ground. When the sun sets both vanish; the ratio is
# faded out between these zenith angles.
_FADES_FROM, _DARK_FROM = 86.0, 91.0
_LOWEST_SUN = 75.0  # degrees from the zenith; a lower sun does not shade clouds more
_SMALLEST_SIGNAL = 0.01  # reflectance times sun height below which noise no longer falls


def cloud_reflection(
    layer: Cloud, depth: np.ndarray, wavelength: float, path: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Reflectance and transmittance, below 4 um, of the particles of a layer in two streams (Stephens 1978).

    The slant path is the mean of the sun's and the view's, so that the two can be exchanged.
    """
    water_back, ice_back = (spectral(f"{phase}_backscatter", wavelength) for phase in ("water", "ice"))
    water_loss, ice_loss = (spectral(f"{phase}_absorption", wavelength) for phase in ("water", "ice"))
    backscatter = water_back + (ice_back - water_back) * layer.ice
    if max(water_loss, ice_loss) < 1e-3:
        thickness = backscatter * depth * path
        transmittance = 1 / (1 + thickness)
        return 1 - transmittance, transmittance
    loss = np.clip((water_loss + (ice_loss - water_loss) * layer.ice) * layer.radius, 1e-4, 0.6)
    gain = loss + 2 * backscatter * (1 - loss)
    ratio = np.sqrt(gain / loss)
    fading = np.exp(-np.sqrt(gain * loss) * depth * path)
    divisor = (ratio + 1) ** 2 - (ratio - 1) ** 2 * fading**2
    return (ratio**2 - 1) * (1 - fading**2) / divisor, 4 * ratio * fading / divisor


def air_optical_depth(wavelength: float) -> float:
    """Rayleigh optical depth of the whole air (Hansen & Travis 1974)."""
    return 0.008569 * wavelength**-4 * (1 + 0.0113 * wavelength**-2 + 0.00013 * wavelength**-4)


def path_reflectance(
    wavelength: float, haze: np.ndarray, sun_air_mass: np.ndarray, view_air_mass: np.ndarray, cosine: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Reflectance of light that air and haze scatter once, by an angle of a cosine; two-way transmittance."""
    air = np.float32(air_optical_depth(wavelength))
    thin = haze * np.float32((wavelength / 0.55) ** -_ANGSTROM_EXPONENT)
    both = sun_air_mass + view_air_mass
    g = np.float32(_HAZE_ASYMMETRY)
    phase_air = 0.75 * (1 + cosine**2)
    phase_haze = (1 - g**2) / (1 + g**2 - 2 * g * cosine) ** 1.5
    depth = air + thin
    phase = (air * phase_air + thin * phase_haze) / depth
    # Single scattering in a layer: omega P / (4 (mu + mu0)) (1 - exp(-tau (1/mu + 1/mu0))), as a reflectance.
    scattered = phase * (sun_air_mass * view_air_mass / both) * (1 - np.exp(-depth * both)) / 4
    # Half of what air scatters, and a fifth of what haze scatters, is lost backward.
    return scattered, np.exp(-(0.5 * air + 0.2 * thin) * both)


def sun_glint(wind_speed: np.ndarray, sun: Direction, view: Direction) -> np.ndarray:
    """Reflectance, at most 1, of the sun's image in a sea under wind in m/s (Cox & Munk 1954, no direction)."""
    sun = np.minimum(sun[0], 88), sun[1]
    sun_up, view_up = np.cos(np.radians(sun[0])), np.cos(np.radians(view[0]))
    turn = -viewing_geometry.scattering_cosine(sun, view)  # cosine of twice the angle of incidence
    incidence = np.sqrt(np.maximum(0.5 * (1 + turn), 1e-6))
    tilt = np.clip((sun_up + view_up) / (2 * incidence), 1e-3, 1)  # cosine of the slope that mirrors the sun
    variance = 0.003 + 0.00512 * wind_speed
    slopes = np.exp(-(1 / tilt**2 - 1) / variance) / variance  # probability density times pi
    fresnel = 0.021 + 0.979 * (1 - incidence) ** 5
    return np.minimum(fresnel * slopes / (4 * sun_up * view_up * tilt**4), 1).astype(np.float32)


def _thermal_column(scene: Scene, view: View, wavelength: float) -> tuple[np.ndarray, np.ndarray]:
    """Transmission and radiance (W m-2 sr-1 um-1) of the air above the view's heights, [1 + layer, row, column]."""
    temperature, weights = scene.weather.temperature, view.level_weights
    names = ("vapour_lines", "vapour_continuum", "mixed_gases", "ozone")
    lines, continuum, mixed, ozone = (spectral(name, wavelength) for name in names)
    stratosphere = ozone * scene.air.ozone + mixed * np.exp(-LEVELS[-1] / np.float32(_MIXED_SCALE_HEIGHT))
    through = np.exp(-stratosphere * view.air_mass)
    warmer = np.float32(8)  # K: where ozone lies it is warmer than at the tropopause
    emitted = (1 - through) * planck(wavelength, temperature(LEVELS[-1]) + warmer)
    transmission = weights[:, -1] * through
    radiance = weights[:, -1] * emitted
    for layer in range(LEVELS.size - 2, -1, -1):
        bottom, vapour = LEVELS[layer], scene.air.vapour[layer]
        depth = vapour * (lines + continuum * vapour / np.float32(LEVEL_STEP * 1000))
        profile = np.exp(-np.array([bottom, bottom + LEVEL_STEP]) / _MIXED_SCALE_HEIGHT)
        depth = depth + mixed * np.float32(profile[0] - profile[1])
        below = through * np.exp(-depth * view.air_mass)
        emitted = emitted + (through - below) * planck(wavelength, temperature(bottom + LEVEL_STEP / 2))
        through = below
        transmission += weights[:, layer] * through
        radiance += weights[:, layer] * emitted
    return transmission, radiance


def _solar_transmission(scene: Scene, view: View, wavelength: float) -> np.ndarray:
    """Transmission of gases to sunlight down to the view's heights and up, [1 + layer, row, column]."""
    air_mass = scene.sun_air_mass + view.air_mass
    names = ("vapour_near_infrared", "mixed_gases", "ozone")
    lines, mixed, ozone = (spectral(name, wavelength) for name in names)
    depth = ozone * scene.air.ozone * air_mass
    depth = depth + lines * (np.maximum(view.vapour, 0) * air_mass) ** np.float32(_NEAR_INFRARED_POWER)
    if mixed:
        depth = depth + mixed * np.exp(view.heights / np.float32(-_MIXED_SCALE_HEIGHT)) * air_mass
    return np.exp(-depth)


class ReflectiveBands:
    """The reflective bands of one view at one resolution; what they share is computed once."""

    def __init__(self, scene: Scene, view: View, pixels: int):
        self._scene, self._view, self._factor = scene, view, pixels // PIXELS
        self._cosine = viewing_geometry.scattering_cosine(scene.sun, view.direction)
        wind_speed = 4.5 + 2.5 * scene.weather.front  # m/s
        self._glint = self._finer(sun_glint(wind_speed, scene.sun, view.direction))
        self._path = self._finer((scene.sun_air_mass + view.air_mass) / 2)
        latitude, longitude = tile_grid(scene.tile, pixels)
        window = replace(scene.window, latitude=latitude, longitude=longitude)
        finest = 2 * TILE_DEGREES / pixels
        self._surface = scene.surface.refined(window, finest) if self._factor > 1 else scene.surface
        self._clouds = []
        for layer in view.clouds:
            fields = {name: self._finer(getattr(layer, name)) for name in ("amount", "ice", "radius", "lit")}
            if self._factor > 1:
                north, east = layer.offset
                met = replace(window, latitude=latitude + north, longitude=longitude + east)
                fractal, strength = DETAIL[layer.kind]
                detail = np.float32(strength) * fractal.on_grid(met, finest, coarsest=0.05)
                fields["amount"] = fields["amount"] + detail
            relief = RELIEF[layer.kind]
            shading = self._shade(relief * np.minimum(fields["amount"], 1.5)) if relief else 1
            self._clouds.append((replace(layer, **fields), shading))

    def _finer(self, field: np.ndarray) -> np.ndarray:
        return enlarge(field.astype(np.float32), self._factor)

    def _shade(self, top: np.ndarray) -> np.ndarray:
        """Sunlight on a cloud top (km) that leans towards the sun, relative to a level one."""
        zenith, azimuth = (float(angle[PIXELS // 2, PIXELS // 2]) for angle in self._scene.sun)
        steepness = math.tan(math.radians(min(zenith, _LOWEST_SUN)))
        south, east = np.gradient(top, np.float32(viewing_geometry.KM_PER_DEGREE * TILE_DEGREES / top.shape[0]))
        rise = east * np.float32(math.sin(math.radians(azimuth))) - south * np.float32(math.cos(math.radians(azimuth)))
        return np.clip(1 - np.float32(0.5 * steepness) * rise, 0.55, 1.45)

    def reflectance(self, band: Band) -> np.ndarray:
        """Bidirectional reflectance at the top of the atmosphere without noise."""
        scene, view, wavelength = self._scene, self._view, band.wavelength
        gases = _solar_transmission(scene, view, wavelength)
        scattered, passed = path_reflectance(
            wavelength, scene.air.haze, scene.sun_air_mass, view.air_mass, self._cosine
        )
        water = self._surface.fractions["ocean"] + self._surface.fractions["turbid"]
        total = self._surface.reflectance(wavelength) + water * self._glint
        total = total * self._finer(gases[0] * passed)
        for gas, (layer, shading) in zip(gases[1:], self._clouds, strict=True):
            reflected, upward = cloud_reflection(layer, layer.depth, wavelength, self._path)
            _, downward = cloud_reflection(layer, layer.lit, wavelength, self._path)
            total = reflected * shading * self._finer(gas) + upward * downward * total / (1 - reflected * total)
        total = total + self._finer(scattered)
        day = np.clip((_DARK_FROM - scene.sun[0]) / (_DARK_FROM - _FADES_FROM), 0, 1)
        return total * self._finer(day * day * (3 - 2 * day))


def thermal_temperature(scene: Scene, view: View, band: Band) -> np.ndarray:
    """Brightness temperature without noise, K."""
    wavelength = band.wavelength
    through, above = _thermal_column(scene, view, wavelength)
    reflectance = scene.surface.reflectance(wavelength)
    # The sky's own emission, mirrored by the ground: about that of the air near it.
    sky = (1 - through[0]) * planck(wavelength, scene.weather.temperature(1.0))
    leaving = (1 - reflectance) * planck(wavelength, scene.surface_temperature) + reflectance * sky
    total = above[0] + through[0] * leaving
    for number, layer in enumerate(view.clouds, start=1):
        if wavelength < _SCATTERING_BELOW:
            reflected, passed = cloud_reflection(layer, layer.depth, wavelength, view.air_mass)
            emissivity = 1 - reflected - passed
        else:
            water, ice = (spectral(f"{phase}_emission", wavelength) for phase in ("water", "ice"))
            # Smaller particles differ more from band to band: pull the ratio to its mean, 0.45, for large ones.
            ratio = 0.45 + (water - 0.45 + (ice - water) * layer.ice) / layer.radius
            passed = np.exp(-ratio * layer.depth * view.air_mass)
            emissivity = 1 - passed
        emission = planck(wavelength, scene.weather.temperature(layer.top))
        total = passed * total + (1 - passed) * above[number] + emissivity * through[number] * emission
    if wavelength < _SCATTERING_BELOW:
        total = total + _reflected_sunlight(scene, view, wavelength, through)
    return brightness_temperature(wavelength, total)


def _reflected_sunlight(scene: Scene, view: View, wavelength: float, through: np.ndarray) -> np.ndarray:
    """Radiance of sunlight from ground and clouds in a thermal band, W m-2 sr-1 um-1."""
    both = scene.sun_air_mass + view.air_mass
    gases = through ** (both / view.air_mass)
    total = scene.surface.reflectance(wavelength) * gases[0]
    for layer, gas in zip(view.clouds, gases[1:], strict=True):
        reflected, passed = cloud_reflection(layer, layer.depth, wavelength, both / 2)
        total = reflected * gas + passed**2 * total
    irradiance = _SUN_SOLID_ANGLE * float(planck(wavelength, np.float64(_SUN_TEMPERATURE)))  # W m-2 um-1
    irradiance *= viewing_geometry.spencer(viewing_geometry.IRRADIANCE, scene.time)
    return total * np.maximum(np.cos(np.radians(scene.sun[0])), 0) * np.float32(irradiance / np.pi)


def add_temperature_noise(temperature: np.ndarray, band: Band, random: np.random.Generator) -> np.ndarray:
    """Adds noise of constant radiance: `band.noise` at 300 K is more on cold clouds, most so at short waves."""
    at_300 = planck_slope(band.wavelength, np.float32(300))
    deviation = np.float32(band.noise) * at_300 / planck_slope(band.wavelength, temperature)
    noisy = temperature + np.minimum(deviation, 8) * random.standard_normal(temperature.shape, np.float32)
    return np.clip(noisy, *band.valid_range).astype(np.float32)


def add_reflectance_noise(
    reflectance: np.ndarray, sun_height: np.ndarray, band: Band, random: np.random.Generator
) -> np.ndarray:
    """Adds noise as the square root of the light: `band.noise` at reflectance 1 under an overhead sun.

    `sun_height` is the cosine of the solar zenith angle; where it is not positive nothing is added.
    """
    height = np.maximum(sun_height, np.float32(0.05))
    signal = np.maximum(reflectance * height, np.float32(_SMALLEST_SIGNAL))
    deviation = np.float32(band.noise) * np.sqrt(signal) / height
    noisy = reflectance + deviation * random.standard_normal(reflectance.shape, np.float32)
    noisy = np.where(sun_height > 0, noisy, reflectance)
    return np.clip(noisy, *band.valid_range).astype(np.float32)
