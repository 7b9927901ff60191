"""Where the spectral path begins: with the band copy, or also with the linear regressions that unpaired data gives.

The path carries an image as one value per wavelength ("slot"), in the units of the first satellite that has it. A
satellite's own bands fill their slots. With `generator.spectral_path = 'copy'` the others begin empty, at the mean;
with 'regression' they are filled by least squares, fitted on the training images of a satellite that has them, from
the bands that both share: what `evaluate` calls the linear baseline. Then the network starts as that baseline.
"""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from satxlate_jax.training.batches import data_facts, training_batches
from satxlate_jax.training.config import spectral_slots

PATCHES = 1_024
"""Patches of each satellite that the regressions are fitted on."""

Maps = dict[str, dict[str, dict[str, np.ndarray]]]


class _Moments:
    """Mean and covariance of pixels, added up batch by batch in float64."""

    def __init__(self, channels: int):
        self._n, self._sum, self._products = 0, np.zeros(channels), np.zeros((channels, channels))

    def add(self, pixels: np.ndarray) -> None:
        pixels = pixels.astype(np.float64)
        self._n += len(pixels)
        self._sum += pixels.sum(0)
        self._products += pixels.T @ pixels

    def regression(self, inputs: list[int], output: int) -> tuple[np.ndarray, float]:
        """Weights and offset of the least squares from some channels to another; collinear ones share the weight."""
        mean = self._sum / self._n
        covariance = self._products / self._n - np.outer(mean, mean)
        weights = np.linalg.lstsq(covariance[np.ix_(inputs, inputs)], covariance[inputs, output], rcond=1e-9)[0]
        return weights, float(mean[output] - mean[inputs] @ weights)


def spectral_start(config: Any) -> Maps:
    """The maps from every satellite's bands to the slots and back.

    The same in every process, whatever their number.

    Args:
      config: a configuration with a spectral path; 'regression' reads training records.

    Returns:
      {'encoders': {satellite: {'kernel': [band, slot], 'bias': [slot]}}, 'decoders': {satellite: {'kernel':
      [slot, band], 'bias': [band]}}}, float32, network units.
    """
    slots = spectral_slots(config)
    scales = _slot_scales(data_facts(config), slots)
    n_slots = 1 + max(slot for numbers in slots.values() for slot in numbers)
    maps: Maps = {"encoders": {}, "decoders": {}}
    for satellite, numbers in slots.items():
        slope, offset = scales[satellite]
        own = np.eye(n_slots)[numbers]  # [band, slot]
        maps["encoders"][satellite] = {"kernel": own * slope[:, None], "bias": offset @ own}
        maps["decoders"][satellite] = {"kernel": (own / slope[:, None]).T, "bias": -offset / slope}
    moments = _slot_moments(config, scales) if config.generator.spectral_path == "regression" else {}
    for satellite, numbers in slots.items():
        for slot in set(range(n_slots)) - set(numbers):
            _fill_slot(maps["encoders"][satellite], scales[satellite], slots, moments, numbers, slot)
    return jax.tree.map(lambda leaf: leaf.astype(np.float32), maps)


def with_spectral_start(generator: Mapping[str, Any], maps: Maps) -> dict[str, Any]:
    """A generator's parameters with these maps as its spectral path."""
    changed = dict(generator)
    for part, satellites in maps.items():
        changed[part] = {name: {**generator[part][name], "spectral": values} for name, values in satellites.items()}
    return changed


def _slot_scales(
    facts: Mapping[str, Mapping[str, list]], slots: Mapping[str, list[int]]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Satellite -> slope and offset [band] from its network units to those of the slots."""
    units: dict[int, tuple[float, float]] = {}  # slot -> mean and deviation that its first satellite is normalised by
    scales = {}
    for satellite, numbers in slots.items():
        mean, std = np.array(facts[satellite]["mean"]), np.array(facts[satellite]["std"])
        for slot, *unit in zip(numbers, mean, std, strict=True):
            units.setdefault(slot, tuple(unit))
        unit_mean, unit_std = np.array([units[slot] for slot in numbers]).T
        scales[satellite] = std / unit_std, (mean - unit_mean) / unit_std
    return scales


def _slot_moments(config: Any, scales: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, _Moments]:
    """Satellite -> the moments of its training images in the units of the slots."""
    moments: dict[str, _Moments] = {}
    batches = training_batches(config)
    for _ in range(-(-PATCHES // config.batch_size)):
        for satellite, images in next(batches).items():
            slope, offset = scales[satellite]
            pixels = images.reshape(-1, images.shape[-1]) * slope + offset
            moments.setdefault(satellite, _Moments(len(slope))).add(pixels)
    return moments


def _fill_slot(
    encoder: dict[str, np.ndarray],
    scale: tuple[np.ndarray, np.ndarray],
    slots: Mapping[str, list[int]],
    moments: Mapping[str, _Moments],
    numbers: list[int],
    slot: int,
) -> None:
    """Fills a slot that a satellite lacks by regression, fitted on the satellite that shares most bands with it."""
    teachers = [name for name in moments if slot in slots[name] and set(slots[name]) & set(numbers)]
    if not teachers:
        return
    teacher = max(teachers, key=lambda name: len(set(slots[name]) & set(numbers)))
    shared = sorted(set(slots[teacher]) & set(numbers))
    inputs = [slots[teacher].index(other) for other in shared]
    weights, constant = moments[teacher].regression(inputs, slots[teacher].index(slot))
    slope, offset = scale
    ours = [numbers.index(other) for other in shared]
    encoder["kernel"][ours, slot] = weights * slope[ours]
    encoder["bias"][slot] = constant + weights @ offset[ours]
