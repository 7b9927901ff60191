"""Optical properties of surfaces, clouds and gases at the imagers' wavelengths; Planck's law.

The tables are rounded to typical values, not fitted to any one spectrum:

- surfaces: green canopies, brown to sandy soils, medium granular snow, sea water as in the ECOSTRESS spectral library
  (Meerdink et al., Remote Sens. Environ. 230, 2019) and its predecessor, ASTER (Baldridge et al., Remote Sens. Environ.
  113, 2009); emissivity is one minus reflectance;
- clouds: ice absorbs more than water at 1.6, 2.25 and 3.9 um (Nakajima & King, J. Atmos. Sci. 47, 1990; King et al.,
  IEEE TGRS 30, 1992); thin ice, not water, is more transparent at 8.5 than at 11 and 12 um (Strabala et al., J. Appl.
  Meteorol. 33, 1994);
- gases: chosen so that clear skies over a mid-latitude sea come out as GOES-16/17 show them (water-vapour bands near
  240, 250 and 260 K, the ozone band 20 to 30 K and the CO2 band 12 to 20 K colder than the window).
"""

import numpy as np

# Diffuse reflectance of surfaces by wavelength in um, dimensionless
_SURFACES = (
    ("um", "ocean", "turbid", "vegetation", "soil", "sand", "snow"),
    ( 0.47, 0.028, 0.055,  0.03,  0.09,  0.17,  0.94),
    ( 0.51,  0.02, 0.075, 0.048, 0.115,  0.22, 0.945),
    ( 0.64, 0.006,  0.07, 0.045,  0.19,  0.36,  0.93),
    (0.865, 0.003,  0.02,  0.42,  0.27,  0.44,  0.85),
    (1.378, 0.001, 0.002,   0.3,  0.33,  0.49,  0.35),
    ( 1.61, 0.001, 0.002,  0.24,  0.37,  0.53,  0.09),
    ( 2.25, 0.001, 0.001,  0.11,  0.34,   0.5,  0.07),
    (  3.9,  0.02,  0.02, 0.025,  0.12,  0.24,  0.02),
    ( 6.19,  0.01,  0.01,  0.02,  0.06,  0.08,  0.01),
    ( 6.95,  0.01,  0.01,  0.02,  0.06,  0.08,  0.01),
    ( 7.34,  0.01,  0.01,  0.02,  0.07,   0.1,  0.01),
    (  8.5, 0.012, 0.012,  0.02,  0.11,  0.18,  0.01),
    ( 9.61, 0.012, 0.012, 0.018,  0.08,  0.12, 0.009),
    (10.35, 0.008, 0.008, 0.016,  0.04,  0.05, 0.008),
    ( 11.2, 0.009, 0.009, 0.015,  0.03, 0.038, 0.012),
    ( 12.3, 0.015, 0.015, 0.014, 0.023, 0.026, 0.025),
    ( 13.3,  0.02,  0.02, 0.015,  0.02,  0.02,  0.03),
)  # fmt: skip

# Cloud particles of usual size (about 10 um water, 30 um ice): absorption is the single-scattering co-albedo,
# backscatter the fraction (1 - asymmetry) / 2 (scattering is neglected beyond 4.5 um), emission the absorption optical
# depth for an optical depth of 1 in the visible. Water vapour: transmission in strong near-infrared lines is
# exp(-k (W m) ** 0.55), W in kg/m2; thermal lines in m2/kg, continuum per kg/m3 of vapour around it. Vertical optical
# depth of the well-mixed gases (CO2, CH4, N2O, N2) from sea level, and of 300 Dobson units of ozone.
_CLOUDS_AND_GASES = (
    ("um", "water_absorption", "water_backscatter", "water_emission", "ice_absorption", "ice_backscatter",
     "ice_emission", "vapour_near_infrared", "vapour_lines", "vapour_continuum", "mixed_gases", "ozone"),
    ( 0.47,      0, 0.072,    0,      0,  0.11,     0,      0,      0,    0,     0, 0.004),
    ( 0.51,      0, 0.072,    0,      0,  0.11,     0, 0.0005,      0,    0,     0, 0.014),
    ( 0.64,      0, 0.072,    0,      0,  0.11,     0,  0.003,      0,    0,     0, 0.024),
    (0.865, 0.0001, 0.072,    0, 0.0003,  0.11,     0,  0.004,      0,    0,     0, 0.001),
    (1.378,  0.003, 0.075,    0,   0.02,  0.11,     0,    1.4,      0,    0, 0.002,     0),
    ( 1.61,  0.006, 0.077,    0,  0.055, 0.105,     0,  0.002,      0,    0, 0.016,     0),
    ( 2.25,  0.022,  0.08,    0,   0.07,   0.1,     0,  0.008,      0,    0, 0.022,     0),
    (  3.9,  0.095, 0.085,  0.3,   0.32,  0.07,   0.4,      0, 0.0025,  0.2, 0.055,     0),
    ( 6.19,      1,     0, 0.45,      1,     0,  0.45,      0,    3.6,    2,  0.02,     0),
    ( 6.95,      1,     0, 0.44,      1,     0,  0.44,      0,   1.35,    2,  0.02,     0),
    ( 7.34,      1,     0, 0.43,      1,     0,  0.43,      0,   0.42,    2,  0.03,     0),
    (  8.5,      1,     0, 0.43,      1,     0,  0.43,      0, 0.0085,  1.5,  0.03, 0.004),
    ( 9.61,      1,     0, 0.42,      1,     0,  0.44,      0,  0.003,  1.2, 0.025,  0.62),
    (10.35,      1,     0, 0.42,      1,     0,  0.45,      0, 0.0016, 1.05, 0.006, 0.003),
    ( 11.2,      1,     0, 0.47,      1,     0, 0.485,      0, 0.0024, 1.35, 0.006, 0.002),
    ( 12.3,      1,     0, 0.57,      1,     0,  0.53,      0, 0.0048, 2.05, 0.018, 0.004),
    ( 13.3,      1,     0,  0.6,      1,     0,  0.55,      0, 0.0095,  2.4,  0.64,  0.02),
)  # fmt: skip
_TABLES = {
    name: np.array(column, float)
    for table in (_SURFACES, _CLOUDS_AND_GASES)
    for name, *column in zip(*table, strict=True)
}

# Constants of Planck's law for wavelengths in um: 2 h c^2 in W um4 m-2 sr-1, h c / k in um K (CODATA 2018).
_FIRST, _SECOND = 1.191042972e8, 1.438776877e4


def spectral(name: str, wavelength: float) -> np.float32:
    """A tabulated property, such as 'vegetation' or 'ozone', interpolated linearly to a wavelength in um."""
    return np.float32(np.interp(wavelength, _TABLES["um"], _TABLES[name]))


def planck(wavelength: float, temperature: np.ndarray) -> np.ndarray:
    """Radiance of a black body, W m-2 sr-1 um-1, at a wavelength in um and a temperature in K."""
    return np.float32(_FIRST / wavelength**5) / np.expm1(np.float32(_SECOND / wavelength) / temperature)


def brightness_temperature(wavelength: float, radiance: np.ndarray) -> np.ndarray:
    """Temperature in K of a black body of a (positive) radiance: the inverse of `planck`."""
    return np.float32(_SECOND / wavelength) / np.log1p(np.float32(_FIRST / wavelength**5) / radiance)


def planck_slope(wavelength: float, temperature: np.ndarray) -> np.ndarray:
    """Change of `planck` with temperature, W m-2 sr-1 um-1 K-1."""
    x = np.float32(_SECOND / wavelength) / temperature
    return planck(wavelength, temperature) * x / temperature / -np.expm1(-x)
