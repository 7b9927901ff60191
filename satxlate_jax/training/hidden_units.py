"""The hidden units of the spectral path, fitted before training: what a regression per pixel leaves unexplained.

A network of two hidden layers learns the residuals of the regression by AdamW (Loshchilov & Hutter, ICLR 2019) with a
learning rate that falls as a cosine. Its loss is the absolute error, so that the edges of a few clouds do not steer it.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from satxlate_jax.models.params import Network
from satxlate_jax.models.spectral_path import Inference
from satxlate_jax.training.least_squares import whitening

STEPS = 3_000
PIXELS = 4_096  # per step
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 1.0

Layers = dict[str, dict[str, np.ndarray]]


def fit_units(bands: np.ndarray, residuals: np.ndarray, units: int, seed: int) -> Layers:
    """Fits the layers of an `Inference`.

    Args:
      bands: [pixel, band], network units.
      residuals: [pixel, output]; where NaN, nothing is learned.
      units: of each hidden layer.
      seed: of the first weights and of the pixels drawn.

    Returns:
      Layer -> {'kernel', 'bias'}, float32, in the units of the residuals.
    """
    known = ~np.isnan(residuals)
    squares = np.where(known, residuals, 0) ** 2
    scale = np.sqrt(squares.sum(0, dtype=np.float64) / np.maximum(known.sum(0), 1)) + 1e-6
    layers = {"whitening": whitening(bands), **_first_layers(bands.shape[1], units, residuals.shape[1], seed)}
    layers = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), layers)
    white = layers.pop("whitening")
    data = jnp.asarray(bands, jnp.float32), jnp.asarray(residuals / scale, jnp.float32)
    fitted = jax.device_get(_descend(layers, white, data, jax.random.key(seed)))
    fitted["last"] = {name: leaf * scale.astype(np.float32) for name, leaf in fitted["last"].items()}
    return {"whitening": jax.device_get(white), **fitted}


def infer(layers: Layers, bands: np.ndarray) -> np.ndarray:
    """What the layers of an `Inference` make of bands [pixel, band]: [pixel, output], float32."""
    return np.asarray(_apply(layers, jnp.asarray(bands, jnp.float32)))


def _first_layers(bands: int, units: int, outputs: int, seed: int) -> dict[str, Any]:
    """Uniform within 1 / sqrt(inputs); the last layer is zero, so that the network begins by adding nothing."""
    random = np.random.default_rng(seed)

    def layer(inputs: int, outputs: int) -> dict[str, np.ndarray]:
        limit = inputs**-0.5
        return {
            "kernel": random.uniform(-limit, limit, (inputs, outputs)),
            "bias": random.uniform(-limit, limit, outputs),
        }

    last = {"kernel": np.zeros((units, outputs)), "bias": np.zeros(outputs)}
    return {"first": layer(bands, units), "second": layer(units, units), "last": last}


@jax.jit
def _apply(layers: Any, bands: jax.Array) -> jax.Array:
    (n_bands, units), outputs = layers["first"]["kernel"].shape, layers["last"]["bias"].shape[0]
    return Network(lambda rngs: Inference(n_bands, units, outputs, rngs=rngs)).apply(layers, bands)


@jax.jit
def _descend(layers: Any, white: Any, data: tuple[jax.Array, jax.Array], key: jax.Array) -> Any:
    """All steps, the whitening as it is."""
    bands, residuals = data
    schedule = optax.cosine_decay_schedule(LEARNING_RATE, STEPS)
    optimizer = optax.adamw(schedule, weight_decay=WEIGHT_DECAY)

    def loss(layers: Any, chosen: jax.Array) -> jax.Array:
        wanted = residuals[chosen]
        known = ~jnp.isnan(wanted)
        error = _apply({"whitening": white, **layers}, bands[chosen]) - jnp.where(known, wanted, 0)
        return jnp.sum(jnp.abs(error), where=known) / known.sum()

    def step(carry: Any, key: jax.Array) -> tuple[Any, None]:
        layers, moments = carry
        gradient = jax.grad(loss)(layers, jax.random.randint(key, (PIXELS,), 0, len(bands)))
        changes, moments = optimizer.update(gradient, moments, layers)
        return (optax.apply_updates(layers, changes), moments), None

    (layers, _), _ = jax.lax.scan(step, (layers, optimizer.init(layers)), jax.random.split(key, STEPS))
    return layers
