"""Which channel of which satellite is what: bands, shared ones, those that skip, slots of the spectral path."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from satxlate_jax.cli import InputError
from satxlate_jax.instruments import Band, change_of_units, get_satellite, is_shared, shared_channels

Units = tuple[np.ndarray, np.ndarray] | None  # slope and offset per channel; None leaves values as they are


def satellite_bands(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Satellite -> its bands, 1-based, in the configured order."""
    return {satellite: tuple(numbers) for satellite, numbers in config["data"]["satellites"].items()}


def streams(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The satellites whose observations are drawn, in the configured order."""
    return tuple(config["data"]["streams"]) or tuple(config["data"]["satellites"])


def shared_by_pair(config: Mapping[str, Any]) -> dict[str, dict[str, list[int]]]:
    """Satellite -> satellite -> 0-based channels of the first whose wavelength the second has too.

    The lists of a pair and of the pair turned round name the same wavelengths in the same order.
    """
    bands = satellite_bands(config)
    given = config["data"]["shared"]
    pairs: dict[str, dict[str, list[int]]] = {}
    for first, ours in bands.items():
        pairs[first] = {}
        for second, theirs in bands.items():
            if second == first:
                continue
            if second in given.get(first, {}):
                pairs[first][second] = list(given[first][second])
            elif second in pairs:
                pairs[first][second] = shared_channels(second, theirs, first, ours)[1]
            else:
                pairs[first][second] = shared_channels(first, ours, second, theirs)[0]
    for first, others in pairs.items():
        for second, channels in others.items():
            if len(channels) != len(pairs[second][first]):
                raise InputError(f"config.data.shared gives {first} and {second} unequal numbers of shared channels")
    return pairs


def shared_units(
    shared: Mapping[str, Mapping[str, Sequence[int]]], satellites: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Units]]:
    """How to write the bands that two satellites share in the other's network units.

    Args:
      shared: as `shared_by_pair` gives them.
      satellites: satellite -> 'mean' and 'std' of its channels, in each band's unit.

    Returns:
      satellite -> satellite -> slope and offset per shared channel, from the first's to the second's network units;
      None where both satellites are normalised alike.
    """

    def between(first: str, second: str) -> Units:
        ours, theirs = shared[first][second], shared[second][first]
        mean, std = (np.array(satellites[first][key])[list(ours)] for key in ("mean", "std"))
        other_mean, other_std = (np.array(satellites[second][key])[list(theirs)] for key in ("mean", "std"))
        alike = np.array_equal(mean, other_mean) and np.array_equal(std, other_std)
        return None if alike else change_of_units(mean, std, other_mean, other_std)

    return {first: {second: between(first, second) for second in others} for first, others in shared.items()}


def _numbers(value: Any) -> list[int]:
    """What skip_connection may be: None, a number, a list, or a string such as '5,7'."""
    if value is None:
        return []
    words = value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
    try:
        return [int(word) for word in words]
    except (TypeError, ValueError):
        raise InputError(f"config.generator.skip_connection is {value!r}; give a number, a list or '5,7'") from None


def skip_channels(config: Mapping[str, Any]) -> dict[str, list[int]]:
    """Satellite -> 0-based channels of its images that skip the latent space.

    In 'released' the numbers are those channels themselves; in 'paper' they are bands of the first satellite, found in
    every other satellite by wavelength.

    Raises:
      InputError: a satellite that sends images lacks such a channel or band.
    """
    numbers = _numbers(config["generator"]["skip_connection"])
    bands = satellite_bands(config)
    first = next(iter(bands))
    channels: dict[str, list[int]] = {}
    for satellite, ours in bands.items():
        if config["objective"]["variant"] == "released":
            channels[satellite] = numbers
            missing = [number for number in numbers if not 0 <= number < len(ours)]
        else:
            found = [shared_channels(first, [number], satellite, ours)[1] for number in numbers]
            missing = [number for number, channel in zip(numbers, found, strict=True) if not channel]
            channels[satellite] = [channel[0] for channel in found if channel]
        if missing:
            what = "channel" if config["objective"]["variant"] == "released" else f"counterpart of {first}'s band"
            raise InputError(f"config.generator.skip_connection: {satellite} has no {what} {missing[0]}")
    return channels


def spectral_slots(config: Mapping[str, Any]) -> dict[str, list[int]]:
    """Satellite -> for each of its channels the slot of its wavelength on the spectral path; {} without one.

    Slots are numbered in the order in which the satellites bring new wavelengths.

    Raises:
      InputError: the path cannot be had with the rest of the configuration.
    """
    if config["generator"]["spectral_hidden"] and config["generator"]["spectral_path"] in ("none", "copy"):
        raise InputError("config.generator.spectral_hidden needs a spectral_path that is 'linear' or 'quadratic'")
    if config["generator"]["spectral_path"] == "none":
        return {}
    if config["generator"]["n_downsample"]:
        raise InputError("config.generator.spectral_path needs config.generator.n_downsample 0")
    known: list[Band] = []  # one band for each slot
    slots: dict[str, list[int]] = {}
    for satellite, numbers in satellite_bands(config).items():
        slots[satellite] = []
        for band in (get_satellite(satellite).band(number) for number in numbers):
            free = [slot for slot in range(len(known)) if slot not in slots[satellite]]
            found = [slot for slot in free if is_shared(band, known[slot])]
            slots[satellite].append(found[0] if found else len(known))
            if not found:
                known.append(band)
    _check_spectral_path(config, slots)
    return slots


def _check_spectral_path(config: Mapping[str, Any], slots: Mapping[str, list[int]]) -> None:
    """Refuses what would mix up images or satellites: networks packed abreast, or stacked with channels of zeros."""
    hidden = config["generator"]["spectral_hidden"]
    if config["generator"]["spectral_path"] == "quadratic" and config["abreast"] > 1:
        raise InputError("config.generator.spectral_path 'quadratic' needs config.abreast 1; 'linear' does not")
    if hidden and config["abreast"] > 1:
        raise InputError("config.generator.spectral_hidden needs config.abreast 1")
    unequal = len({len(numbers) for numbers in slots.values()}) > 1
    if config["generator"]["spectral_path"] == "quadratic" and config["objective"]["pairs_per_step"] and unequal:
        # the zeros would change the order of the products
        raise InputError("config.objective.pairs_per_step with spectral_path 'quadratic' needs as many bands for all")
    if hidden and config["objective"]["pairs_per_step"]:
        raise InputError("config.generator.spectral_hidden needs config.objective.pairs_per_step 0")
