"""Initialise the spectral path: by copying bands, or by regression on another satellite's images.

The path carries an image as one channel per wavelength, in the units of the first satellite that has it. The channels
that a satellite lacks begin empty, at the mean, with `generator.spectral_path = 'copy'`; with 'linear' and 'quadratic'
they are fitted by least squares on the training images of a reference satellite that has them, from the bands that both
share (and their products). So the translation starts as the baseline that `evaluate` calls by the same name.

With `generator.spectral_hidden` units a small network per pixel adds to that, where the reference has all of the
satellite's bands. Whether it helps is asked of the validation split for each channel; then regression and network are
fitted on both splits, because what limits them is how many scenes they have seen.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from satxlate_jax.models.network import Network
from satxlate_jax.models.translator import HiddenUnits, spectral_features
from satxlate_jax.regression import Moments, least_squares
from satxlate_jax.training import sharding
from satxlate_jax.training.channels import training_sources
from satxlate_jax.training.input import Batch, data_metadata, training_batches, validation_batches
from satxlate_jax.wavelength_axis import WavelengthAxis

PATCHES = 2_048  # of each satellite that are read at most of the training split, and of validation for hidden units
STEP = 3  # of their pixels, along rows and columns: neighbours say nearly the same; of patches above 64 pixels more
WHITE = 1e-2  # added to the variances that a whitening divides by, network units: what is smaller is noise, not signal
_PORTION = 65_536  # pixels whose products are in memory at a time
# of the hidden units
_FIT_STEPS, _FIT_PIXELS, _LEARNING_RATE, _WEIGHT_DECAY = 3_000, 4_096, 2e-3, 1.0

Maps = dict[str, dict[str, dict[str, Any]]]
Pixels = Mapping[str, np.ndarray]


def spectral_start(config: Any) -> Maps:
    """The maps from every satellite's bands to the wavelength channels and back; all but 'copy' read training records.

    Returns:
      {'encoders': {satellite: {'kernel': [feature, channel], 'bias': [channel]}}, 'decoders': {satellite: {'kernel':
      [channel, band], 'bias': [band]}}}, float32, network units; features are those of `spectral_features`. Encoders
      with hidden units also have 'inferred', the layers of `HiddenUnits`.
    """
    return sharding.fitted_by_first_process(partial(_fit, config))


def with_spectral_start(generator: Mapping[str, Any], maps: Maps, *, silent: bool = False) -> dict[str, Any]:
    """The parameters of a generator with the maps of `spectral_start` as its spectral path.

    With `silent` the networks begin by adding nothing to the path, for one that is fitted. Beside a mere copy they have
    to make the lacking bands from the beginning.
    """
    changed = dict(generator)
    for part, satellites in maps.items():
        changed[part] = {
            name: {**generator[part][name], "spectral": {**generator[part][name]["spectral"], **values}}
            for name, values in satellites.items()
        }
    if silent:
        for name, decoder in changed["decoders"].items():
            changed["decoders"][name] = {**decoder, "conv_out": jax.tree.map(jnp.zeros_like, decoder["conv_out"])}
    return changed


def _fit(config: Any) -> Maps:
    axis, path = WavelengthAxis.of(data_metadata(config)), config.generator.spectral_path
    maps: Maps = {"encoders": {}, "decoders": {}}
    for satellite, numbers in axis.channels:
        own, (slope, offset) = np.eye(axis.size)[list(numbers)], axis.scale(satellite)  # [band, channel], [band]
        infers = path == "quadratic" and len(own) < axis.size
        products = spectral_features(np.zeros((1, len(own))), infers).shape[1] - len(own)
        kernel = np.concatenate([own * slope[:, None], np.zeros((products, axis.size))])
        maps["encoders"][satellite] = {"kernel": kernel, "bias": offset @ own}
        maps["decoders"][satellite] = {"kernel": (own / slope[:, None]).T, "bias": -offset / slope}
    regressions = [] if path == "copy" else _plan(config, axis)
    if regressions:
        _fill(config, maps["encoders"], regressions)
    return maps


def _plan(config: Any, axis: WavelengthAxis) -> list["_Regression"]:
    """For each channel that a satellite lacks: the training source that shares most bands with it is the reference."""
    regressions, quadratic = [], config.generator.spectral_path == "quadratic"
    for satellite, own in axis.channels:
        shared = {name: len(axis.given(satellite, name)) for name in training_sources(config)}
        by_shared = sorted(shared, key=lambda name: -shared[name])
        references: dict[str, list[int]] = {}
        for channel in (channel for channel in range(axis.size) if channel not in own):
            able = [name for name in by_shared if shared[name] and channel in axis.of_satellite(name)]
            for reference in able[:1]:
                references.setdefault(reference, []).append(channel)
        regressions += [_Regression(satellite, *reference, axis, quadratic) for reference in references.items()]
    return regressions


@dataclass(frozen=True)
class _Regression:
    """Channels that a satellite lacks, from the bands (in its units) that it shares with a reference that has them."""

    satellite: str
    reference: str
    outputs: list[int]
    axis: WavelengthAxis
    quadratic: bool

    @property
    def _inputs(self) -> list[int]:
        shared = self.axis.given(self.satellite, self.reference)
        return [channel for channel in self.axis.of_satellite(self.satellite) if channel in shared]

    @property
    def complete(self) -> bool:
        """True if the reference has all of the satellite's bands."""
        return len(self._inputs) == len(self.axis.of_satellite(self.satellite))

    def fill(self, encoder: dict[str, Any], pixels: Pixels) -> None:
        """Fit on the reference's pixels and write weights and offsets into the satellite's map."""
        weights, offset = fit_linear(*self._rows(pixels), self.quadratic)
        encoder["kernel"][np.ix_(self._feature_rows(), self.outputs)] = weights
        encoder["bias"][self.outputs] = offset

    def residuals(self, encoder: Mapping[str, Any], pixels: Pixels) -> tuple[np.ndarray, np.ndarray]:
        """Bands [pixel, band] and what the map leaves [pixel, lacking channel]; NaN for other references' channels."""
        inputs, outputs = self._rows(pixels)
        weights = encoder["kernel"][np.ix_(self._feature_rows(), self.outputs)]
        own = self.axis.of_satellite(self.satellite)
        lacking = [channel for channel in range(self.axis.size) if channel not in own]
        left = np.full((len(inputs), len(lacking)), np.nan, np.float32)
        predicted = predict(inputs, weights, encoder["bias"][self.outputs], self.quadratic)
        left[:, [lacking.index(channel) for channel in self.outputs]] = outputs - predicted
        return inputs, left

    def _rows(self, pixels: Pixels) -> tuple[np.ndarray, np.ndarray]:
        """Inputs [pixel, band] and outputs [pixel, channel], float32."""
        slope, offset = self.axis.scale(self.reference)
        own_slope, own_offset = self.axis.scale(self.satellite)[:, self._places(self.satellite, self._inputs)]
        found = pixels[self.reference] * slope + offset
        inputs = (found[:, self._places(self.reference, self._inputs)] - own_offset) / own_slope
        return inputs.astype(np.float32), found[:, self._places(self.reference, self.outputs)].astype(np.float32)

    def _places(self, satellite: str, channels: list[int]) -> list[int]:
        """The positions of channels among a satellite's bands."""
        return [self.axis.of_satellite(satellite).index(channel) for channel in channels]

    def _feature_rows(self) -> list[int]:
        """The rows of the shared bands and their products among the features of all the satellite's bands."""
        ours, n_bands = self._places(self.satellite, self._inputs), len(self.axis.of_satellite(self.satellite))
        if not self.quadratic:
            return ours
        pairs = {pair: n_bands + row for row, pair in enumerate(zip(*np.triu_indices(n_bands), strict=True))}
        return ours + [pairs[min(a, b), max(a, b)] for index, a in enumerate(ours) for b in ours[index:]]


def _fill(config: Any, encoders: dict[str, dict[str, Any]], regressions: Sequence[_Regression]) -> None:
    enough = -(-PATCHES // config.batch_size)
    train = _pixels(islice(training_batches(config), enough), regressions)
    for regression in regressions:
        regression.fill(encoders[regression.satellite], train)
    if not config.generator.spectral_hidden:
        return
    check = _pixels(islice(validation_batches(config), enough), regressions)
    for satellite, encoder in encoders.items():
        able = [each for each in regressions if each.satellite == satellite and each.complete]
        if able:
            _add_hidden_units(config, encoder, able, train, check)


def _pixels(batches: Iterable[Batch], regressions: Iterable[_Regression]) -> Pixels:
    """Reference satellite -> its images' pixels [pixel, band], network units."""
    found: dict[str, list[np.ndarray]] = {regression.reference: [] for regression in regressions}
    for batch in batches:
        for reference, rows in found.items():
            images = batch[reference]
            step = max(STEP, images.shape[1] // 21)
            rows.append(images[:, ::step, ::step].reshape(-1, images.shape[-1]))
    return {reference: np.concatenate(rows) for reference, rows in found.items()}


def fit_linear(bands: np.ndarray, outputs: np.ndarray, quadratic: bool) -> tuple[np.ndarray, np.ndarray]:
    """Regress outputs [pixel, output] on `spectral_features` of bands [pixel, band]: weights and offset."""
    inputs = spectral_features(bands[:1], quadratic).shape[1]
    moments = Moments(inputs + outputs.shape[1])
    for k in range(0, len(bands), _PORTION):
        part = slice(k, k + _PORTION)
        moments.add(np.concatenate([spectral_features(bands[part], quadratic), outputs[part]], axis=1))
    return least_squares(moments.mean, moments.covariance, inputs, rcond=1e-10)


def predict(bands: np.ndarray, weights: np.ndarray, offset: np.ndarray, quadratic: bool) -> np.ndarray:
    """The prediction of a regression of `fit_linear` from bands [pixel, band]: [pixel, output]."""
    parts = (spectral_features(bands[k : k + _PORTION], quadratic) for k in range(0, len(bands), _PORTION))
    return np.concatenate([features @ weights + offset for features in parts])


# ---------------------------------------------------------------- hidden units


def _add_hidden_units(
    config: Any, encoder: dict[str, Any], regressions: Sequence[_Regression], train: Pixels, check: Pixels
) -> None:
    """Fit hidden units to what regressions leave: first to learn for which channels they help, then for good."""

    def residuals(pixels: Pixels) -> tuple[np.ndarray, ...]:
        parts = zip(*(regression.residuals(encoder, pixels) for regression in regressions), strict=True)
        return tuple(np.concatenate(part) for part in parts)

    units, seed = config.generator.spectral_hidden, config.seed
    layers = _fit_units(residuals(train), units, seed)
    bands, left = residuals(check)
    inferred = np.asarray(_apply(layers, jnp.asarray(bands, jnp.float32)))
    helps = np.nansum((left - inferred) ** 2, axis=0) < np.nansum(left**2, axis=0)
    both = {reference: np.concatenate([train[reference], check[reference]]) for reference in train}
    for regression in regressions:
        regression.fill(encoder, both)
    layers = _fit_units(residuals(both), units, seed)
    layers["last"] = {name: np.where(helps, leaf, 0) for name, leaf in layers["last"].items()}
    encoder["inferred"] = layers


def whitening(bands: np.ndarray) -> dict[str, np.ndarray]:
    """The layer ('kernel', 'bias') that makes bands [pixel, band] uncorrelated and of variance one (by PCA)."""
    moments = Moments(bands.shape[1])
    moments.add(bands)
    variances, directions = np.linalg.eigh(moments.covariance)
    kernel = directions / np.sqrt(np.maximum(variances, 0) + WHITE)
    return {"kernel": kernel, "bias": -moments.mean @ kernel}


def _fit_units(pixels: tuple[np.ndarray, ...], units: int, seed: int) -> dict[str, dict[str, np.ndarray]]:
    """The layers of `HiddenUnits` from pixels: bands [pixel, band] and residuals [pixel, output], NaN if unknown."""
    bands, residuals = pixels
    known = ~np.isnan(residuals)
    squares = np.where(known, residuals, 0) ** 2
    scale = np.sqrt(squares.sum(0, dtype=np.float64) / np.maximum(known.sum(0), 1)) + 1e-6
    layers, white = _first_layers(bands.shape[1], units, residuals.shape[1], seed), whitening(bands)
    values = layers, white, (bands, residuals / scale)
    as_float32 = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), values)
    fitted = jax.device_get(_descend(*as_float32, jax.random.key(seed)))
    fitted["last"] = {name: leaf * scale.astype(np.float32) for name, leaf in fitted["last"].items()}
    return {"whitening": jax.device_get(as_float32[1]), **fitted}


def _first_layers(bands: int, units: int, outputs: int, seed: int) -> dict[str, Any]:
    """Uniform within 1 / sqrt(inputs); the last layer is zero, so that the network begins by adding nothing."""
    random = np.random.default_rng(seed)

    def layer(inputs: int) -> dict[str, np.ndarray]:
        limit = inputs**-0.5
        return {"kernel": random.uniform(-limit, limit, (inputs, units)), "bias": random.uniform(-limit, limit, units)}

    last = {"kernel": np.zeros((units, outputs)), "bias": np.zeros(outputs)}
    return {"first": layer(bands), "second": layer(units), "last": last}


@jax.jit
def _apply(layers: Any, bands: jax.Array) -> jax.Array:
    (n_bands, units), outputs = layers["first"]["kernel"].shape, layers["last"]["bias"].shape[0]
    return Network(lambda rngs: HiddenUnits(n_bands, units, outputs, rngs=rngs)).apply(layers, bands)


@jax.jit
def _descend(layers: Any, white: Any, data: tuple[jax.Array, jax.Array], key: jax.Array) -> Any:
    """All steps of AdamW (Loshchilov & Hutter, ICLR 2019), the whitening as it is."""
    bands, residuals = data
    optimizer = optax.adamw(optax.cosine_decay_schedule(_LEARNING_RATE, _FIT_STEPS), weight_decay=_WEIGHT_DECAY)

    def loss(layers: Any, chosen: jax.Array) -> jax.Array:
        wanted = residuals[chosen]
        known = ~jnp.isnan(wanted)
        error = _apply({"whitening": white, **layers}, bands[chosen]) - jnp.where(known, wanted, 0)
        return jnp.sum(jnp.abs(error), where=known) / known.sum()  # the edges of a few clouds shall not steer it

    def step(carry: Any, key: jax.Array) -> tuple[Any, None]:
        layers, moments = carry
        gradient = jax.grad(loss)(layers, jax.random.randint(key, (_FIT_PIXELS,), 0, len(bands)))
        changes, moments = optimizer.update(gradient, moments, layers)
        return (optax.apply_updates(layers, changes), moments), None

    (layers, _), _ = jax.lax.scan(step, (layers, optimizer.init(layers)), jax.random.split(key, _FIT_STEPS))
    return layers
