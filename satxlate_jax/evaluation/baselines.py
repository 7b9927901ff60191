"""Baselines: methods without a shared latent space, which a translation must beat.

Unpaired, as the model is:
- `constant`: the target's mean.
- `band_copy`: the source's band of the same wavelength, as measured.
- `linear`, `quadratic`, `trees`, `cnn`: fitted on the TARGET satellite's own tiles, inputs = its bands that the
  source's input bands share by wavelength, outputs = each of its bands, and then applied to what the SOURCE measured.
- `matching`: histogram matching of a shared band.
- `green_...`: the published formulas for the green band.
Paired, and so given more than the model: `sbaf`, a line per shared band fitted on coincident files.
Every fit streams over tiles or keeps a bounded sample.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import trange

from satxlate_jax.cli import InputError
from satxlate_jax.evaluation.case_selection import Task
from satxlate_jax.evaluation.composites import GREEN_FORMULAS, formula_green, green_band
from satxlate_jax.evaluation.distributions import BINS
from satxlate_jax.instruments import denormalize, get_satellite, normalize, published_statistics
from satxlate_jax.regression import Moments, least_squares
from satxlate_jax.translation.filling import fill_missing

MODEL = "model"
COARSE = "model_2km"
"""On a finer grid: the model's translation at 2 km, interpolated."""


class Baseline:
    """A method without a latent space. It is fitted by calls of `fit_...` for what it wants and `finish`.

    `fit_target` and `fit_source` take a tile of that satellite, [h, w, band] in physical units, NaN where missing;
    `fit_pair` takes coincident tiles of source and target.
    """

    name = ""  # in tables
    label = ""  # in words
    wants: tuple[str, ...] = ()  # tiles that it is fitted on, any of 'target', 'source', 'pair'

    def __init__(self, task: Task):
        self.task = task
        # channels of the source's array that have a partner in the target's, and those partners in the same order
        self.channels, self.partners = task.shared

    def finish(self) -> None:
        """End the fit."""

    def predict(self, values: np.ndarray) -> dict[int, np.ndarray]:
        """From [h, w, source band] to target band -> [h, w], physical units, of the bands that it has an answer for.

        NaN at pixels without one.
        """
        answers = self._answer(np.moveaxis(values, -1, 0).astype(np.float64))
        return {self.task.target_bands[channel]: field for channel, field in answers.items()}

    def _answer(self, values: np.ndarray) -> dict[int, np.ndarray]:
        """From float64 [source band, h, w] to channel of the target's -> [h, w]; by default there is none."""
        return {}


class Constant(Baseline):
    """Each band's mean over the fitting tiles."""

    name, label, wants = "constant", "constant", ("target",)

    def __init__(self, task: Task):
        super().__init__(task)
        self._sum = np.zeros(len(task.target_bands))
        self._n = np.zeros(len(task.target_bands), np.int64)

    def fit_target(self, values: np.ndarray) -> None:
        """Add a tile to the means."""
        seen = np.isfinite(values)
        self._sum += np.sum(values, axis=(0, 1), where=seen, dtype=np.float64)
        self._n += seen.sum((0, 1))

    def _answer(self, values: np.ndarray) -> dict[int, np.ndarray]:
        seen = np.flatnonzero(self._n)
        return {channel: np.full(values.shape[1:], self._sum[channel] / self._n[channel]) for channel in seen}


class BandCopy(Baseline):
    """The source's band of the same wavelength, where there is one."""

    name, label = "band_copy", "band copy"

    def _answer(self, values: np.ndarray) -> dict[int, np.ndarray]:
        return dict(zip(self.partners, values[self.channels], strict=True))


class HistogramMatching(Baseline):
    """Maps each shared band so that its distribution over the source's tiles becomes that over the target's."""

    name, label, wants = "matching", "histogram matching", ("target", "source")

    def __init__(self, task: Task):
        super().__init__(task)
        target = get_satellite(task.target)
        bins = [BINS[target.band(task.target_bands[channel]).kind] for channel in self.partners]
        self._edges = [np.linspace(low, high, round((high - low) / width) + 1) for low, high, width in bins]
        self._counts = [np.zeros((2, len(edges) - 1)) for edges in self._edges]
        self._maps: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # by place among the shared bands

    def fit_source(self, values: np.ndarray) -> None:
        """Count a tile of the source."""
        self._count(0, values[..., self.channels])

    def fit_target(self, values: np.ndarray) -> None:
        """Count a tile of the target."""
        self._count(1, values[..., self.partners])

    def _count(self, side: int, values: np.ndarray) -> None:
        for index, (edges, counts) in enumerate(zip(self._edges, self._counts, strict=True)):
            field = values[..., index]
            within = np.clip(field[np.isfinite(field)], edges[0], edges[-1])
            counts[side] += np.histogram(within, len(edges) - 1, (edges[0], edges[-1]))[0]

    def finish(self) -> None:
        """Make each band's map: values of equal rank in the two distributions."""
        for index, (edges, counts) in enumerate(zip(self._edges, self._counts, strict=True)):
            if counts.sum(1).min() > 0:
                ranks = np.concatenate([np.zeros((2, 1)), counts.cumsum(1) / counts.sum(1, keepdims=True)], axis=1)
                inside = np.flatnonzero((ranks[0] > 1e-4) & (ranks[0] < 1 - 1e-4))
                if inside.size > 1:
                    # strictly rising ranks, so that flat parts of the target's distribution have one inverse
                    rising = ranks[1] + 1e-12 * np.arange(ranks.shape[1])
                    self._maps[index] = edges[inside], np.interp(ranks[0][inside], rising, edges)

    def _answer(self, values: np.ndarray) -> dict[int, np.ndarray]:
        answers = {}
        for index, (measured, mapped) in self._maps.items():
            field = values[self.channels[index]]
            # beyond the source's distribution by the shift at its end
            answers[self.partners[index]] = field + np.interp(field, measured, mapped - measured)
        return answers


class GreenFormula(Baseline):
    """The green band (0.51 um) from blue, red and vegetation by a published formula, one of `GREEN_FORMULAS`."""

    formula = ""

    def _answer(self, values: np.ndarray) -> dict[int, np.ndarray]:
        number, fields = green_band(self.task.target), dict(zip(self.task.source_bands, values, strict=True))
        green = formula_green(self.task.source, fields, self.formula) if number in self.task.target_bands else None
        return {} if green is None else {self.task.target_bands.index(number): green}


class LinearRegression(Baseline):
    """Least squares from the shared bands to every target band; NaN where an input is missing.

    A shared band's regression on itself and others is itself, so that only the others are fitted. Each of these has its
    own sums: a pixel missing in one does not cost the others.

    Attributes:
      weights: [feature, band that the source lacks].
      offset: [band that the source lacks].
    """

    name, label, wants = "linear", "linear regression", ("target",)
    step = 1  # of the pixels used, along rows and columns

    def __init__(self, task: Task):
        super().__init__(task)
        n_inputs = self.features(np.zeros((1, len(self.partners)))).shape[1]
        self._moments = [Moments(n_inputs + 1) for _ in task.lacking]
        self._n = 0  # pixels that have all inputs
        self.weights = np.full((n_inputs, len(task.lacking)), np.nan)
        self.offset = np.full(len(task.lacking), np.nan)

    def features(self, inputs: np.ndarray) -> np.ndarray:
        """From the shared bands [pixel, band] to the variables that the regression is linear in, [pixel, feature]."""
        return inputs

    def fit_target(self, values: np.ndarray) -> None:
        """Add the pixels of a tile that have all inputs and the output."""
        if not self.partners:
            return  # without a shared band there is nothing to regress on, and no answer
        pixels = values[:: self.step, :: self.step].reshape(-1, values.shape[-1]).astype(np.float64)
        pixels = pixels[np.isfinite(pixels[:, self.partners]).all(1)]
        self._n += len(pixels)
        features = self.features(pixels[:, self.partners])
        for moments, output in zip(self._moments, pixels[:, self.task.lacking].T, strict=True):
            seen = np.isfinite(output)
            moments.add(np.concatenate([features[seen], output[seen, None]], axis=1))

    def finish(self) -> None:
        """Solve the normal equations of each band that was seen."""
        for place, moments in enumerate(self._moments):
            if moments.n > 1:
                self.weights[:, place], self.offset[place] = _solve(moments)

    def _answer(self, values: np.ndarray) -> dict[int, np.ndarray]:
        if not self._n:
            return {}
        inputs = values[self.channels].reshape(len(self.channels), -1)
        answers = np.concatenate([inputs, self._infer(inputs)])
        answers[:, np.isnan(inputs).any(0)] = np.nan
        channels = [*self.partners, *self.task.lacking]
        return dict(zip(channels, answers.reshape(-1, *values.shape[1:]), strict=True))

    def _infer(self, inputs: np.ndarray) -> np.ndarray:
        """From the shared bands [band, pixel] to those that the source lacks."""
        return self.weights.T @ inputs + self.offset[:, None]


class QuadraticRegression(LinearRegression):
    """Least squares on the shared bands, their squares and products; from every third pixel along rows and columns.

    Inputs are centred and scaled by the published statistics first, so that squares are well conditioned.
    """

    name, label = "quadratic", "quadratic regression"
    step = 3

    def __init__(self, task: Task):
        self._mean, self._std = published_statistics(task.target, task.inputs)
        super().__init__(task)

    def features(self, inputs: np.ndarray) -> np.ndarray:
        """The bands and all products of two of them: [pixel, shared band] -> [pixel, feature]."""
        x = np.ascontiguousarray(((inputs - self._mean) / self._std).T)
        return np.concatenate([x, *(x[index:] * one for index, one in enumerate(x))]).T

    def _infer(self, inputs: np.ndarray) -> np.ndarray:
        """As x (w + W x) for each band, which costs a tenth of computing all products first."""
        x = (inputs - self._mean[:, None]) / self._std[:, None]
        inferred = np.repeat(self.offset[:, None], x.shape[1], 1)
        for field, (linear, products) in zip(inferred, (np.split(w, [len(x)]) for w in self.weights.T), strict=True):
            matrix = np.zeros((len(x), len(x)))
            matrix[np.triu_indices(len(x))] = products
            field += np.einsum("ip,ip->p", x, matrix @ x + linear[:, None])
        return inferred


def _solve(moments: Moments) -> tuple[np.ndarray, float]:
    """Weights and offset of the last variable's regression on the others."""
    weights, offset = least_squares(moments.mean, moments.covariance, len(moments.mean) - 1, rcond=1e-12)
    return weights[:, 0], offset[0]


class PairedLine(Baseline):
    """A line per shared band, fitted on coincident files that are not scored: a spectral band adjustment (SBAF)."""

    name, label, wants = "sbaf", "SBAF (paired)", ("pair",)

    def __init__(self, task: Task):
        super().__init__(task)
        self._moments = [Moments(2) for _ in self.channels]
        self._lines = np.full((len(self.channels), 2), np.nan)

    def fit_pair(self, source: np.ndarray, target: np.ndarray) -> None:
        """Add coincident tiles [h, w, source band] and [h, w, target band]."""
        for moments, channel, partner in zip(self._moments, self.channels, self.partners, strict=True):
            values = np.stack([source[..., channel], target[..., partner]], axis=-1).astype(np.float64)
            moments.add(values[np.isfinite(values).all(-1)])

    def finish(self) -> None:
        """Solve for slope and offset; a band never seen in pairs has no answer."""
        for line, moments in zip(self._lines, self._moments, strict=True):
            if moments.n > 1 and moments.products[0, 0] > 0:
                (line[0],), line[1] = _solve(moments)

    def _answer(self, values: np.ndarray) -> dict[int, np.ndarray]:
        fitted = zip(self.partners, values[self.channels], self._lines, strict=True)
        return {partner: field * slope + offset for partner, field, (slope, offset) in fitted if np.isfinite(slope)}


class BoostedTrees(Baseline):
    """Gradient-boosted trees on a sample of pixels, for the bands that the source lacks."""

    name, label, wants = "trees", "boosted trees", ("target",)
    sample = 120_000  # pixels
    per_tile = 6_000

    def __init__(self, task: Task):
        super().__init__(task)
        self._random = np.random.default_rng(0)
        self._rows: list[np.ndarray] = []
        self._models: dict[int, Any] = {}

    def fit_target(self, values: np.ndarray) -> None:
        """Draw pixels of a tile that have every input."""
        if not self.partners:
            return
        pixels = values.reshape(-1, values.shape[-1])
        usable = np.flatnonzero(np.isfinite(pixels[:, self.partners]).all(1))
        chosen = self._random.permutation(usable)[: self.per_tile]
        self._rows.append(pixels[chosen].astype(np.float32))

    def finish(self) -> None:
        """Fit a model per band."""
        from sklearn.ensemble import HistGradientBoostingRegressor  # here, because it takes a second

        if not self._rows:
            return
        rows = self._random.permutation(np.concatenate(self._rows))[: self.sample]
        self._rows = []
        for channel in self.task.lacking:
            seen = np.isfinite(rows[:, channel])
            if seen.sum() > 100:
                model = HistGradientBoostingRegressor(max_iter=200, learning_rate=0.1, random_state=0)
                self._models[channel] = model.fit(rows[seen][:, self.partners], rows[seen, channel])

    def _answer(self, values: np.ndarray) -> dict[int, np.ndarray]:
        inputs, answers = np.moveaxis(values[self.channels], 0, -1), {}
        usable = np.isfinite(inputs).all(-1)
        for channel, model in self._models.items() if usable.any() else ():
            answers[channel] = np.full(usable.shape, np.nan)
            answers[channel][usable] = model.predict(inputs[usable].astype(np.float32))
        return answers


class SupervisedCnn(Baseline):
    """A small network trained on patches of the target's tiles alone, after the paper authors' own baseline.

    Three 3 x 3 convolutions beside a linear (1 x 1) path, from the shared bands to the bands that the source lacks, all
    in network units; a pixel missing in the truth does not count.
    """

    name, label, wants = "cnn", "supervised CNN", ("target",)
    width = 32  # channels
    steps, batch, learning_rate = 1_500, 8, 2e-3
    patch, kept = 64, 2_000  # pixels of a side, and how many patches

    def __init__(self, task: Task):
        super().__init__(task)
        numbers = np.array(task.target_bands)
        self._inputs = published_statistics(task.target, numbers[self.partners])
        self._outputs = published_statistics(task.target, numbers[task.lacking])
        self._random = np.random.default_rng(0)
        self._patches: list[np.ndarray] = []
        self._params: Any = None

    def fit_target(self, values: np.ndarray) -> None:
        """Keep patches of a tile in which every input is there."""
        if not self.partners:
            return
        side = self.patch
        for _ in range(40):
            row, column = (self._random.integers(0, max(size - side, 0) + 1) for size in values.shape[:2])
            patch = values[row : row + side, column : column + side]
            if patch.shape[:2] == (side, side) and np.isfinite(patch[..., self.partners]).all():
                self._patches.append(patch.astype(np.float32))
        if len(self._patches) > 2 * self.kept:
            self._thin()

    def _thin(self) -> None:
        chosen = self._random.permutation(len(self._patches))[: self.kept]
        self._patches = [self._patches[index] for index in chosen]

    def finish(self) -> None:
        """Train; without a patch or a band to make there is no network."""
        if not self._patches or not self.task.lacking:
            return
        self._thin()
        patches = np.stack(self._patches)
        self._patches = []
        x = normalize(patches[..., self.partners], *self._inputs)
        y = normalize(patches[..., self.task.lacking], *self._outputs)
        self._params = self._train(x, y)

    def _train(self, x: np.ndarray, y: np.ndarray) -> Any:
        """Adam on the mean squared error with a cosine schedule; x [n, h, w, in] and y [n, h, w, out]."""

        def kernel(side: int, before: int, after: int, gain: float) -> tuple[np.ndarray, np.ndarray]:
            values = self._random.standard_normal((side, side, before, after)) * gain / np.sqrt(side * side * before)
            return values.astype(np.float32), np.zeros(after, np.float32)

        n_in, n_out = x.shape[-1], y.shape[-1]
        params = {
            "hidden": [kernel(3, n_in, self.width, 1.4), kernel(3, self.width, self.width, 1.4)],
            "last": kernel(3, self.width, n_out, 0.1),
            "linear": kernel(1, n_in, n_out, 0.1),
        }
        optimizer = optax.adam(optax.cosine_decay_schedule(self.learning_rate, self.steps))

        def loss(params: Any, inputs: jax.Array, truth: jax.Array) -> jax.Array:
            error = jnp.where(jnp.isfinite(truth), _apply(params, inputs) - jnp.nan_to_num(truth), 0)
            return jnp.mean(error**2)

        @jax.jit
        def step(params: Any, state: Any, inputs: jax.Array, truth: jax.Array) -> tuple[Any, Any]:
            updates, state = optimizer.update(jax.grad(loss)(params, inputs, truth), state, params)
            return optax.apply_updates(params, updates), state

        state = optimizer.init(params)
        for _ in trange(self.steps, desc="train the cnn baseline", unit="step", disable=None):
            chosen = self._random.integers(0, len(x), self.batch)
            params, state = step(params, state, x[chosen], y[chosen])
        return params

    def _answer(self, values: np.ndarray) -> dict[int, np.ndarray]:
        inputs = np.moveaxis(values[self.channels], 0, -1).astype(np.float32)
        if self._params is None or not np.isfinite(inputs).any((0, 1)).all():
            return {}
        filled, missing = fill_missing(inputs)
        y = denormalize(jax.jit(_apply)(self._params, normalize(filled, *self._inputs)[None])[0], *self._outputs)
        fields = np.where(missing, np.nan, np.moveaxis(y, -1, 0))
        return dict(zip(self.task.lacking, fields, strict=True))


def _convolve(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=layout) + bias


def _apply(params: Any, x: jax.Array) -> jax.Array:
    hidden = x
    for kernel, bias in params["hidden"]:
        hidden = jax.nn.leaky_relu(_convolve(hidden, kernel, bias), 0.2)
    return _convolve(hidden, *params["last"]) + _convolve(x, *params["linear"])


def _green_baseline(formula: str) -> type[Baseline]:
    names = {"name": f"green_{formula.lower()}", "label": f"{formula} green formula", "formula": formula}
    return type(f"Green{formula}", (GreenFormula,), names)


# In the order of the report. Where two are equally good, the first is named.
_ORDER: tuple[type[Baseline], ...] = (
    *(BandCopy, LinearRegression, QuadraticRegression, HistogramMatching, PairedLine),
    *map(_green_baseline, GREEN_FORMULAS),
    *(BoostedTrees, SupervisedCnn, Constant),
)
BASELINES: dict[str, type[Baseline]] = {baseline.name: baseline for baseline in _ORDER}
PAIRED = tuple(name for name, baseline in BASELINES.items() if "pair" in baseline.wants)
"""Those fitted on coincident files of both satellites, which is more than the model is given."""
SLOW = ("trees", "cnn")
"""Those that take minutes; only fitted when asked for."""
REGRESSIONS = ("linear", "quadratic", *SLOW)


def method_name(method: str) -> str:
    """A method in words."""
    return BASELINES[method].label if method in BASELINES else method.replace("_2km", " at 2 km")


def make_baselines(task: Task, names: Sequence[str] | None = None) -> list[Baseline]:
    """Baselines, unfitted, in the report's order: all but the slow ones, or those named ('all' is all)."""
    chosen = [name for name in BASELINES if name not in SLOW] if names is None else names
    if "all" in chosen:
        chosen = list(BASELINES)
    unknown = [name for name in chosen if name not in BASELINES]
    if unknown:
        raise InputError(f"there is no baseline '{unknown[0]}'; there are {', '.join(BASELINES)}; or say all, or none")
    return [baseline(task) for name, baseline in BASELINES.items() if name in chosen]
