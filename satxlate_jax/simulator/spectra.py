"""How surfaces, clouds and gases behave at a wavelength: tables at the imagers' wavelengths, interpolated in between.

The numbers are rounded to what is typical, not fitted to any one spectrum:

- surfaces: of the kind in the ECOSTRESS spectral library (Meerdink et al., Remote Sens. Environ. 230, 2019) and its
  predecessor, the ASTER library (Baldridge et al., Remote Sens. Environ. 113, 2009), for green canopies, brown to sandy
  soils, medium granular snow and sea water; emissivity is one minus reflectance;
- clouds: water clouds reflect more than ice clouds at 1.6, 2.25 and 3.9 um, because ice absorbs more there (Nakajima &
  King, J. Atmos. Sci. 47, 1990; King et al., IEEE TGRS 30, 1992); thin ice is more transparent at 8.5 than at 11 and
  12 um, which water clouds are not (Strabala et al., J. Appl. Meteorol. 33, 1994);
- gases: chosen so that clear skies over a mid-latitude sea come out as GOES-16/17 show them (water-vapour bands near
  240, 250 and 260 K, the ozone band 20 to 30 K and the CO2 band 12 to 20 K colder than the window).
"""

from functools import lru_cache

import numpy as np

WAVELENGTHS = (
    0.47, 0.51, 0.64, 0.865, 1.378, 1.61, 2.25, 3.9, 6.19, 6.95, 7.34, 8.5, 9.61, 10.35, 11.2, 12.3, 13.3,
)  # fmt: skip

# name -> one value per wavelength
_TABLES: dict[str, tuple[float, ...]] = {
    # Reflectance of surfaces (diffuse), dimensionless
    "ocean": (
        0.028, 0.020, 0.006, 0.003, 0.001, 0.001, 0.001, 0.020,
        0.01, 0.01, 0.01, 0.012, 0.012, 0.008, 0.009, 0.015, 0.02,
    ),
    "turbid": (
        0.055, 0.075, 0.070, 0.020, 0.002, 0.002, 0.001, 0.020,
        0.01, 0.01, 0.01, 0.012, 0.012, 0.008, 0.009, 0.015, 0.02,
    ),
    "vegetation": (
        0.030, 0.048, 0.045, 0.420, 0.300, 0.240, 0.110, 0.025,
        0.02, 0.02, 0.02, 0.020, 0.018, 0.016, 0.015, 0.014, 0.015,
    ),
    "soil": (
        0.090, 0.115, 0.190, 0.270, 0.330, 0.370, 0.340, 0.120,
        0.06, 0.06, 0.07, 0.110, 0.080, 0.040, 0.030, 0.023, 0.02,
    ),
    "sand": (
        0.170, 0.220, 0.360, 0.440, 0.490, 0.530, 0.500, 0.240,
        0.08, 0.08, 0.10, 0.180, 0.120, 0.050, 0.038, 0.026, 0.02,
    ),
    "snow": (
        0.940, 0.945, 0.930, 0.850, 0.350, 0.090, 0.070, 0.020,
        0.01, 0.01, 0.01, 0.010, 0.009, 0.008, 0.012, 0.025, 0.03,
    ),
    # Single-scattering co-albedo of cloud particles of usual size (about 10 um water, 30 um ice) and their backscatter
    # fraction, (1 - asymmetry) / 2. Beyond 4 um scattering is neglected.
    "water_absorption": (
        0, 0, 0, 0.0001, 0.003, 0.006, 0.022, 0.095, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    ),
    "ice_absorption": (
        0, 0, 0, 0.0003, 0.020, 0.055, 0.070, 0.320, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    ),
    "water_backscatter": (0.072,) * 4 + (0.075, 0.077, 0.080, 0.085) + (0,) * 9,
    "ice_backscatter": (0.110,) * 4 + (0.110, 0.105, 0.100, 0.070) + (0,) * 9,
    # Absorption optical depth of a cloud for an optical depth of 1 in the visible
    "water_emission": (
        0, 0, 0, 0, 0, 0, 0, 0.30, 0.45, 0.44, 0.43, 0.43, 0.42, 0.42, 0.47, 0.57, 0.60,
    ),
    "ice_emission": (
        0, 0, 0, 0, 0, 0, 0, 0.40, 0.45, 0.44, 0.43, 0.43, 0.44, 0.45, 0.485, 0.53, 0.55,
    ),
    # Water vapour in the near infrared: strong lines, transmission exp(-k (W m) ** 0.55), W in kg/m2
    "vapour_near_infrared": (
        0, 0.0005, 0.003, 0.004, 1.40, 0.002, 0.008, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ),
    # Water vapour in the thermal infrared, m2/kg: lines, and the continuum per kg/m3 of vapour around it
    "vapour_lines": (
        0, 0, 0, 0, 0, 0, 0, 0.0025, 3.6, 1.35, 0.42, 0.0085, 0.0030, 0.0016, 0.0024, 0.0048, 0.0095,
    ),
    "vapour_continuum": (
        0, 0, 0, 0, 0, 0, 0, 0.20, 2, 2, 2, 1.5, 1.2, 1.05, 1.35, 2.05, 2.4,
    ),
    # Vertical optical depth of the well-mixed gases (CO2, CH4, N2O, N2) from sea level; of 300 Dobson units of ozone
    "mixed_gases": (
        0, 0, 0, 0, 0.002, 0.016, 0.022, 0.055, 0.02, 0.02, 0.03, 0.030, 0.025, 0.006, 0.006, 0.018, 0.64,
    ),
    "ozone": (
        0.004, 0.014, 0.024, 0.001, 0, 0, 0, 0, 0, 0, 0, 0.004, 0.62, 0.003, 0.002, 0.004, 0.020,
    ),
}  # fmt: skip


@lru_cache(maxsize=1024)
def spectral(name: str, wavelength: float) -> float:
    """A tabulated property at a wavelength, interpolated linearly.

    Args:
      name: such as 'vegetation' (reflectance), 'ice_absorption' (co-albedo), 'ozone' (vertical optical depth).
      wavelength: um, 0.47 to 13.3; nearest value outside.

    Raises:
      KeyError: there is no such table.
    """
    return float(np.interp(wavelength, WAVELENGTHS, _TABLES[name]))


# Constants of Planck's law for wavelengths in um: 2 h c^2 in W um4 m-2 sr-1, h c / k in um K (CODATA 2018).
_FIRST, _SECOND = 1.191042972e8, 1.438776877e4
_SUN_TEMPERATURE = 5772.0  # K, effective
_SUN_SOLID_ANGLE = 6.794e-5  # sr, seen from the mean distance


def planck(wavelength: float, temperature: np.ndarray) -> np.ndarray:
    """Radiance of a black body (Planck's law).

    Args:
      wavelength: um.
      temperature: K, any shape.

    Returns:
      W m-2 sr-1 um-1, the same shape.
    """
    return np.float32(_FIRST / wavelength**5) / np.expm1(np.float32(_SECOND / wavelength) / temperature)


def brightness_temperature(wavelength: float, radiance: np.ndarray) -> np.ndarray:
    """The temperature of a black body of that radiance, K; the inverse of `planck`. Radiance must be positive."""
    return np.float32(_SECOND / wavelength) / np.log1p(np.float32(_FIRST / wavelength**5) / radiance)


def planck_slope(wavelength: float, temperature: np.ndarray) -> np.ndarray:
    """Change of `planck` with temperature, W m-2 sr-1 um-1 K-1."""
    x = np.float32(_SECOND / wavelength) / temperature
    return planck(wavelength, temperature) * x / temperature / -np.expm1(-x)


def solar_irradiance(wavelength: float) -> float:
    """Sunlight at the mean distance on a surface that faces it, W m-2 um-1, of a black sun (good to 10 % at 3.9 um)."""
    return _SUN_SOLID_ANGLE * float(planck(wavelength, np.float64(_SUN_TEMPERATURE)))
