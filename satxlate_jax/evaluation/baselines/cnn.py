"""A small convolutional network trained on the target satellite alone, after the paper authors' own baseline.

Three 3 x 3 convolutions beside a linear (1 x 1) path, from the shared bands to the bands that the source lacks.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import trange

from satxlate_jax.evaluation.baselines.simple import Baseline, Task
from satxlate_jax.instruments import denormalize, normalize, published_statistics
from satxlate_jax.translation.missing import fill_missing

WIDTH = 32  # channels
STEPS = 1_500
BATCH, PATCH = 8, 64
LEARNING_RATE = 2e-3
KEPT_PATCHES = 2_000


def _convolve(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=layout) + bias


def _apply(params: Any, x: jax.Array) -> jax.Array:
    hidden = x
    for kernel, bias in params["hidden"]:
        hidden = jax.nn.leaky_relu(_convolve(hidden, kernel, bias), 0.2)
    return _convolve(hidden, *params["last"]) + _convolve(x, *params["linear"])


class SupervisedCnn(Baseline):
    """Trained on patches of the target's tiles, all in network units; a pixel missing in the truth does not count."""

    name, label, wants = "cnn", "supervised CNN", ("target",)

    def __init__(self, task: Task):
        super().__init__(task)
        numbers = np.array(task.target_bands)
        self._inputs = published_statistics(task.target, numbers[self.partners])
        self._outputs = published_statistics(task.target, numbers[task.lacking])
        self._random = np.random.default_rng(0)
        self._patches: list[np.ndarray] = []
        self._params: Any = None

    def fit_target(self, values: np.ndarray) -> None:
        """Keeps patches of a tile in which every input is there."""
        if not self.partners:
            return
        for _ in range(40):
            row, column = (self._random.integers(0, max(side - PATCH, 0) + 1) for side in values.shape[:2])
            patch = values[row : row + PATCH, column : column + PATCH]
            if patch.shape[:2] == (PATCH, PATCH) and np.isfinite(patch[..., self.partners]).all():
                self._patches.append(patch.astype(np.float32))
        if len(self._patches) > 2 * KEPT_PATCHES:
            self._thin()

    def _thin(self) -> None:
        chosen = self._random.permutation(len(self._patches))[:KEPT_PATCHES]
        self._patches = [self._patches[index] for index in chosen]

    def finish(self) -> None:
        """Trains; without a patch or a band to make there is no network."""
        if not self._patches or not self.task.lacking:
            return
        self._thin()
        patches = np.stack(self._patches)
        self._patches = []
        x = normalize(patches[..., self.partners], *self._inputs)
        y = normalize(patches[..., self.task.lacking], *self._outputs)
        self._params = _train(x, y, self._random)

    def predict(self, values: np.ndarray) -> np.ndarray:
        """The bands that the source lacks; NaN in the others and where an input is missing."""
        predicted = self.nothing(values)
        inputs = values[..., self.channels]
        if self._params is None or not np.isfinite(inputs).any((0, 1)).all():
            return predicted
        filled, missing = fill_missing(inputs)
        y = jax.jit(_apply)(self._params, normalize(filled, *self._inputs)[None])[0]
        predicted[..., self.task.lacking] = denormalize(y, *self._outputs)
        predicted[missing] = np.nan
        return predicted


def _train(x: np.ndarray, y: np.ndarray, random: np.random.Generator) -> Any:
    """Adam on the mean squared error with a cosine schedule; x [n, h, w, in] and y [n, h, w, out], network units."""

    def kernel(side: int, before: int, after: int, gain: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        values = random.standard_normal((side, side, before, after)) * gain / np.sqrt(side * side * before)
        return values.astype(np.float32), np.zeros(after, np.float32)

    n_in, n_out = x.shape[-1], y.shape[-1]
    params = {
        "hidden": [kernel(3, n_in, WIDTH, 1.4), kernel(3, WIDTH, WIDTH, 1.4)],
        "last": kernel(3, WIDTH, n_out, 0.1),
        "linear": kernel(1, n_in, n_out, 0.1),
    }
    optimizer = optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, STEPS))

    def loss(params: Any, inputs: jax.Array, truth: jax.Array) -> jax.Array:
        error = jnp.where(jnp.isfinite(truth), _apply(params, inputs) - jnp.nan_to_num(truth), 0)
        return jnp.mean(error**2)

    @jax.jit
    def step(params: Any, state: Any, inputs: jax.Array, truth: jax.Array) -> tuple[Any, Any]:
        updates, state = optimizer.update(jax.grad(loss)(params, inputs, truth), state, params)
        return optax.apply_updates(params, updates), state

    state = optimizer.init(params)
    for _ in trange(STEPS, desc="train the cnn baseline", unit="step", disable=None):
        chosen = random.integers(0, len(x), BATCH)
        params, state = step(params, state, x[chosen], y[chosen])
    return params
