"""The instruments' noise."""

import numpy as np

from satxlate_jax.instruments import Band
from satxlate_jax.simulator.spectra import planck_slope

_SMALLEST_SIGNAL = 0.01  # reflectance times sun height below which noise no longer falls


def add_temperature_noise(temperature: np.ndarray, band: Band, random: np.random.Generator) -> np.ndarray:
    """Noise of constant radiance: what is `band.noise` at 300 K is more on cold clouds, most so at short waves.

    Args:
      temperature: float32 [row, column], K.
      band: of the instrument.
      random: source of the noise.

    Returns:
      float32 [row, column], K, within the band's valid range.
    """
    at_300 = planck_slope(band.wavelength, np.float32(300))
    deviation = np.float32(band.noise) * at_300 / planck_slope(band.wavelength, temperature)
    noisy = temperature + np.minimum(deviation, 8) * random.standard_normal(temperature.shape, np.float32)
    return np.clip(noisy, *band.valid_range).astype(np.float32)


def add_reflectance_noise(
    reflectance: np.ndarray, sun_height: np.ndarray, band: Band, random: np.random.Generator
) -> np.ndarray:
    """Noise of photons, as the square root of the light; `band.noise` at reflectance 1 under an overhead sun.

    Args:
      reflectance: float32 [row, column].
      sun_height: cosine of the solar zenith angle, float32 [row, column]; where it is not positive nothing is added.
      band: of the instrument.
      random: source of the noise.

    Returns:
      float32 [row, column], within the band's valid range.
    """
    height = np.maximum(sun_height, np.float32(0.05))
    signal = np.maximum(reflectance * height, np.float32(_SMALLEST_SIGNAL))
    deviation = np.float32(band.noise) * np.sqrt(signal) / height
    noisy = reflectance + deviation * random.standard_normal(reflectance.shape, np.float32)
    noisy = np.where(sun_height > 0, noisy, reflectance)
    return np.clip(noisy, *band.valid_range).astype(np.float32)
