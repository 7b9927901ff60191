"""Fit how large errors are on what was left out: of the spectral flow after its last step, of the likelihood before."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import nnls

from satxlate_jax.instruments import get_satellite
from satxlate_jax.models import wavelet
from satxlate_jax.models.band_covariance import condition, infer
from satxlate_jax.models.spectral_flow import ANGLES, SpectralFlow, name_pattern
from satxlate_jax.training.flow_init import (
    BLOCKS,
    CALIBRATED_PATCHES,
    BaseFit,
    Tree,
    as_float32,
    in_parts,
    label_blocks,
    left_out,
    regressed,
    usable_patterns,
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
    fit = BaseFit(flow, params, train)
    for pattern in flow.patterns:
        parts = list(left_out(flow, params, fit, pattern, train))
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
    """Some images of a satellite on the axis, and by the regression with these parameters."""

    params: Tree
    satellite: str
    y: jax.Array
    filled: jax.Array


def _calibration(flow: SpectralFlow, parts: Sequence[Part], unseen: Sequence[Part], pattern: tuple[int, ...]) -> Tree:
    name, own = name_pattern(pattern), {satellite: {*flow.axis.of_satellite(satellite)} for satellite in flow.bands}
    thinned = [(params, satellite, images[::BLOCKS]) for params, satellite, images in unseen]
    prepared = [part for one in (*parts, *thinned) for part in _prepare(flow, *one, pattern)]
    chosen = [part for one in unseen for part in _prepare(flow, *one, pattern)] or prepared
    found: Tree = jax.tree.map(np.ones_like, prepared[0].params["calibration"][name])
    lacking = sorted({*range(flow.axis.size)} - {*pattern})

    def gather(parts: Sequence[Prepared], *functions: Any) -> Iterator[tuple[int, list[list[np.ndarray]]]]:
        """Channels that a satellite has and the pattern lacks, each with every function's values on all its images."""
        made = []
        for params, satellite, y, filled in parts:
            settings = flow.settings(params, pattern) | {"calibration": as_float32(found)}
            common = {part: params[part] for part in ("network", "inputs")}
            predicted = _predict(flow, common, filled, settings)
            made.append((own[satellite], [np.asarray(function(flow, y, *predicted)) for function in functions]))
        for channel in lacking:
            having = [values for channels, values in made if channel in channels]
            if having:
                yield channel, [[one[..., channel] for one in values] for values in zip(*having, strict=True)]

    for channel, (sums,) in gather(chosen, _products):
        found["gate"][:, channel] = _fit_gates(np.sum(sums, 0))
        found["gate"][1, channel] = 1 if flow.flow["coarse"] == "free" else found["gate"][1, channel]
    for channel, (squares,) in gather(prepared, _coefficient_squares):
        found["sigma"][:, channel] = np.maximum(np.sqrt(np.mean(squares, 0)), 0.05)
    for channel, (powers, ratios) in gather(prepared, _octave_powers, _error_ratios):
        found["draw"][:, channel] = _draw_factors(*np.split(np.mean(powers, 0), [1]))
        one, most, two = np.quantile(ratios, [0.6827, ONE_AT_MOST, 0.9545]) / [1, 1, 2]
        # errors have longer tails than a Gaussian's: two deviations hold 95 % where one does not hold too much then
        found["std"][:, channel] = np.maximum([np.clip(two, one, max(most, one)), two], 1e-3)
    return found


def _prepare(
    flow: SpectralFlow, params: Tree, satellite: str, images: np.ndarray, pattern: tuple[int, ...]
) -> Iterator[Prepared]:
    """The images in parts, on the axis and by the regression: what does not change while the calibration is found."""
    for part in in_parts(images):
        yield Prepared(params, satellite, *regressed(flow, params, satellite, part, pattern))


def _fit_gates(products: np.ndarray) -> np.ndarray:
    """The shares of details and of the coarse mean, 0 to 1 each, that minimise the squared error; products [3, 3]."""
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
    filled = flow.wiener_filter(settings["gains"], filled, settings["given"])
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


# ---------------------------------------------------------------- covariance of wavelet coefficients


def fit_usual(flow: SpectralFlow, params: Tree, examples: Mapping[str, Examples]) -> Tree:
    """What a satellite's wavelet coefficients are usually like: for surprise, repair and unseen satellites.

    A satellite that sends no images is like the first of its instrument that does and has its bands; without one its
    'precision' is zero.

    Returns:
      Satellite -> 'mean' [channel] and 'precision' [subband, channel, channel] on the axis, and 'factor' [channel]:
      with it 68 % of errors are within one standard deviation, where each channel is inferred from the others on
      blocks left out.
    """
    blocks = label_blocks(examples)
    moments = {name: _Coefficients(flow, params, name, each, blocks[name]) for name, each in examples.items()}
    instruments, n, found = dict(flow.axis.instruments), flow.axis.size, {}
    unknown = {"mean": np.zeros(n), "precision": np.zeros((3 * flow.levels + 1, n, n)), "factor": np.ones(n)}
    for satellite in flow.bands:
        own = {*flow.axis.of_satellite(satellite)}
        alike = (name for name in (satellite, *moments) if instruments[name] == instruments[satellite])
        donors = (name for name in alike if name in moments and own <= {*flow.axis.of_satellite(name)})
        donor = moments.get(next(donors, ""))
        found[satellite] = donor.usual(satellite) | {"factor": donor.factor(satellite)} if donor else unknown
    return found


class _Coefficients:
    """A satellite's images on the axis, their means [image, channel] and squares [image, subband, channel, channel]."""

    def __init__(self, flow: SpectralFlow, params: Tree, satellite: str, examples: Examples, blocks: np.ndarray):
        self.flow, self.blocks = flow, blocks
        to_axis = jax.jit(lambda images: flow.to_axis(params, images[..., : -len(ANGLES)], satellite))
        self.images = [np.asarray(to_axis(image)) for image in examples.images]
        self.means = np.stack([image.mean((0, 1), np.float64) for image in self.images])
        centre = self.means.mean(0)
        self.squares = np.stack([np.asarray(_mean_squares(image - centre, flow.levels)) for image in self.images])

    def usual(self, satellite: str, without: int | None = None) -> Tree:
        """The mean and precision of a satellite's channels, of the images of all blocks but one."""
        own, n, kept = list(self.flow.axis.of_satellite(satellite)), self.flow.axis.size, self.blocks != without
        noise = np.array([get_satellite(satellite).band(number).noise for number in self.flow.bands[satellite]])
        floor = np.diag((noise / np.array(self.flow.axis.std)[own]) ** 2) / 4  # of a coefficient, about
        mean, precision = np.zeros(n), np.broadcast_to(np.eye(n), self.squares.shape[1:]).copy()
        mean[own], places = self.means[kept].mean(0)[own], np.ix_(range(len(precision)), own, own)
        precision[places] = np.linalg.inv(self.squares[kept].mean(0, np.float64)[places] + floor)
        return {"mean": mean, "precision": precision}

    def factor(self, satellite: str) -> np.ndarray:
        """The conformal factor [channel] of standard deviations; 1 where there is but one block."""
        found, apply = np.ones(self.flow.axis.size), jax.jit(infer, static_argnums=2)
        blocks = np.unique(self.blocks)
        for channel in self.flow.axis.of_satellite(satellite) if len(blocks) > 1 else ():
            ratios = []
            for block in blocks:
                usual = self.usual(satellite, block) | {"factor": 1.0}
                part = condition(usual, np.arange(len(found)) != channel)
                for index in np.flatnonzero(self.blocks == block)[::8]:
                    y = self.images[index][None]
                    mean, std = apply(part, y, self.flow.levels)
                    ratios.append((np.abs(mean - y) / std)[0, ::4, 1::4, channel])
            found[channel] = max(float(np.quantile(ratios, 0.6827)), 1e-3)
        return found


@partial(jax.jit, static_argnums=1)
def _mean_squares(y: jax.Array, levels: int) -> jax.Array:
    """Mean products [subband, channel, channel] of an image's wavelet coefficients."""
    x = wavelet.transform(y, levels)
    parts = (x[band.rows, band.columns] for band in wavelet.subbands(y.shape[:2], levels))
    return jnp.stack([jnp.einsum("ijc,ijd->cd", one, one, precision="highest") / one[..., 0].size for one in parts])
