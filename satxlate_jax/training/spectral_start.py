"""Where the spectral path begins: with the band copy, or also with what unpaired data gives: regressions, whitening.

The path carries an image as one value per wavelength ("slot"), in the units of the first satellite that has it. A
satellite's own bands fill their slots. With `generator.spectral_path = 'copy'` the others begin empty, at the mean;
with 'linear' and 'quadratic' they are filled by least squares, fitted on the training images of a satellite that has
them, from the bands that both share (and their products). So the translation starts as the baseline that `evaluate`
calls by the same name. With `generator.spectral_hidden` units the path also has a small network for the slots that a
satellite lacks; it begins by adding nothing, behind a whitening fitted on that satellite's own training images.
"""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from satxlate_jax.models.spectral import spectral_features
from satxlate_jax.training.batches import data_facts, training_batches
from satxlate_jax.training.channels import spectral_slots, streams

PATCHES = 1_024
"""Patches of each satellite that the regressions are fitted on."""
STEP = 3
"""Of their pixels, along the rows: neighbours say nearly the same."""

WHITE = 1e-4
"""Added to the variances that a whitening divides by, in network units, so that it does not amplify noise."""

Maps = dict[str, dict[str, dict[str, Any]]]
Scales = Mapping[str, tuple[np.ndarray, np.ndarray]]


def spectral_start(config: Any) -> Maps:
    """The maps from every satellite's bands to the slots and back.

    The same in every process, whatever their number.

    Args:
      config: a configuration with a spectral path; all but 'copy' read training records.

    Returns:
      {'encoders': {satellite: {'kernel': [feature, slot], 'bias': [slot]}}, 'decoders': {satellite: {'kernel':
      [slot, band], 'bias': [band]}}}, float32, network units; features are those of `spectral_features`. Encoders with
      hidden units have 'whitening' too, {'kernel': [band, band], 'bias': [band]}.
    """
    slots = spectral_slots(config)
    scales = _slot_scales(data_facts(config), slots)
    quadratic = config.generator.spectral_path == "quadratic"
    n_slots = 1 + max(slot for numbers in slots.values() for slot in numbers)
    maps: Maps = {"encoders": {}, "decoders": {}}
    for satellite, (slope, offset) in scales.items():
        own = np.eye(n_slots)[slots[satellite]]  # [band, slot]
        infers = quadratic and len(own) < n_slots
        products = spectral_features(np.zeros((1, len(own))), infers).shape[1] - len(own)
        kernel = np.concatenate([own * slope[:, None], np.zeros((products, n_slots))])
        maps["encoders"][satellite] = {"kernel": kernel, "bias": offset @ own}
        maps["decoders"][satellite] = {"kernel": (own / slope[:, None]).T, "bias": -offset / slope}
    lessons: list[_Lesson | _Whitening] = []
    for learner in slots:
        teachers = _teachers(streams(config), slots, learner)
        if config.generator.spectral_path != "copy":
            lessons += [
                _Lesson(learner, teacher, lacking, slots, scales, quadratic) for teacher, lacking in teachers.items()
            ]
        if config.generator.spectral_hidden and len(slots[learner]) < n_slots:
            lessons.append(_Whitening(learner))
    if lessons:
        batches = training_batches(config)
        for _ in range(-(-PATCHES // config.batch_size)):
            batch = next(batches)
            for lesson in lessons:
                lesson.add(batch[lesson.teacher])
    for lesson in lessons:
        lesson.fill(maps["encoders"][lesson.learner])
    return jax.tree.map(lambda leaf: leaf.astype(np.float32), maps)


def with_spectral_start(generator: Mapping[str, Any], maps: Maps) -> dict[str, Any]:
    """A generator's parameters with these maps as its spectral path."""
    changed = dict(generator)
    for part, satellites in maps.items():
        changed[part] = {
            name: {**generator[part][name], "spectral": {**generator[part][name]["spectral"], **values}}
            for name, values in satellites.items()
        }
    return changed


class _Moments:
    """Mean and covariance of rows that come in portions, added up in float64."""

    def __init__(self):
        self._n, self._sum, self._products = 0, 0.0, 0.0

    def add(self, rows: np.ndarray) -> None:
        self._n += len(rows)
        self._sum += rows.sum(0)
        self._products += rows.T @ rows

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        mean = self._sum / self._n
        return mean, self._products / self._n - np.outer(mean, mean)


class _Whitening:
    """What makes a satellite's bands, over its own training images, uncorrelated and of variance one."""

    def __init__(self, learner: str):
        self.learner = self.teacher = learner
        self._moments = _Moments()

    def add(self, images: np.ndarray) -> None:
        """Takes in images [n, h, w, band], network units."""
        self._moments.add(images[:, :, ::STEP].reshape(-1, images.shape[-1]).astype(np.float64))

    def fill(self, encoder: dict[str, Any]) -> None:
        """Writes the map, by principal components."""
        mean, covariance = self._moments.finish()
        variances, directions = np.linalg.eigh(covariance)
        kernel = directions / np.sqrt(np.maximum(variances, 0) + WHITE)
        encoder["whitening"] = {"kernel": kernel, "bias": -mean @ kernel}


class _Lesson:
    """The regression, on a teacher's images, that fills slots which the learner lacks; added up in float64.

    Inputs are the shared bands in the learner's network units, outputs the lacking ones in those of the slots, so the
    solution is the learner's kernel.
    """

    def __init__(
        self,
        learner: str,
        teacher: str,
        lacking: list[int],
        slots: Mapping[str, list[int]],
        scales: Scales,
        quadratic: bool,
    ):
        self.learner, self.teacher, self._lacking, self._quadratic = learner, teacher, lacking, quadratic
        shared = [slot for slot in slots[learner] if slot in slots[teacher]]
        self._inputs, self._outputs = ([slots[teacher].index(slot) for slot in part] for part in (shared, lacking))
        self._ours = [slots[learner].index(slot) for slot in shared]
        self._n_bands = len(slots[learner])
        self._to_slots, (slope, offset) = scales[teacher], scales[learner]
        self._own_scale = slope[self._ours], offset[self._ours]
        self._moments = _Moments()

    def add(self, images: np.ndarray) -> None:
        """Takes in images of the teacher [n, h, w, band], network units."""
        slope, offset = self._to_slots
        pixels = images[:, :, ::STEP].reshape(-1, images.shape[-1]).astype(np.float64) * slope + offset
        own_slope, own_offset = self._own_scale
        features = spectral_features((pixels[:, self._inputs] - own_offset) / own_slope, self._quadratic)
        self._moments.add(np.concatenate([features, pixels[:, self._outputs]], axis=1))

    def fill(self, encoder: dict[str, np.ndarray]) -> None:
        """Writes the solution into the learner's map; collinear features share the weight."""
        mean, covariance = self._moments.finish()
        n = len(mean) - len(self._outputs)
        scale = np.sqrt(np.maximum(np.diag(covariance)[:n], 1e-12))
        scaled = covariance[:n, :n] / np.outer(scale, scale)
        weights = np.linalg.lstsq(scaled, covariance[:n, n:] / scale[:, None], rcond=1e-10)[0] / scale[:, None]
        encoder["kernel"][np.ix_(self._feature_rows(), self._lacking)] = weights
        encoder["bias"][self._lacking] = mean[n:] - mean[:n] @ weights

    def _feature_rows(self) -> list[int]:
        """Where the features of the shared bands are among those of all the learner's bands."""
        if not self._quadratic:
            return self._ours
        everything = [(i, j) for i in range(self._n_bands) for j in range(i, self._n_bands)]
        rows = {pair: self._n_bands + index for index, pair in enumerate(everything)}
        pairs = [(a, b) for index, a in enumerate(self._ours) for b in self._ours[index:]]
        return self._ours + [rows[min(pair), max(pair)] for pair in pairs]


def _slot_scales(facts: Mapping[str, Mapping[str, list]], slots: Mapping[str, list[int]]) -> Scales:
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


def _teachers(senders: tuple[str, ...], slots: Mapping[str, list[int]], learner: str) -> dict[str, list[int]]:
    """Satellite -> the slots that a learner is taught by it: the sender of images that shares most bands with it."""
    teachers: dict[str, list[int]] = {}
    ours = set(slots[learner])
    for slot in sorted({slot for numbers in slots.values() for slot in numbers} - ours):
        able = [name for name in senders if slot in slots[name] and ours & set(slots[name])]
        if able:
            teacher = max(able, key=lambda name: len(ours & set(slots[name])))
            teachers.setdefault(teacher, []).append(slot)
    return teachers
