"""Where the spectral path begins: with the band copy, or also with the regressions that unpaired data gives.

The path carries an image as one value per wavelength ("slot"), in the units of the first satellite that has it. A
satellite's own bands fill their slots. With `generator.spectral_path = 'copy'` the others begin empty, at the mean;
with 'linear' and 'quadratic' they are filled by least squares, fitted on the training images of a satellite that has
them, from the bands that both share (and their products). So the translation starts as the baseline that `evaluate`
calls by the same name.

With `generator.spectral_hidden` units, random functions of the whitened bands (an "extreme learning machine", Huang et
al., Neurocomputing 2006) join the bands and products, where the teacher has all of the learner's bands. How strongly
the weights are held back, and whether the units help at all, is chosen for each slot on the validation split.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from satxlate_jax.models.spectral import spectral_features
from satxlate_jax.training.batches import Batch, data_facts, training_batches, validation_batches
from satxlate_jax.training.channels import spectral_slots, streams
from satxlate_jax.training.spectral_fit import Moments, best_of, least_squares, whitening

PATCHES = 2_048
"""Patches of each satellite that the regressions are fitted on."""
STEP = 3
"""Of their pixels, along rows and columns: neighbours say nearly the same."""

Maps = dict[str, dict[str, dict[str, Any]]]
Scales = Mapping[str, tuple[np.ndarray, np.ndarray]]


def spectral_start(config: Any) -> Maps:
    """The maps from every satellite's bands to the slots and back.

    The same in every process, whatever their number.

    Args:
      config: a configuration with a spectral path; all but 'copy' read training records.

    Returns:
      {'encoders': {satellite: {'kernel': [feature, slot], 'bias': [slot]}}, 'decoders': {satellite: {'kernel':
      [slot, band], 'bias': [band]}}}, float32, network units; features are those of `spectral_features`. With hidden
      units, encoders that lack a slot also have 'whitening', 'hidden' and 'inferred', each with kernel and bias.
    """
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
    if config.generator.spectral_hidden:
        _draw_hidden_units(config, maps["encoders"], slots, n_slots)
    if config.generator.spectral_path != "copy":
        _teach(config, maps["encoders"], slots, scales)
    return jax.tree.map(lambda leaf: leaf.astype(np.float32), maps)


def _pixels(images: np.ndarray) -> np.ndarray:
    return images[:, ::STEP, ::STEP].reshape(-1, images.shape[-1]).astype(np.float64)


def _patches(config: Any) -> Iterator[Batch]:
    batches = training_batches(config)
    for _ in range(-(-PATCHES // config.batch_size)):
        yield next(batches)


def _draw_hidden_units(
    config: Any, encoders: dict[str, dict[str, Any]], slots: Mapping[str, list[int]], n_slots: int
) -> None:
    """Gives the encoders that lack a slot random functions of their whitened bands, not used yet."""
    moments = {satellite: Moments() for satellite, numbers in slots.items() if len(numbers) < n_slots}
    for batch in _patches(config) if moments else ():
        for satellite, sums in moments.items():
            sums.add(_pixels(batch[satellite]))
    random = np.random.default_rng(config.seed)
    units = config.generator.spectral_hidden
    for satellite, sums in moments.items():
        n_bands = len(slots[satellite])
        encoders[satellite] |= {
            "whitening": whitening(sums),
            "hidden": {
                "kernel": random.standard_normal((n_bands, units)) / n_bands**0.5,
                "bias": random.standard_normal(units),
            },
            "inferred": {
                "kernel": np.zeros((units, n_slots - n_bands)),
                "bias": np.zeros(n_slots - n_bands),
            },
        }


def _teach(config: Any, encoders: dict[str, dict[str, Any]], slots: Mapping[str, list[int]], scales: Scales) -> None:
    """Fills the slots that satellites lack by regressions on the images of others."""
    lessons = [
        _Lesson(
            learner, teacher, lacking, slots, scales, config.generator.spectral_path == "quadratic", encoders[learner]
        )
        for learner in slots
        for teacher, lacking in _teachers(streams(config), slots, learner).items()
    ]
    for batch in _patches(config) if lessons else ():
        for lesson in lessons:
            lesson.train.add(lesson.rows(batch[lesson.teacher]))
    if any(lesson.hidden for lesson in lessons):
        for batch in validation_batches(config):
            for lesson in lessons:
                lesson.check.add(lesson.rows(batch[lesson.teacher]))
    for lesson in lessons:
        lesson.fill(encoders[lesson.learner])


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


class _Lesson:
    """The regression, on a teacher's images, that fills slots which the learner lacks.

    Inputs are the shared bands in the learner's network units, outputs the lacking ones in those of the slots, so the
    solution is the learner's kernel.

    Attributes:
      learner, teacher: satellites.
      hidden: the learner's hidden units {'whitening', 'hidden'}, where the teacher can compute them, or nothing.
      train, check: sums over the teacher's pixels of the training and of the validation split.
    """

    def __init__(
        self,
        learner: str,
        teacher: str,
        lacking: list[int],
        slots: Mapping[str, list[int]],
        scales: Scales,
        quadratic: bool,
        encoder: Mapping[str, Any],
    ):
        self.learner, self.teacher, self._quadratic = learner, teacher, quadratic
        shared = [slot for slot in slots[learner] if slot in slots[teacher]]
        self._inputs, self._outputs = ([slots[teacher].index(slot) for slot in part] for part in (shared, lacking))
        self._ours = [slots[learner].index(slot) for slot in shared]
        self._n_bands = len(slots[learner])
        self._to_slots, (slope, offset) = scales[teacher], scales[learner]
        self._own_scale = slope[self._ours], offset[self._ours]
        self._lacking = lacking
        everywhere = sorted({slot for numbers in slots.values() for slot in numbers} - set(slots[learner]))
        self._columns = [everywhere.index(slot) for slot in lacking]  # of 'inferred'
        able = len(shared) == self._n_bands and "hidden" in encoder
        self.hidden = {name: encoder[name] for name in ("whitening", "hidden")} if able else {}
        self.train, self.check = Moments(), Moments()

    def rows(self, images: np.ndarray) -> np.ndarray:
        """Features and outputs [pixel, column] of the teacher's images [n, h, w, band], network units."""
        slope, offset = self._to_slots
        pixels = _pixels(images) * slope + offset
        own_slope, own_offset = self._own_scale
        inputs = (pixels[:, self._inputs] - own_offset) / own_slope
        columns = [spectral_features(inputs, self._quadratic)]
        if self.hidden:
            units = inputs
            for layer in self.hidden.values():
                units = units @ layer["kernel"] + layer["bias"]
            columns.append(np.tanh(units))
        return np.concatenate([*columns, pixels[:, self._outputs]], axis=1)

    def fill(self, encoder: dict[str, Any]) -> None:
        """Writes the solution into the learner's maps."""
        places, outputs = self._feature_rows(), len(self._outputs)
        if self.hidden:
            solution = best_of(
                self.train, self.check, outputs, (len(places), len(places) + len(self.hidden["hidden"]["bias"]))
            )
            encoder["inferred"]["kernel"][:, self._columns] = solution.weights[len(places) :]
        else:
            solution = least_squares(self.train, outputs)
        encoder["kernel"][np.ix_(places, self._lacking)] = solution.weights[: len(places)]
        encoder["bias"][self._lacking] = solution.offset

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
