"""The wavelength axis: one channel for each wavelength that any satellite has, in the units of the first with it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from satxlate_jax.instruments import Band, change_of_units, get_satellite, is_shared

RESPONSE_TOLERANCE = 0.006
"""Relative difference of two central wavelengths beyond which a window band's responses differ visibly (measured)."""
ORIGINS = {
    "passed on": "as the source measured it",
    "adjusted": "the source's, adjusted to another response",
    "inferred": "synthesised",
}
"""Where a translated band comes from -> how its `long_name` says so."""

_WINDOWS = ((8.0, 9.2), (10.0, 12.6))  # um, where the atmosphere is clear and the surface's emissivity varies


def assign_channels(satellites: Mapping[str, Iterable[int]]) -> dict[str, list[int]]:
    """Satellite -> the channel of each of its bands, from satellite -> bands (1-based).

    Channels are numbered in the order in which the satellites bring new wavelengths; checkpoints store them as 'slots'.
    """
    known: list[Band] = []  # one band for each channel
    channels: dict[str, list[int]] = {}
    for satellite, numbers in satellites.items():
        channels[satellite] = []
        for band in (get_satellite(satellite).band(number) for number in numbers):
            free = (channel for channel in range(len(known)) if channel not in channels[satellite])
            found = next((channel for channel in free if is_shared(band, known[channel])), len(known))
            channels[satellite].append(found)
            if found == len(known):
                known.append(band)
    return channels


@dataclass(frozen=True)
class WavelengthAxis:
    """Hashable description of the axis and of each satellite's place on it.

    `wavelengths` (um), `thermal` (a brightness temperature), `mean` and `std`, that network units refer to in the
    band's unit, are of the reference satellite, the first that has the channel.

    Attributes:
      channels: satellite -> the channel of each of its bands.
      scales: satellite -> slope and offset per band, from its network units to the axis's.
      adapted: satellite -> channels whose response differs from the reference's, see `RESPONSE_TOLERANCE`.
      instruments: satellite -> its instrument.
    """

    wavelengths: tuple[float, ...]
    thermal: tuple[bool, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: tuple[tuple[str, tuple[int, ...]], ...]
    scales: tuple[tuple[str, tuple[tuple[float, float], ...]], ...]
    adapted: tuple[tuple[str, tuple[int, ...]], ...]
    instruments: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, satellites: Mapping[str, Mapping[str, Any]], adapters: bool = True) -> "WavelengthAxis":
        """The axis of satellite -> 'bands', 'mean' and 'std', as a run's metadata hold them."""
        channels = assign_channels({name: entry["bands"] for name, entry in satellites.items()})
        references: dict[int, tuple[Band, float, float, str]] = {}
        scales, adapted = {}, {}
        for satellite, numbers in channels.items():
            entry, origin = satellites[satellite], get_satellite(satellite)
            bands = [origin.band(number) for number in entry["bands"]]
            for channel, band, mean, std in zip(numbers, bands, entry["mean"], entry["std"], strict=True):
                references.setdefault(channel, (band, mean, std, origin.instrument))
            units = np.array([references[channel][1:3] for channel in numbers]).T
            slope, offset = change_of_units(np.array(entry["mean"]), np.array(entry["std"]), *units)
            scales[satellite] = tuple(zip(slope.tolist(), offset.tolist(), strict=True))
            adapted[satellite] = tuple(
                channel
                for channel, band in zip(numbers, bands, strict=True)
                if adapters
                and origin.instrument != references[channel][3]
                and any(low <= band.wavelength <= high for low, high in _WINDOWS)
                and abs(band.wavelength / references[channel][0].wavelength - 1) > RESPONSE_TOLERANCE
            )
        found = [references[channel] for channel in range(len(references))]
        return cls(
            wavelengths=tuple(band.wavelength for band, *_ in found),
            thermal=tuple(band.kind == "brightness_temperature" for band, *_ in found),
            mean=tuple(float(mean) for _, mean, _, _ in found),
            std=tuple(float(std) for _, _, std, _ in found),
            channels=tuple((name, tuple(numbers)) for name, numbers in channels.items()),
            scales=tuple(scales.items()),
            adapted=tuple(adapted.items()),
            instruments=tuple((name, get_satellite(name).instrument) for name in satellites),
        )

    @property
    def size(self) -> int:
        """The number of channels."""
        return len(self.wavelengths)

    def of_satellite(self, satellite: str) -> tuple[int, ...]:
        """The channels of a satellite's bands, in their order."""
        return dict(self.channels)[satellite]

    def scale(self, satellite: str) -> np.ndarray:
        """Slope and offset [2, band] from a satellite's network units to the axis's."""
        return np.array(dict(self.scales)[satellite]).T

    def given(self, source: str, target: str) -> tuple[int, ...]:
        """The channels that both satellites have, ascending."""
        return tuple(sorted({*self.of_satellite(source)} & {*self.of_satellite(target)}))

    def copied(self, source: str, target: str) -> list[tuple[int, int]]:
        """Positions of bands in the source's and the target's arrays that pass from one to the other unchanged."""
        theirs, instruments, adapted = self.of_satellite(source), dict(self.instruments), dict(self.adapted)
        alike = instruments[source] == instruments[target]
        return [
            (theirs.index(channel), position)
            for position, channel in enumerate(self.of_satellite(target))
            if channel in theirs and (alike or channel not in (*adapted[source], *adapted[target]))
        ]

    def origins(self, source: str, target: str) -> list[str]:
        """Where each of the target's bands comes from: one of `ORIGINS`."""
        theirs, passed = self.of_satellite(source), {position for _, position in self.copied(source, target)}
        return [
            "passed on" if position in passed else "adjusted" if channel in theirs else "inferred"
            for position, channel in enumerate(self.of_satellite(target))
        ]

    def are_alternative_band_sets(self, source: str, target: str) -> bool:
        """Tell if both are subsets of one satellite's bands (G16_no1, G16_no2), neither of which holds the other."""
        ours, theirs = {*self.of_satellite(source)}, {*self.of_satellite(target)}
        return source.split("_", 1)[0] == target.split("_", 1)[0] and bool(ours - theirs and theirs - ours)

    def patterns(self) -> tuple[tuple[int, ...], ...]:
        """The different sets of given channels with which one satellite lacks bands of another, ascending."""
        lacking = {
            self.given(source, target)
            for source, ours in self.channels
            for target, theirs in self.channels
            if {*theirs} - {*ours} and not self.are_alternative_band_sets(source, target)
        }
        return tuple(sorted(pattern for pattern in lacking if pattern))
