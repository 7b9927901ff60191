"""Channel indices of each satellite: bands, shared bands, bands that skip the latent space, wavelength channels."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from satxlate_jax.cli import InputError
from satxlate_jax.instruments import change_of_units, shared_channels
from satxlate_jax.wavelength_axis import assign_channels

Channels = Mapping[str, Mapping[str, Sequence[int]]]
Units = tuple[np.ndarray, np.ndarray] | None  # slope and offset per channel; None leaves values as they are


def satellite_bands(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Satellite -> its bands, 1-based, in the configured order."""
    return {satellite: tuple(numbers) for satellite, numbers in config["data"]["satellites"].items()}


def carries_angles(config: Mapping[str, Any]) -> bool:
    """True if images carry the angles of sun and view as two more channels, see `geometry.pixel_angles`."""
    return config["generator"]["family"] == "spectral_flow"


def training_sources(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The satellites whose observations are drawn, in the configured order."""
    return tuple(config["data"]["streams"]) or tuple(config["data"]["satellites"])


def shared_by_pair(config: Mapping[str, Any]) -> dict[str, dict[str, list[int]]]:
    """Satellite -> satellite -> 0-based channels of the first whose wavelength the second has too.

    The lists of a pair and of the pair turned round name the same wavelengths in the same order.
    """
    bands, given = satellite_bands(config), config["data"]["shared"]
    pairs: dict[str, dict[str, list[int]]] = {first: {} for first in bands}
    for first, second in itertools.combinations(bands, 2):
        ours, theirs = shared_channels(first, bands[first], second, bands[second])
        pairs[first][second] = list(given.get(first, {}).get(second, ours))
        pairs[second][first] = list(given.get(second, {}).get(first, theirs))
    for first, others in pairs.items():
        for second, channels in others.items():
            if len(channels) != len(pairs[second][first]):
                raise InputError(f"config.data.shared gives {first} and {second} unequal numbers of shared channels")
    return pairs


def shared_units(
    shared: Mapping[str, Mapping[str, Sequence[int]]], satellites: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Units]]:
    """The maps that write bands that two satellites share in the other's network units.

    Args:
      shared: as `shared_by_pair` gives them.
      satellites: satellite -> 'mean' and 'std' of its channels, in each band's unit.

    Returns:
      satellite -> satellite -> slope and offset per shared channel, from the first's to the second's network units;
      None where both satellites are normalised alike.
    """

    def between(first: str, second: str) -> Units:
        ours = [np.array(satellites[first][key])[list(shared[first][second])] for key in ("mean", "std")]
        theirs = [np.array(satellites[second][key])[list(shared[second][first])] for key in ("mean", "std")]
        return None if np.array_equal(ours, theirs) else change_of_units(*ours, *theirs)

    return {first: {second: between(first, second) for second in others} for first, others in shared.items()}


def _skip_numbers(value: Any) -> list[int]:
    """The numbers in skip_connection: None, a number, a list, or a string such as '5,7'."""
    if value is None:
        return []
    words = value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
    return [int(word) for word in words]


def skip_channels(config: Mapping[str, Any]) -> dict[str, list[int]]:
    """Satellite -> 0-based channels of its images that skip the latent space.

    In 'released' the numbers are those channels themselves; in 'paper' they are bands of the first satellite, found in
    every other satellite by wavelength.

    Raises:
      InputError: a satellite that sends images lacks such a channel or band.
    """
    numbers, bands = _skip_numbers(config["generator"]["skip_connection"]), satellite_bands(config)
    released, first = config["objective"]["variant"] == "released", next(iter(bands))
    channels: dict[str, list[int]] = {}
    for satellite, ours in bands.items():
        found = [
            number if released else next(iter(shared_channels(first, [number], satellite, ours)[1]), -1)
            for number in numbers
        ]
        for number, channel in zip(numbers, found, strict=True):
            if not 0 <= channel < len(ours):
                what = "channel" if released else f"counterpart of {first}'s band"
                raise InputError(f"config.generator.skip_connection: {satellite} has no {what} {number}")
        channels[satellite] = found
    return channels


def wavelength_channels(config: Mapping[str, Any]) -> dict[str, list[int]]:
    """Satellite -> for each of its bands the spectral path's channel of its wavelength; {} without a spectral path.

    They are numbered in the order in which the satellites bring new wavelengths; checkpoints store them as 'slots'.

    Raises:
      InputError: the path does not go with the rest of the configuration.
    """
    path, hidden = config["generator"]["spectral_path"], config["generator"]["spectral_hidden"]
    if hidden and path in ("none", "copy"):
        raise InputError("config.generator.spectral_hidden needs a spectral_path that is 'linear' or 'quadratic'")
    if path == "none":
        return {}
    if config["generator"]["n_downsample"]:
        raise InputError("config.generator.spectral_path needs config.generator.n_downsample 0")
    return assign_channels(satellite_bands(config))
