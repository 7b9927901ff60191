"""Fit what the spectral flow has before step 0: adapters, base, the whitening of the network's inputs.

All of it is closed form on a sample of pixels and patches of the prepared records. Blocks of days (of tiles, where
there are fewer than four days) are left out in turn to decide what helps and how large errors are elsewhere.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from satxlate_jax.models import wavelet
from satxlate_jax.models.flow_layers import Group, brightness_temperature, features, radiance
from satxlate_jax.models.spectral_flow import ANGLES, SOLAR_IRRADIANCE, SpectralFlow, name_pattern
from satxlate_jax.regression import Moments, ridge, ridge_of_moments
from satxlate_jax.training.input import Examples

PIXELS = 40_000  # of a satellite, to fit on
PATCHES = 768  # of a satellite, to draw those pixels from
CALIBRATED_PATCHES = 192  # of a satellite
BLOCKS = 4
RIDGE_REFLECTIVE = 0.01  # times config.flow.ridge
WEAKER = (1, 1e-2, 1e-4)  # times the penalty, tried where the data are of many days
AIR_MASS = 0.04  # the part of the squared error on blocks left out that it must save
# likewise for thermal channels (True) from reflective ones too, and the reverse: views and seasons differ
OTHER_KIND = {True: 0.05, False: 0.2}
RIDGE_ADAPTER = 1e-6
DOUBLE_DIFFERENCE = 0.5  # its error over that of the regressions it is made of, on simulated scenes
SHARES = np.arange(0.2, 1.41, 0.1)  # of 2.25 um reflectance at 3.9 um, tried
LIKELY_SHARE = 0.8  # where no day tile has both bands
Tree = dict[str, Any]


class Pixels(NamedTuple):
    """Pixels of one satellite on the axis [pixel, channel], their angles [pixel, 2] and blocks [pixel]."""

    values: np.ndarray
    angles: np.ndarray
    blocks: np.ndarray

    def of(self, chosen: np.ndarray) -> "Pixels":
        """Some of them."""
        return Pixels(*(part[chosen] for part in self))


def label_blocks(examples: Mapping[str, Examples]) -> dict[str, np.ndarray]:
    """Satellite -> the block of each example: of consecutive days, or of tiles where there are fewer than four days."""
    days = np.unique(np.concatenate([each.days for each in examples.values()]))
    if len(days) >= BLOCKS:
        return {name: np.searchsorted(days, each.days) * BLOCKS // len(days) for name, each in examples.items()}
    tiles = np.unique(np.concatenate([each.tiles for each in examples.values()]))
    return {name: np.searchsorted(tiles, each.tiles) % BLOCKS for name, each in examples.items()}


def draw_pixels(flow: SpectralFlow, params: Tree, examples: Mapping[str, Examples]) -> dict[str, Pixels]:
    """A sample of each satellite's pixels on the axis."""
    blocks, found = label_blocks(examples), {}
    to_axis = jax.jit(flow.to_axis, static_argnums=2)
    for satellite, each in examples.items():
        n, size = each.images.shape[:2]
        count = min(-(-PIXELS // n), size * size)
        random = np.random.default_rng(n)
        places = np.stack([random.permutation(size * size)[:count] for _ in range(n)])
        flat = np.take_along_axis(each.images.reshape(n, size * size, -1), places[..., None], 1).reshape(n * count, -1)
        values = np.asarray(to_axis(params, flat[:, : -len(ANGLES)], satellite), np.float64)
        found[satellite] = Pixels(values, flat[:, -len(ANGLES) :].astype(np.float64), blocks[satellite].repeat(count))
    return found


def _join(parts: Iterable[Pixels]) -> Pixels:
    return Pixels(*map(np.concatenate, zip(*parts, strict=True)))


# ---------------------------------------------------------------- regression


@dataclass(frozen=True)
class _Fit:
    """The regression of one kind of a pattern's channels on pixels of all satellites that have them."""

    flow: SpectralFlow
    group: Group

    def having(self, pixels: Mapping[str, Pixels], channel: int) -> list[Pixels]:
        """The pixels of satellites that have the inputs and the output."""
        needed = {*self.group.given, channel}
        return [each for name, each in pixels.items() if needed <= {*self.flow.axis.of_satellite(name)}]

    def given(self, pixels: Pixels) -> np.ndarray:
        return pixels.values[:, list(self.group.given)]

    def input_scaling(self, pixels: Mapping[str, Pixels]) -> Tree:
        """What scales given channels to inputs of unit variance, with the range and leverage of these."""
        able = [part for channel in self.group.inferred for part in self.having(pixels, channel)]
        joined = _join({id(part): part for part in able}.values())
        n, kernel = len(self.group.given), np.eye(len(self.group.given))
        for anchor in self.group.anchors:
            mean = np.zeros((n, 1))
            mean[list(anchor)] = 1 / len(anchor)
            kernel[np.ix_(anchor, anchor)] -= 1 / len(anchor)
            kernel = np.concatenate([kernel, mean], 1)
        raw = self.given(joined) @ kernel
        scale = np.where(raw.std(0) > 1e-6, raw.std(0), 1.0)
        inputs = (raw - raw.mean(0)) / scale
        precision = np.linalg.inv(np.cov(inputs.T).reshape(inputs.shape[1], -1) + 1e-3 * np.eye(inputs.shape[1]))
        leverage = np.einsum("ni,ij,nj->n", inputs, precision, inputs)
        air = joined.angles[:, 1][np.isfinite(joined.angles[:, 1])]
        masses = [air.mean(), max(air.std(), 1e-3), air.min(), air.max()] if air.size else [1.0, 1.0, 1.0, 1e3]
        return {
            "kernel": kernel / scale,
            "bias": -raw.mean(0) / scale,
            "range": np.stack([inputs.min(0), inputs.max(0)]),
            "air_mass": np.array(masses),
            "precision": precision,
            "leverage": np.array(1.5 * np.quantile(leverage, 0.999)),
        }

    def features(self, scaling: Tree, pixels: Pixels) -> np.ndarray:
        """[pixel, feature], as the model computes them."""
        inputs = np.clip(self.given(pixels) @ scaling["kernel"] + scaling["bias"], *scaling["range"])
        return features(self.group, scaling, inputs, pixels.angles[:, 1])

    def moments(self, scaling: Tree, pixels: Pixels, outputs: np.ndarray) -> list[Moments]:
        """The moments by block of features and output, the last variable, relative to the group's reference."""
        relative = outputs - self.group.reference(self.given(pixels))
        table = np.concatenate([self.features(scaling, pixels), relative[:, None]], 1)
        found = []
        for block in np.unique(pixels.blocks):
            found.append(Moments(table.shape[1]))
            found[-1].add(table[pixels.blocks == block])
        return found

    def solve(self, moments: Moments, with_air_mass: bool, penalty: float) -> tuple[np.ndarray, float]:
        """Weights [feature] and offset of one output."""
        unused = 0 if with_air_mass or not self.group.thermal else 2 + self.group.inputs
        used = len(moments.mean) - 1 - unused
        kept = [*range(used), -1]
        some = Moments(len(kept))
        some.merge(moments.n, moments.mean[kept], moments.products[np.ix_(kept, kept)])
        weights, offset = ridge_of_moments(some, used, penalty)
        return np.pad(weights[:, 0], (0, unused)), float(offset[0])

    def error(self, moments: Sequence[Moments], with_air_mass: bool, penalty: float) -> float:
        """The mean squared error on blocks left out."""
        total = 0.0
        for index, out in enumerate(moments):
            weights, offset = self.solve(_merge([*moments[:index], *moments[index + 1 :]]), with_air_mass, penalty)
            slope = np.append(-weights, 1.0)  # of the error
            total += slope @ out.products @ slope + out.n * (slope @ out.mean - offset) ** 2
        return total / sum(out.n for out in moments)


def _merge(parts: Sequence[Moments]) -> Moments:
    whole = Moments(*parts[0].mean.shape)
    for part in parts:
        whole.merge(part.n, part.mean, part.products)
    return whole


class _Choice(NamedTuple):
    group: str
    with_air_mass: bool
    penalty: float


class BaseFit:
    """Fits the base of every pattern."""

    def __init__(self, flow: SpectralFlow, params: Tree, examples: Mapping[str, Examples]):
        self.flow, self._pixels = flow, draw_pixels(flow, params, examples)
        # of enough times that the air mass does not merely stand for the place
        self._views_differ = all(len(set(each.days.tolist())) >= BLOCKS for each in examples.values())
        self._choices: dict[tuple, _Choice] = {}  # by pattern and channel, made on blocks left out

    def fit(self, pattern: Sequence[int], without: int | None = None) -> Tree:
        """The base of a pattern but its 'sigma', on all blocks or all but one."""
        if without is not None and not any(tuple(pattern) == known for known, _ in self._choices):
            self.fit(pattern)  # choices are made on the whole
        kept = {name: each.blocks != without for name, each in self._pixels.items()}
        # a satellite of one block only has nothing else to learn from
        pixels = {name: each.of(kept[name]) if kept[name].any() else each for name, each in self._pixels.items()}
        share, applies, highest = self._find_sunlight(pattern, pixels)
        base: Tree = {"sun": np.array([share, applies, 0.0, highest])}
        for kind in (True, False):
            fits = [_Fit(self.flow, group) for group in self.flow.groups(pattern) if group.thermal == kind]
            for fit in fits:
                shape = fit.group.features, len(fit.group.inferred)
                empty = {"weights": np.zeros(shape), "offset": np.zeros(shape[1]), "used": np.zeros(shape[1])}
                base[fit.group.name] = fit.input_scaling(pixels) | empty
            for place, channel in enumerate(fits[0].group.inferred if fits else ()):
                joined = _join(fits[0].having(pixels, channel))
                outputs = joined.values[:, channel]
                if channel == self.flow.sunlit and applies:
                    outputs = self._emission(joined, outputs, share)
                made = {
                    fit.group.name: (fit, fit.moments(base[fit.group.name], joined, outputs))
                    for fit in fits
                    if self._choices.get((tuple(pattern), channel), (fit.group.name,))[0] == fit.group.name
                }
                choice = self._choose(pattern, channel, made)
                chosen, moments = made[choice.group]
                fitted = base[choice.group]
                weights, offset = chosen.solve(_merge(moments), choice.with_air_mass, choice.penalty)
                fitted["weights"][:, place], fitted["offset"][place], fitted["used"][place] = weights, offset, 1
        return base

    def _choose(self, pattern: Sequence[int], channel: int, fits: Mapping[str, tuple[_Fit, list[Moments]]]) -> _Choice:
        """The least squared error on blocks left out; what needs more must gain more. Made once for all blocks."""
        key = tuple(pattern), channel
        if key not in self._choices:
            thermal = self.flow.axis.thermal[channel]
            penalty = self.flow.flow["ridge"] * (1 if thermal else RIDGE_REFLECTIVE)
            errors: dict[_Choice, float] = {}
            for rank, (name, (fit, moments)) in enumerate(fits.items()):
                for with_air_mass in (False, True) if self._views_differ and thermal else (False,):
                    for weaker in WEAKER if self._views_differ else (1,):
                        gain = (1 - OTHER_KIND[thermal] * bool(rank)) * (1 - AIR_MASS * with_air_mass)
                        choice = _Choice(name, with_air_mass, penalty * weaker)
                        errors[choice] = fit.error(moments, *choice[1:]) / gain if len(moments) > 1 else len(errors)
            self._choices[key] = min(errors, key=lambda choice: errors[choice])
        return self._choices[key]

    def _emission(self, pixels: Pixels, values: np.ndarray, share: float) -> np.ndarray:
        """The 3.9 um channel without sunlight, where the reflectance is known."""
        axis, channel, source = self.flow.axis, self.flow.sunlit, self.flow.reflectance
        assert channel is not None and source is not None
        height = np.where(np.isfinite(pixels.angles[:, 0]), np.maximum(pixels.angles[:, 0], 0), 0)
        r = share * np.clip(pixels.values[:, source] * axis.std[source] + axis.mean[source], 0, 1) * (height > 0)
        wavelength = axis.wavelengths[channel]
        seen = radiance(values * axis.std[channel] + axis.mean[channel], wavelength, np.exp)
        emitted = np.maximum((seen - r * height * SOLAR_IRRADIANCE / np.pi) / np.maximum(1 - r, 0.1), 1e-4)
        found = (brightness_temperature(emitted, wavelength, np.log) - axis.mean[channel]) / axis.std[channel]
        return np.where(r > 0, np.maximum(found, (180 - axis.mean[channel]) / axis.std[channel]), values)

    def _find_sunlight(self, pattern: Sequence[int], pixels: Mapping[str, Pixels]) -> tuple[float, float, float]:
        """The share a of the 2.25 um reflectance, whether sunlight is added by physics, and the highest sun seen."""
        flow = self.flow
        if flow.sunlit is None or flow.sunlit in pattern:
            return LIKELY_SHARE, 0.0, 0.0
        group = next(group for group in flow.groups(pattern) if flow.sunlit in group.inferred)
        fit = _Fit(flow, group)
        joined = _join(fit.having(pixels, flow.sunlit))
        heights = joined.angles[:, 0][np.isfinite(joined.angles[:, 0])]
        highest = float(heights.max(initial=0.0))
        if highest <= 0.02:
            return LIKELY_SHARE, float(flow.reflectance is not None), max(highest, 0.0)
        if flow.reflectance not in pattern:
            return LIKELY_SHARE, 0.0, highest
        day = joined.of(joined.angles[:, 0] > 0.1)
        if len(day.values) < 1000:
            return LIKELY_SHARE, 1.0, highest
        scaling = fit.input_scaling(pixels)
        lit, dark = (
            np.stack([self._emission(part, part.values[:, flow.sunlit], share) for share in SHARES], 1)
            - fit.group.reference(fit.given(part))[:, None]
            for part in (day, joined)
        )
        weights, offset = ridge(fit.features(scaling, joined), dark, flow.flow["ridge"])
        errors = np.mean((fit.features(scaling, day) @ weights + offset - lit) ** 2, 0)
        return float(SHARES[int(np.argmin(errors))]), 1.0, highest


def fit_adapters(flow: SpectralFlow, pixels: Mapping[str, Pixels]) -> Tree:
    """The double differences of bands whose responses differ from those of the reference instrument.

    f is the regression of such a channel on the thermal channels that are alike, on each instrument's own pixels.
    """
    axis, adapters = flow.axis, {}
    instruments, n = dict(axis.instruments), axis.size
    listed = {channel for _, channels in axis.adapted for channel in channels}

    def seen(side: str, channel: int) -> list[Pixels]:
        alike = (name for name in pixels if instruments[name] == instruments[side])
        return [pixels[name] for name in alike if channel in axis.of_satellite(name)]

    for satellite, channels in axis.adapted:
        if not channels:
            continue
        kernel, bias, std = np.zeros((n, n)), np.zeros(n), np.zeros(n)
        for channel in channels:
            reference = next(name for name, own in axis.channels if channel in own)
            sides = [seen(side, channel) for side in (reference, satellite)]
            alike = [c for c in axis.given(reference, satellite) if axis.thermal[c] and c not in listed]
            if not all(sides) or not alike:
                continue
            left = []
            for side, sign in zip(sides, (1, -1), strict=True):
                joined = _join(each for each in side if np.isfinite(each.values[:, alike]).all())
                weights, offset = ridge(joined.values[:, alike], joined.values[:, [channel]], RIDGE_ADAPTER)
                kernel[alike, channel] += sign * weights[:, 0]
                bias[channel] += sign * offset[0]
                left.append(np.std(joined.values[:, channel] - joined.values[:, alike] @ weights[:, 0]))
            std[channel] = DOUBLE_DIFFERENCE * max(left)
        adapters[satellite] = {"kernel": kernel, "bias": bias, "std": std}
    return adapters


# ---------------------------------------------------------------- before step 0


def fit_start(flow: SpectralFlow, params: Tree, examples: Mapping[str, Examples]) -> Tree:
    """Parameters with adapters, base and input whitening fitted to examples; the network's are kept."""
    params = jax.tree.map(np.asarray, params)
    raw = draw_pixels(flow, params | {"adapters": {}}, examples)
    params["adapters"] = as_float32(fit_adapters(flow, raw))
    fit = BaseFit(flow, params, examples)
    for pattern in flow.patterns:
        params["base"][name_pattern(pattern)] |= as_float32(fit.fit(pattern))
    params["inputs"] = as_float32(_whitening(flow, params, examples))
    for pattern in flow.patterns:
        grams = np.zeros((flow.axis.size, 3 * flow.levels + 1, 2 * flow.axis.size, 2 * flow.axis.size))
        counts = np.zeros(flow.axis.size)
        for refitted, satellite, images in left_out(flow, params, fit, pattern, examples):
            own = list(flow.axis.of_satellite(satellite))
            for part in in_parts(images):
                grams[own] += np.asarray(_gram(flow, *regressed(flow, refitted, satellite, part, pattern)))
                counts[own] += len(part)
        grams /= np.maximum(counts, 1)[:, None, None, None]
        params["base"][name_pattern(pattern)] |= as_float32(_fit_gains(flow, grams, pattern))
    return params


def left_out(
    flow: SpectralFlow, params: Tree, fit: BaseFit, pattern: tuple, examples: Mapping[str, Examples]
) -> Iterator[tuple[Tree, str, np.ndarray]]:
    """Parameters with a base fitted without a block, a satellite that serves the pattern, its images of the block."""
    blocks, name = label_blocks(examples), name_pattern(pattern)
    for block in range(BLOCKS):
        base = params["base"][name] | as_float32(fit.fit(pattern, block))
        refitted = params | {"base": params["base"] | {name: base}}
        for satellite, each in examples.items():
            images = each.images[blocks[satellite] == block]
            if pattern in usable_patterns(flow, satellite) and len(images):
                yield refitted, satellite, images[:: max(len(images) * BLOCKS // CALIBRATED_PATCHES, 1)]


@partial(jax.jit, static_argnums=(0, 2, 4))
def regressed(flow: SpectralFlow, params: Tree, satellite: str, images: jax.Array, pattern: tuple) -> tuple:
    """Images on the axis, and with what the pattern lacks from the regression: all that differs between patterns."""
    y, angles = flow.to_axis(params, images[..., : -len(ANGLES)], satellite), images[..., -len(ANGLES) :]
    return y, flow.regress(params, y, angles, pattern, y if flow.reflectance in pattern else None)[0]


@partial(jax.jit, static_argnums=0)
def _gram(flow: SpectralFlow, y: jax.Array, filled: jax.Array) -> jax.Array:
    """Products [subband, 2 channel, 2 channel] of coefficients of channels as regressed, and as they are."""
    both = wavelet.transform(jnp.concatenate([filled, y], -1), flow.levels)
    parts = (both[:, band.rows, band.columns] for band in wavelet.subbands(both.shape[1:3], flow.levels))
    means = [jnp.einsum("nijc,nijd->cd", part, part, precision="highest") / part[0, ..., 0].size for part in parts]
    return jnp.stack(means)


def _fit_gains(flow: SpectralFlow, grams: np.ndarray, pattern: tuple[int, ...]) -> Tree:
    """Gains [subband, channel, channel] and the standard deviation [subband, channel] that they leave.

    `grams` [channel, subband, 2 channel, 2 channel] are of the satellites that have the channel.
    """
    n, given = flow.axis.size, list(pattern)
    gains, sigma = np.tile(np.eye(n), (grams.shape[1], 1, 1)), np.ones((grams.shape[1], n))
    for channel in (channel for channel in range(n) if channel not in pattern):
        for subband, gram in enumerate(grams[channel]):
            own, truth = [*given, channel], n + channel
            if gram[truth, truth] <= 0:
                continue
            gain = np.zeros(n)
            gain[channel] = 1.0
            if subband < grams.shape[1] - 1:
                inputs = gram[np.ix_(own, own)]
                penalty = 1e-3 * np.diag(np.diag(inputs)) + 1e-9 * np.eye(len(own))
                gain[own] = np.linalg.solve(inputs + penalty, gram[own, truth])
            gains[subband][:, channel] = gain
            left = gram[truth, truth] - 2 * gain @ gram[:n, truth] + gain @ gram[:n, :n] @ gain
            sigma[subband, channel] = np.sqrt(max(left, 0))
    return {"gains": gains, "sigma": sigma}


def as_float32(tree: Tree) -> Tree:
    """The tree with numpy arrays of float32."""
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), tree)


def usable_patterns(flow: SpectralFlow, satellite: str) -> list[tuple[int, ...]]:
    """The patterns that a satellite's own images serve to fit: it has what is given and something that is not."""
    own = {*flow.axis.of_satellite(satellite)}
    return [pattern for pattern in flow.patterns if {*pattern} < own]


def in_parts(images: np.ndarray) -> Iterator[np.ndarray]:
    """The images in parts of eight, so that one program serves all; the first may come twice to fill the last."""
    places = np.arange(-(-len(images) // 8) * 8) % len(images)
    return (images[part] for part in places.reshape(-1, 8))


def _whitening(flow: SpectralFlow, params: Tree, examples: Mapping[str, Examples]) -> Tree:
    """The mean of the channels, filled by the base, and the matrix that makes them uncorrelated (ZCA)."""
    rows = []
    for satellite, each in examples.items():
        own = {*flow.axis.of_satellite(satellite)}
        for pattern in (pattern for pattern in flow.patterns if {*pattern} <= own):
            for part in in_parts(each.images[:: max(len(each.images) // 64, 1)]):
                _, filled = regressed(flow, params, satellite, part, pattern)
                rows.append(np.asarray(filled)[:, ::4, ::4].reshape(-1, flow.axis.size))
    if not rows:
        return {"mean": np.zeros(flow.axis.size), "kernel": np.eye(flow.axis.size)}
    pixels = np.concatenate(rows).astype(np.float64)
    variances, directions = np.linalg.eigh(np.cov(pixels.T))
    kernel = directions / np.sqrt(np.maximum(variances, 0) + 1e-3) @ directions.T
    return {"mean": pixels.mean(0), "kernel": kernel}
