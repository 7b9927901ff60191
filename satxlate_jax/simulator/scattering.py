"""Sunlight scattered by clouds, air, haze and rough water.

Sources: Stephens, J. Atmos. Sci. 35, 2123, 1978 (two-stream reflectance and transmittance of clouds); Hansen & Travis,
Space Sci. Rev. 16, 527, 1974 (optical depth of the air); Cox & Munk, J. Opt. Soc. Am. 44, 838, 1954 (sun glint).
"""

import numpy as np

from satxlate_jax.simulator.spectra import spectral

_HAZE_ASYMMETRY = 0.65
_ANGSTROM_EXPONENT = 1.3  # of haze: its optical depth goes as wavelength ** -1.3


def cloud_reflection(
    depth: np.ndarray, ice: np.ndarray, radius: np.ndarray, wavelength: float, path: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Reflectance and transmittance of a cloud layer in two streams (Stephens 1978).

    Args:
      depth: optical depth in the visible, [row, column].
      ice: fraction of ice, 0 to 1.
      radius: of the particles, relative to the usual.
      wavelength: um, below 4.
      path: slant path, the mean of sun's and view's, so that the two can be exchanged.

    Returns:
      Reflectance and transmittance, float32 [row, column]; what is missing to 1 is absorbed.
    """
    water_back, ice_back = (np.float32(spectral(f"{name}_backscatter", wavelength)) for name in ("water", "ice"))
    water_loss, ice_loss = (np.float32(spectral(f"{name}_absorption", wavelength)) for name in ("water", "ice"))
    backscatter = water_back + (ice_back - water_back) * ice
    if max(water_loss, ice_loss) < 1e-3:
        thickness = backscatter * depth * path
        transmittance = 1 / (1 + thickness)
        return 1 - transmittance, transmittance
    loss = np.clip((water_loss + (ice_loss - water_loss) * ice) * radius, 1e-4, 0.6)
    gain = loss + 2 * backscatter * (1 - loss)
    ratio = np.sqrt(gain / loss)
    fading = np.exp(-np.sqrt(gain * loss) * depth * path)
    divisor = (ratio + 1) ** 2 - (ratio - 1) ** 2 * fading**2
    return (ratio**2 - 1) * (1 - fading**2) / divisor, 4 * ratio * fading / divisor


def air_optical_depth(wavelength: float) -> float:
    """Rayleigh optical depth of the whole air at a wavelength in um (Hansen & Travis 1974)."""
    return 0.008569 * wavelength**-4 * (1 + 0.0113 * wavelength**-2 + 0.00013 * wavelength**-4)


def haze_optical_depth(wavelength: float, haze: np.ndarray) -> np.ndarray:
    """Optical depth of haze at a wavelength in um from that at 0.55 um."""
    return haze * np.float32((wavelength / 0.55) ** -_ANGSTROM_EXPONENT)


def path_reflectance(
    wavelength: float, haze: np.ndarray, sun_air_mass: np.ndarray, view_air_mass: np.ndarray, cosine: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Light that air and haze scatter once towards the satellite, and what they let through both ways.

    Args:
      wavelength: um.
      haze: optical depth at 0.55 um, [row, column].
      sun_air_mass: slant path of the sun.
      view_air_mass: slant path of the view.
      cosine: of the scattering angle.

    Returns:
      Reflectance and two-way transmittance (direct and diffuse), float32 [row, column].
    """
    air = np.float32(air_optical_depth(wavelength))
    thin = haze_optical_depth(wavelength, haze)
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


def sun_glint(
    wind_speed: np.ndarray,
    sun_zenith: np.ndarray,
    sun_azimuth: np.ndarray,
    view_zenith: np.ndarray,
    view_azimuth: np.ndarray,
) -> np.ndarray:
    """Reflectance of the sun's image in a rough sea (Cox & Munk 1954, without wind direction).

    Args:
      wind_speed: m/s, [row, column].
      sun_zenith: degrees; likewise the other angles.
      sun_azimuth: clockwise from north.
      view_zenith: degrees.
      view_azimuth: clockwise from north.

    Returns:
      float32 [row, column], dimensionless, at most 1.
    """
    sun, view = np.radians(np.minimum(sun_zenith, 88)), np.radians(view_zenith)
    between = np.cos(np.radians(sun_azimuth - view_azimuth))
    sun_up, view_up = np.cos(sun), np.cos(view)
    turn = sun_up * view_up + np.sin(sun) * np.sin(view) * between  # cosine of twice the angle of incidence
    incidence = np.sqrt(np.maximum(0.5 * (1 + turn), 1e-6))
    tilt = np.clip((sun_up + view_up) / (2 * incidence), 1e-3, 1)  # cosine of the slope that mirrors the sun
    spread = 0.003 + 0.00512 * wind_speed
    slopes = np.exp(-(1 / tilt**2 - 1) / spread) / spread  # probability density times pi
    fresnel = 0.021 + 0.979 * (1 - incidence) ** 5
    return np.minimum(fresnel * slopes / (4 * sun_up * view_up * tilt**4), 1).astype(np.float32)
