"""What a configuration's satellites bring: bands, statistics, shared bands, skips, wavelength channels."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from satxlate_jax.cli import InputError
from satxlate_jax.instruments import change_of_units, published_statistics, shared_channels
from satxlate_jax.wavelength_axis import assign_channels

Channels = Mapping[str, Mapping[str, Sequence[int]]]
Units = tuple[np.ndarray, np.ndarray] | None  # slope and offset per channel; None leaves values as they are


def satellite_bands(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Satellite -> its bands, 1-based, in the configured order."""
    return {satellite: tuple(numbers) for satellite, numbers in config["data"]["satellites"].items()}


def satellite_statistics(
    config: Mapping[str, Any],
    statistics: Callable[[str, tuple[int, ...]], tuple[np.ndarray, ...]] = published_statistics,
) -> dict[str, dict[str, Any]]:
    """Satellite -> 'bands', 1-based, and their 'mean' and 'std' in each band's unit, in the configured order."""
    found = {}
    for satellite, bands in satellite_bands(config).items():
        mean, std = statistics(satellite, bands)
        found[satellite] = {"bands": list(map(int, bands)), "mean": mean.tolist(), "std": std.tolist()}
    return found


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
    """Satellite -> satellite -> slope and offset per shared channel, from the first's to the second's network units.

    None where both are normalised alike; `satellites` holds the 'mean' and 'std' of their channels.
    """

    def between(first: str, second: str) -> Units:
        ours = [np.array(satellites[first][key])[list(shared[first][second])] for key in ("mean", "std")]
        theirs = [np.array(satellites[second][key])[list(shared[second][first])] for key in ("mean", "std")]
        return None if np.array_equal(ours, theirs) else change_of_units(*ours, *theirs)

    return {first: {second: between(first, second) for second in others} for first, others in shared.items()}


def skip_channels(config: Mapping[str, Any]) -> dict[str, list[int]]:
    """Satellite -> 0-based channels of its images that skip the latent space; InputError where it lacks one.

    In 'released' the numbers are those channels themselves; in 'paper' they are bands of the first satellite, found in
    every other satellite by wavelength.
    """
    given, bands = config["generator"]["skip_connection"], satellite_bands(config)
    words = given.split(",") if isinstance(given, str) else given if isinstance(given, list | tuple) else [given]
    numbers = [int(word) for word in words if word is not None]
    released, first = config["objective"]["variant"] == "released", next(iter(bands))
    channels: dict[str, list[int]] = {}
    for satellite, ours in bands.items():
        channels[satellite] = []
        for number in numbers:
            alike = [number] if released else shared_channels(first, [number], satellite, ours)[1]
            if not alike or not 0 <= alike[0] < len(ours):
                what = "channel" if released else f"counterpart of {first}'s band"
                raise InputError(f"config.generator.skip_connection: {satellite} has no {what} {number}")
            channels[satellite].append(alike[0])
    return channels


def wavelength_channels(config: Mapping[str, Any]) -> dict[str, list[int]]:
    """Satellite -> for each of its bands the spectral path's channel of its wavelength; {} without a spectral path.

    InputError where the path does not go with the rest of the configuration.
    """
    path, hidden = config["generator"]["spectral_path"], config["generator"]["spectral_hidden"]
    if hidden and path in ("none", "copy"):
        raise InputError("config.generator.spectral_hidden needs a spectral_path that is 'linear' or 'quadratic'")
    if path == "none":
        return {}
    if config["generator"]["n_downsample"]:
        raise InputError("config.generator.spectral_path needs config.generator.n_downsample 0")
    return assign_channels(satellite_bands(config))
