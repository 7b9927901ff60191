"""Calibrate the spectral flow after the last step, on what was left out of training."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import nnls

from satxlate_jax.models import wavelet
from satxlate_jax.models.spectral_flow import SpectralFlow, name_pattern
from satxlate_jax.training.flow_fit import (
    BLOCKS,
    CALIBRATED_PATCHES,
    BaseFit,
    Tree,
    as_float32,
    draw_pixels,
    in_parts,
    left_out,
    regressed,
    usable_patterns,
    views_vary,
)
from satxlate_jax.training.input import Examples

FARTHEST = 5.0  # a coefficient counts as no more standard deviations than that
ONE_AT_MOST = 0.73  # of the errors within one standard deviation, for two to hold 95 %


def calibrate(
    flow: SpectralFlow, params: Tree, train: Mapping[str, Examples], validation: Mapping[str, Examples]
) -> Tree:
    """The calibration: what the network adds, and how large errors are on what was left out.

    Each block of the training examples is predicted by a base fitted without it, the validation's by the base itself.
    Per pattern and channel: `gate`, the share of the network's mean that helps on the validation split, which the
    network has not seen (on the blocks where there is none); `sigma`, a factor per subband; `std`,
    the conformal factor of a pixel's standard deviation, and that with which two of them would hold 95 %; `draw`, a
    factor per level of a sample's coefficients.
    """
    params = jax.tree.map(np.asarray, params)
    fit, views_differ = BaseFit(flow, draw_pixels(flow, params, train)), views_vary(train)
    for pattern in flow.patterns:
        parts = list(left_out(flow, params, fit, pattern, train, views_differ))
        unseen = [
            (params, satellite, each.images[:: max(len(each.images) // CALIBRATED_PATCHES, 1)])
            for satellite, each in validation.items()
            if pattern in usable_patterns(flow, satellite)
        ]
        if parts or unseen:
            params["calibration"][name_pattern(pattern)] = as_float32(_calibration(flow, parts, unseen, pattern))
    return params["calibration"]


Part = tuple[Tree, str, np.ndarray]


class Prepared(NamedTuple):
    """Some images on the axis, and by the regression with these parameters; what it infers of the satellite's own."""

    params: Tree
    channels: Collection[int]
    y: jax.Array
    filled: jax.Array


def _calibration(flow: SpectralFlow, parts: Sequence[Part], unseen: Sequence[Part], pattern: tuple[int, ...]) -> Tree:
    n, name = flow.axis.size, name_pattern(pattern)
    thinned = [(params, satellite, images[::BLOCKS]) for params, satellite, images in unseen]
    prepared = [part for one in (*parts, *thinned) for part in _prepare(flow, *one, pattern)]
    chosen = [part for one in unseen for part in _prepare(flow, *one, pattern)] or prepared
    found: Tree = jax.tree.map(np.ones_like, prepared[0].params["calibration"][name])

    def gather(parts: Sequence[Prepared], *functions: Any) -> list[list[list[np.ndarray]]]:
        """Each function's values [..., channel] on all images, by channel, of satellites that have it."""
        values: list[list[list[np.ndarray]]] = [[[] for _ in range(n)] for _ in functions]
        for params, channels, y, filled in parts:
            settings = flow.settings(params, pattern) | {"calibration": as_float32(found)}
            common = {part: params[part] for part in ("network", "inputs")}
            predicted = _predict(flow, common, filled, settings)
            for function, own in zip(functions, values, strict=True):
                made = np.asarray(function(flow, y, *predicted))
                for channel in channels:
                    own[channel].append(made[..., channel])
        return values

    (every_sum,) = gather(chosen, _products)
    for channel, sums in enumerate(every_sum):
        if sums:
            found["gate"][:, channel] = _best_shares(np.sum(sums, 0))
            found["gate"][1, channel] = 1 if flow.flow["coarse"] == "free" else found["gate"][1, channel]
    (every_square,) = gather(prepared, _coefficient_squares)
    for channel, squares in enumerate(every_square):
        if squares:
            found["sigma"][:, channel] = np.maximum(np.sqrt(np.mean(squares, 0)), 0.05)
    every_power, every_ratio = gather(prepared, _octave_powers, _error_ratios)
    for channel, (powers, ratios) in enumerate(zip(every_power, every_ratio, strict=True)):
        if powers:
            found["draw"][:, channel] = _draw_factors(*np.split(np.mean(powers, 0), [1]))
            one, most, two = np.quantile(ratios, [0.6827, ONE_AT_MOST, 0.9545]) / [1, 1, 2]
            # errors have longer tails than a Gaussian's: two deviations hold 95 % where one does not hold too much then
            found["std"][:, channel] = np.maximum([np.clip(two, one, max(most, one)), two], 1e-3)
    return found


def _prepare(
    flow: SpectralFlow, params: Tree, satellite: str, images: np.ndarray, pattern: tuple[int, ...]
) -> Iterator[Prepared]:
    """The images in parts, on the axis and by the regression: what does not change while the calibration is found."""
    channels = {*flow.axis.of_satellite(satellite)} - {*pattern}
    for part in in_parts(images):
        yield Prepared(params, channels, *regressed(flow, params, satellite, part, pattern))


def _best_shares(products: np.ndarray) -> np.ndarray:
    """How much of details and of the coarse mean to add, 0 to 1 each, for the least squared error; products [3, 3]."""
    own, with_truth = products[:2, :2] + 1e-9 * np.eye(2), products[:2, 2]
    shares = np.linalg.solve(own, with_truth)
    for place in (0, 1):
        if not 0 <= shares[place] <= 1:  # on the edge of the square the other is free
            shares[place] = np.clip(shares[place], 0, 1)
            other = 1 - place
            shares[other] = (with_truth[other] - own[0, 1] * shares[place]) / own[other, other]
    return np.where(shares < 0.1, 0, np.clip(shares, 0, 1))


@partial(jax.jit, static_argnums=0)
def _predict(flow: SpectralFlow, params: Tree, filled: jax.Array, settings: Tree) -> tuple:
    """The base's estimate, and mean and standard deviation of the coefficients of what it leaves.

    A program of its own, which all that is measured shares: compiling the network takes longest.
    """
    filled = flow.restrain(settings["gains"], filled, settings["given"])
    return filled, *flow.run_network(params, filled, settings)


@partial(jax.jit, static_argnums=0)
def _products(flow: SpectralFlow, y: jax.Array, filled: jax.Array, mean: jax.Array, _: jax.Array) -> jax.Array:
    """Products [3, 3, channel] of the network's details and coarse mean and of what the base leaves, over pixels."""
    mean, coarse = mean.mean(0), list(wavelet.subbands(y.shape[1:3], flow.levels))[-1]
    details = wavelet.inverse(mean.at[:, coarse.rows, coarse.columns].set(0), flow.levels)
    parts = jnp.stack([details, wavelet.inverse(mean, flow.levels) - details, y - filled])
    return jnp.einsum("inhwc,jnhwc->ijc", parts, parts)


@partial(jax.jit, static_argnums=0)
def _coefficient_squares(
    flow: SpectralFlow, y: jax.Array, filled: jax.Array, mean: jax.Array, sigma: jax.Array
) -> jax.Array:
    """The mean of z squared [subband, channel], where no z counts as more than FARTHEST."""
    squares = jnp.minimum(((wavelet.transform(y - filled, flow.levels) - mean) / sigma) ** 2, FARTHEST**2)
    bands = wavelet.subbands(y.shape[1:3], flow.levels)
    return jnp.stack([jnp.mean(squares[..., b.rows, b.columns, :], (0, 1, 2, 3)) for b in bands])


@partial(jax.jit, static_argnums=0)
def _error_ratios(flow: SpectralFlow, y: jax.Array, filled: jax.Array, mean: jax.Array, sigma: jax.Array) -> jax.Array:
    """Errors of every fourth pixel over their standard deviations [n, h / 4, w / 4, channel]."""
    added = wavelet.inverse(mean, flow.levels)
    variance = wavelet.pixel_variance(jnp.mean(sigma**2, 0), flow.levels) + added.var(0)
    return (jnp.abs(y - filled - added.mean(0)) / jnp.sqrt(variance))[:, ::4, 1::4]


@partial(jax.jit, static_argnums=0)
def _octave_powers(flow: SpectralFlow, y: jax.Array, filled: jax.Array, mean: jax.Array, sigma: jax.Array) -> jax.Array:
    """The spectral power [1 + level, octave, channel] of errors, and of independent coefficients of each level."""
    errors = y - filled - wavelet.inverse(mean.mean(0), flow.levels)
    z, images = jax.random.normal(jax.random.key(0), errors.shape) * sigma[0], [errors]
    for level in range(flow.levels + 1):
        alone = jnp.zeros_like(z)
        for band in (band for band in wavelet.subbands(z.shape[1:3], flow.levels) if band.level == level):
            alone = alone.at[:, band.rows, band.columns].set(z[:, band.rows, band.columns])
        images.append(wavelet.inverse(alone, flow.levels))
    height, width = y.shape[1:3]
    window = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1])[..., None]
    power = jnp.abs(jnp.fft.rfft2(jnp.stack(images) * window, axes=(2, 3))) ** 2
    frequency, columns = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)), np.arange(width // 2 + 1)
    twice = np.where((columns == 0) | (2 * columns == width), 1, 2)  # real images: the other half is the same
    octave = np.clip(np.floor(np.log2(0.75 / np.maximum(frequency, 1e-9))), 0, flow.levels)
    inside = np.stack([twice * (octave == index) for index in range(flow.levels + 1)]).astype(np.float32)
    return jnp.einsum("inhwc,ohw->ioc", power, inside)


def _draw_factors(truth: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Factors [level] with which independent coefficients have the spectrum of errors, [1, octave], as near as can be.

    The wavelet is not orthogonal: an image's coefficients are correlated, and independent ones of the same deviation
    give too rough an image.
    """
    unit = 0.1 * np.eye(len(levels))  # where an octave tells little, no change
    relative = np.concatenate([levels.T / np.maximum(truth.T, 1e-12), unit])
    shares, _ = nnls(relative, np.concatenate([np.ones(levels.shape[1]), unit.sum(1)]))
    return np.sqrt(np.clip(shares, 0.04, 4))
