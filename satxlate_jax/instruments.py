"""Immutable definitions of the instruments: bands, wavelengths, resolutions, units, valid ranges, statistics.

Everything that differs between satellites is defined here and nowhere else; the code loops over it.

Sources: GOES-R Series Product Definition and Users' Guide, vol. 3 (ABI bands and noise requirements); JMA,
Himawari-8/9 AHI spectral response functions and imager page (AHI bands and noise); satpy's reader definitions (central
wavelengths of AMI, FCI and SEVIRI, whose own guides round otherwise); NASA GeoNEX L1G file names;
Vandal et al., TGRS 2021 (the normalisation statistics; the tiles of its test sets, which say what each satellite sees).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import numpy as np

from satxlate_jax.cli import InputError

Kind = Literal["reflectance", "brightness_temperature"]


@dataclass(frozen=True)
class Band:
    """One spectral band of an instrument."""

    number: int  # 1-based, as in the file's BANDxx
    wavelength: float  # central, um
    native_resolution_km: float  # pixel size of the L1G data set in which it is delivered (0.5, 1 or 2 km)
    kind: Kind  # reflectance is at the top of the atmosphere, bidirectional
    valid_range: tuple[float, float]  # smallest and largest physical value, in `unit`
    mean: float  # published, for normalisation, in `unit`; as the next
    std: float
    noise: float  # one standard deviation: K at 300 K, or reflectance at reflectance 1
    is_borrowed: bool = False  # mean, std and noise are of the nearest wavelength of ABI or AHI, for want of its own

    @property
    def name(self) -> str:
        """The data set's name in an L1G file, such as 'BAND07'."""
        return f"BAND{self.number:02d}"

    @property
    def unit(self) -> str:
        """'1' for reflectance, 'K' for brightness temperature."""
        return "1" if self.kind == "reflectance" else "K"

    @property
    def standard_name(self) -> str:
        """The name in CF's table, which satpy uses too."""
        return "toa_bidirectional_reflectance" if self.kind == "reflectance" else "toa_brightness_temperature"


@dataclass(frozen=True)
class Satellite:
    """One geostationary satellite and its imager."""

    name: str  # short, such as 'G16'
    instrument: str  # 'ABI', 'AHI', 'AMI', 'FCI' or 'SEVIRI'
    file_code: str  # that its L1G files' names begin with; GeoNEX has none for AMI, FCI and SEVIRI: these are our own
    folder: str  # under an L1G root as this project writes it (archives differ; the code decides)
    longitude: float  # of the sub-satellite point, degrees east
    tile_columns: tuple[int, ...]  # GeoNEX tile columns (h) that it sees
    bands: tuple[Band, ...]  # numbered from 1
    platform_name: str = ""  # as WMO and satpy write it, such as 'GOES-16'; '' is `name`

    @property
    def platform(self) -> dict[str, str]:
        """The attributes that tell satpy and other readers which satellite this is."""
        return {"platform_name": self.platform_name or self.name, "sensor": self.instrument.lower()}

    def band(self, number: int) -> Band:
        """The band of that 1-based number; InputError where the instrument has none."""
        if not 1 <= number <= len(self.bands):
            raise InputError(f"{self.name} ({self.instrument}) has no band {number}, only 1 to {len(self.bands)}")
        return self.bands[number - 1]


_THERMAL_MEANS = (285.251, 235.759, 244.547, 252.391, 272.476, 251.321, 274.869, 274.522, 272.611, 259.913)
_THERMAL_STDS = (6.243, 2.628, 3.472, 4.165, 7.574, 4.078, 7.973, 8.122, 7.839, 5.408)


def _bands(*columns: tuple[float, ...]) -> tuple[Band, ...]:
    """Bands from columns: wavelengths, resolutions, means, standard deviations, noise."""
    bands = []
    for index, (wavelength, resolution, *statistics) in enumerate(zip(*columns, strict=True)):
        kind: Kind = "brightness_temperature" if wavelength > 3.0 else "reflectance"
        # Overshooting deep convection is colder than the published lower limit of 180 K; the 3.9 um band sees fires,
        # and ABI's saturates near 412 K.
        valid_range = (0.0, 1.6) if kind == "reflectance" else (150.0, 420.0 if wavelength < 4.5 else 350.0)
        bands.append(Band(index + 1, wavelength, resolution, kind, valid_range, *statistics))
    return tuple(bands)


_ABI = _bands(
    (0.47, 0.64, 0.865, 1.378, 1.61, 2.25, 3.9, 6.19, 6.95, 7.34, 8.5, 9.61, 10.35, 11.2, 12.3, 13.3),
    (1.0, 0.5, 1.0, 2.0, 1.0) + (2.0,) * 11,
    (0.829, 0.621, 0.663, 0.077, 0.427, 0.333) + _THERMAL_MEANS,
    (0.292, 0.325, 0.362, 0.113, 0.283, 0.218) + _THERMAL_STDS,
    (1 / 300,) * 6 + (0.1,) * 9 + (0.3,),
)
_AHI = _bands(
    (0.471, 0.51, 0.639, 0.857, 1.61, 2.257, 3.885, 6.243, 6.941, 7.347, 8.593, 9.637, 10.407, 11.24, 12.381, 13.281),
    (1.0, 1.0, 0.5, 1.0) + (2.0,) * 12,
    (0.829, 0.512, 0.621, 0.663, 0.427, 0.333) + _THERMAL_MEANS,
    (0.292, 0.257, 0.325, 0.362, 0.283, 0.218) + _THERMAL_STDS,
    (1 / 300,) * 6 + (0.16, 0.09, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.3),
)


def _borrowing(wavelengths: tuple[float, ...], resolutions: tuple[float, ...]) -> tuple[Band, ...]:
    """Bands with the statistics and noise of the band of ABI or AHI whose wavelength is nearest."""
    nearest = [min((*_ABI, *_AHI), key=lambda band: abs(np.log(band.wavelength / one))) for one in wavelengths]
    statistics = zip(*((band.mean, band.std, band.noise) for band in nearest), strict=True)
    return tuple(replace(band, is_borrowed=True) for band in _bands(wavelengths, resolutions, *statistics))


_AMI = _borrowing(
    (0.47, 0.511, 0.64, 0.856, 1.38, 1.61, 3.83, 6.241, 6.952, 7.344, 8.592, 9.625, 10.403, 11.212, 12.364, 13.31),
    (1.0, 1.0, 0.5, 1.0) + (2.0,) * 12,
)
_FCI = _borrowing(
    (0.444, 0.51, 0.64, 0.865, 0.914, 1.38, 1.61, 2.25, 3.8, 6.3, 7.35, 8.7, 9.66, 10.5, 12.3, 13.3),
    (1.0,) * 8 + (2.0,) * 8,
)
_SEVIRI = _borrowing(  # in EUMETSAT's order: the broad visible band, 0.7 um, is the last
    (0.635, 0.81, 1.64, 3.92, 6.25, 7.35, 8.7, 9.66, 10.8, 12.0, 13.4, 0.7), (2.0,) * 11 + (1.0,)
)

_EAST = tuple(range(7, 27))
_WEST = (57, 58, 59) + tuple(range(0, 17))
_JAPAN = tuple(range(44, 60)) + (0, 1, 2, 3)
_KOREA = tuple(range(41, 60)) + (0,)
_EUROPE = tuple(range(20, 40))

SATELLITES: Mapping[str, Satellite] = MappingProxyType(
    {
        satellite.name: satellite
        for satellite in (
            Satellite("G16", "ABI", "GO16_ABI05", "GOES16", -75.2, _EAST, _ABI, "GOES-16"),
            Satellite("G17", "ABI", "GO17_ABI05", "GOES17", -137.2, _WEST, _ABI, "GOES-17"),
            Satellite("G18", "ABI", "GO18_ABI05", "GOES18", -137.0, _WEST, _ABI, "GOES-18"),
            Satellite("G19", "ABI", "GO19_ABI05", "GOES19", -75.2, _EAST, _ABI, "GOES-19"),
            Satellite("H8", "AHI", "HM08_AHI05", "HIMAWARI8", 140.7, _JAPAN, _AHI, "Himawari-8"),
            Satellite("H9", "AHI", "HM09_AHI05", "HIMAWARI9", 140.7, _JAPAN, _AHI, "Himawari-9"),
            Satellite("GK2A", "AMI", "GK2A_AMI05", "GK2A", 128.2, _KOREA, _AMI, "GEO-KOMPSAT-2A"),
            Satellite("MTG1", "FCI", "MTG1_FCI05", "MTG1", 0.0, _EUROPE, _FCI, "Meteosat-12"),
            Satellite("MSG4", "SEVIRI", "MSG4_SEV05", "MSG4", 0.0, _EUROPE, _SEVIRI, "Meteosat-11"),
        )
    }
)


def get_satellite(name: str) -> Satellite:
    """The satellite of a name, or of a domain such as 'H8_15' (satellite, `_`, label); InputError if none."""
    satellite = SATELLITES.get(name.split("_", 1)[0])
    if satellite is None:
        raise InputError(f"unknown satellite '{name}'; there are {', '.join(SATELLITES)}")
    return satellite


def is_same_wavelength(first: float, second: float) -> bool:
    """Tell if two central wavelengths (um) are those of one band: they differ by less than 2.5 %.

    The closest bands that are not one are ABI 6.95 and 7.34 um (5.6 %); the most different that are, 8.50 and 8.59 (1.1
    %).
    """
    return abs(first - second) < 0.025 * (first + second) / 2


def is_shared(first: Band, second: Band) -> bool:
    """Tell if two bands of two instruments have the same wavelength."""
    return is_same_wavelength(first.wavelength, second.wavelength)


def shared_bands(
    source: str, target: str, source_bands: Iterable[int] | None = None, target_bands: Iterable[int] | None = None
) -> list[tuple[int, int]]:
    """Pairs of bands (1-based) that two satellites share by wavelength, in the order of `source_bands`; default all."""
    first, second = get_satellite(source), get_satellite(target)
    ours = [first.band(number) for number in source_bands] if source_bands is not None else first.bands
    theirs = [second.band(number) for number in target_bands] if target_bands is not None else second.bands
    return [(a.number, b.number) for a in ours for b in theirs if is_shared(a, b)]


def shared_channels(
    source: str, source_bands: Iterable[int], target: str, target_bands: Iterable[int]
) -> tuple[list[int], list[int]]:
    """The shared bands' 0-based channels in arrays that hold `source_bands` and `target_bands`: two equal lists."""
    source_bands, target_bands = list(source_bands), list(target_bands)
    pairs = shared_bands(source, target, source_bands, target_bands)
    return [source_bands.index(a) for a, _ in pairs], [target_bands.index(b) for _, b in pairs]


def published_statistics(satellite: str, bands: Iterable[int]) -> tuple[np.ndarray, np.ndarray]:
    """Published means and standard deviations of those bands (1-based), float64 [band], in each band's unit."""
    chosen = [get_satellite(satellite).band(number) for number in bands]
    return np.array([band.mean for band in chosen]), np.array([band.std for band in chosen])


def normalize(values: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Physical units [..., band] to network units, in float64 as the release does, then float32; NaN stays NaN."""
    centred = np.subtract(values, mean, dtype=np.float64)
    return np.divide(centred, std, out=centred).astype(np.float32)


def denormalize(values: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Network units [..., band] to physical units, float64; the inverse of `normalize`."""
    scaled = np.multiply(values, std, dtype=np.float64)
    return np.add(scaled, mean, out=scaled)


def change_of_units(
    mean: np.ndarray, std: np.ndarray, other_mean: np.ndarray, other_std: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Slope and offset [band] from values normalised by (mean, std) to values normalised by the others."""
    return std / other_std, (mean - other_mean) / other_std
