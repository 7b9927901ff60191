"""Where the spectral path begins: with the band copy, or also with what unpaired data teaches about lacking bands.

The path carries an image as one value per wavelength ("slot"), in the units of the first satellite that has it. A
satellite's own bands fill their slots. With `generator.spectral_path = 'copy'` the others begin empty, at the mean;
with 'linear' and 'quadratic' they are filled by least squares, fitted on the training images of a satellite that has
them, from the bands that both share (and their products). So the translation starts as the baseline that `evaluate`
calls by the same name.

With `generator.spectral_hidden` units a small network per pixel adds to that, where the teacher has all of the
learner's bands. Whether it helps is asked of the validation split for each slot; then regression and network are fitted
on both splits, because what limits them is how many scenes they have seen.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from satxlate_jax.instruments import change_of_units
from satxlate_jax.models.spectral_path import spectral_features
from satxlate_jax.training import sharding
from satxlate_jax.training.channels import spectral_slots, streams
from satxlate_jax.training.hidden_units import fit_units, infer
from satxlate_jax.training.input import Batch, data_facts, training_batches, validation_batches
from satxlate_jax.training.least_squares import least_squares, predict

PATCHES = 2_048
"""Patches of each satellite that the regressions are fitted on, and that hidden units are checked on: at most so many
of either split are read."""
STEP = 3
"""Of their pixels, along rows and columns: neighbours say nearly the same. Patches above 64 pixels are thinned more."""

Maps = dict[str, dict[str, dict[str, Any]]]
Scales = Mapping[str, tuple[np.ndarray, np.ndarray]]
Pixels = Mapping[str, np.ndarray]


def spectral_start(config: Any) -> Maps:
    """The maps from every satellite's bands to the slots and back.

    The first process reads and fits, the others take what it found: the same for any number of processes.

    Args:
      config: a configuration with a spectral path; all but 'copy' read training records.

    Returns:
      {'encoders': {satellite: {'kernel': [feature, slot], 'bias': [slot]}}, 'decoders': {satellite: {'kernel':
      [slot, band], 'bias': [band]}}}, float32, network units; features are those of `spectral_features`. With hidden
      units, encoders that are taught by them also have 'inferred', the layers of `Inference`.
    """
    lists = sharding.from_first_process(lambda: jax.tree.map(np.ndarray.tolist, _fit(config)))
    return jax.tree.map(lambda leaf: np.array(leaf, np.float32), lists, is_leaf=lambda leaf: isinstance(leaf, list))


def _fit(config: Any) -> Maps:
    """The maps, of one process's own reading and computing; float32."""
    slots = spectral_slots(config)
    scales = _slot_scales(data_facts(config), slots)
    n_slots = 1 + max(slot for numbers in slots.values() for slot in numbers)
    maps: Maps = {"encoders": {}, "decoders": {}}
    for satellite, (slope, offset) in scales.items():
        own = np.eye(n_slots)[slots[satellite]]  # [band, slot]
        infers = config.generator.spectral_path == "quadratic" and len(own) < n_slots
        products = spectral_features(np.zeros((1, len(own))), infers).shape[1] - len(own)
        kernel = np.concatenate([own * slope[:, None], np.zeros((products, n_slots))])
        maps["encoders"][satellite] = {"kernel": kernel, "bias": offset @ own}
        maps["decoders"][satellite] = {"kernel": (own / slope[:, None]).T, "bias": -offset / slope}
    if config.generator.spectral_path != "copy":
        _teach(config, maps["encoders"], slots, scales)
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), maps)


def with_spectral_start(generator: Mapping[str, Any], maps: Maps, *, quiet: bool = False) -> dict[str, Any]:
    """A generator's parameters with these maps as its spectral path.

    Args:
      generator: nested dict of parameters.
      maps: of `spectral_start`.
      quiet: the networks begin by adding nothing to the path, for one that is fitted. Beside a mere copy they have to
        make the lacking bands from the beginning.
    """
    changed = dict(generator)
    for part, satellites in maps.items():
        changed[part] = {
            name: {**generator[part][name], "spectral": {**generator[part][name]["spectral"], **values}}
            for name, values in satellites.items()
        }
    if quiet:
        for name, decoder in changed["decoders"].items():
            changed["decoders"][name] = {**decoder, "conv_out": jax.tree.map(jnp.zeros_like, decoder["conv_out"])}
    return changed


def _teach(config: Any, encoders: dict[str, dict[str, Any]], slots: Mapping[str, list[int]], scales: Scales) -> None:
    """Fills the slots that satellites lack by what is learned from the images of others."""
    quadratic = config.generator.spectral_path == "quadratic"
    lessons = [
        _Lesson(learner, teacher, lacking, slots, scales, quadratic)
        for learner in slots
        for teacher, lacking in _teachers(streams(config), slots, learner).items()
    ]
    if not lessons:
        return
    enough = -(-PATCHES // config.batch_size)
    train = _pixels(islice(training_batches(config), enough), lessons)
    for lesson in lessons:
        lesson.fill(encoders[lesson.learner], train)
    if config.generator.spectral_hidden:
        check = _pixels(islice(validation_batches(config), enough), lessons)
        for learner, encoder in encoders.items():
            able = [lesson for lesson in lessons if lesson.learner == learner and lesson.complete]
            if able:
                _add_units(config, encoder, able, train, check)


def _add_units(
    config: Any, encoder: dict[str, Any], lessons: Sequence["_Lesson"], train: Pixels, check: Pixels
) -> None:
    """Fits hidden units to what regressions leave: first to learn for which slots they help, then for good."""
    units, seed = config.generator.spectral_hidden, config.seed
    layers = fit_units(*_left(encoder, lessons, train), units, seed)
    bands, left = _left(encoder, lessons, check)
    helps = np.nansum((left - infer(layers, bands)) ** 2, axis=0) < np.nansum(left**2, axis=0)
    both = {teacher: np.concatenate([train[teacher], check[teacher]]) for teacher in train}
    for lesson in lessons:
        lesson.fill(encoder, both)
    layers = fit_units(*_left(encoder, lessons, both), units, seed)
    layers["last"] = {name: np.where(helps, leaf, 0) for name, leaf in layers["last"].items()}
    encoder["inferred"] = layers


def _left(encoder: Mapping[str, Any], lessons: Sequence["_Lesson"], pixels: Pixels) -> tuple[np.ndarray, np.ndarray]:
    """The learner's bands [pixel, band], and what its regressions leave of the slots it lacks [pixel, slot]."""
    parts = [lesson.left(encoder, pixels) for lesson in lessons]
    return np.concatenate([bands for bands, _ in parts]), np.concatenate([left for _, left in parts])


def _pixels(batches: Iterable[Batch], lessons: Iterable["_Lesson"]) -> Pixels:
    """Teacher -> its images' pixels [pixel, band], network units."""
    teachers = {lesson.teacher for lesson in lessons}
    found: dict[str, list[np.ndarray]] = {teacher: [] for teacher in teachers}
    for batch in batches:
        for teacher in teachers:
            step = max(STEP, batch[teacher].shape[1] // 21)
            found[teacher].append(batch[teacher][:, ::step, ::step].reshape(-1, batch[teacher].shape[-1]))
    return {teacher: np.concatenate(rows) for teacher, rows in found.items()}


class _Lesson:
    """What a teacher's images say of slots that the learner lacks.

    Inputs are the shared bands in the learner's network units, outputs the lacking ones in those of the slots, so what
    is fitted is the learner's.

    Attributes:
      learner, teacher: satellites.
      complete: the teacher has all of the learner's bands.
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
        self.learner, self.teacher, self._quadratic = learner, teacher, quadratic
        shared = [slot for slot in slots[learner] if slot in slots[teacher]]
        self.complete = len(shared) == len(slots[learner])
        self._inputs, self._outputs = ([slots[teacher].index(slot) for slot in part] for part in (shared, lacking))
        self._ours = [slots[learner].index(slot) for slot in shared]
        self._n_bands = len(slots[learner])
        self._to_slots, (slope, offset) = scales[teacher], scales[learner]
        self._own_scale = slope[self._ours], offset[self._ours]
        self._lacking = lacking
        everywhere = sorted({slot for numbers in slots.values() for slot in numbers} - set(slots[learner]))
        self._columns, self._n_lacking = [everywhere.index(slot) for slot in lacking], len(everywhere)

    def fill(self, encoder: dict[str, Any], pixels: Pixels) -> None:
        """Writes the regressions into the learner's map."""
        inputs, outputs = self._rows(pixels)
        weights, offset = least_squares(inputs, outputs, self._quadratic)
        encoder["kernel"][np.ix_(self._feature_rows(), self._lacking)] = weights
        encoder["bias"][self._lacking] = offset

    def left(self, encoder: Mapping[str, Any], pixels: Pixels) -> tuple[np.ndarray, np.ndarray]:
        """Bands [pixel, band] and what the regressions leave [pixel, lacking slot]; NaN for others' slots."""
        inputs, outputs = self._rows(pixels)
        weights = encoder["kernel"][np.ix_(self._feature_rows(), self._lacking)]
        left = np.full((len(inputs), self._n_lacking), np.nan, np.float32)
        left[:, self._columns] = outputs - predict(inputs, weights, encoder["bias"][self._lacking], self._quadratic)
        return inputs, left

    def _rows(self, pixels: Pixels) -> tuple[np.ndarray, np.ndarray]:
        """Inputs [pixel, band] and outputs [pixel, slot], float32."""
        slope, offset = self._to_slots
        found = pixels[self.teacher] * slope + offset
        own_slope, own_offset = self._own_scale
        inputs = (found[:, self._inputs] - own_offset) / own_slope
        return inputs.astype(np.float32), found[:, self._outputs].astype(np.float32)

    def _feature_rows(self) -> list[int]:
        """Where bands and products of the shared bands are among those of all the learner's bands."""
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
        scales[satellite] = change_of_units(mean, std, unit_mean, unit_std)
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
