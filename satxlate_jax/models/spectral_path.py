"""The spectral path around the generator's networks: per pixel, from a satellite's bands to one value per wavelength.

A wavelength that any satellite has is a "slot". What a satellite measures is copied to its slots; what it lacks is a
linear or quadratic map of what it has and, with hidden units, what a small network per pixel adds to that.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx


def spectral_features(x: Any, quadratic: bool) -> Any:
    """What the path's map is linear in: the bands, or also all products of two of them.

    Args:
      x: [..., band], network units, of jax or numpy.
      quadratic: whether to give products.

    Returns:
      [..., band] or [..., band + band * (band + 1) / 2]: after the bands 1 * 1, 1 * 2, ..., 2 * 2, 2 * 3, ...
    """
    if not quadratic:
        return x
    first, second = np.triu_indices(x.shape[-1])
    if not isinstance(x, jax.Array):
        return np.concatenate([x, x[..., first] * x[..., second]], axis=-1)
    # products with ones and zeros, exact at this precision; taking channels by number is slow, its gradient slower
    take = functools.partial(jnp.matmul, x, precision="highest")
    products = take(jax.nn.one_hot(first, x.shape[-1], axis=0)) * take(jax.nn.one_hot(second, x.shape[-1], axis=0))
    return jnp.concatenate([x, products], axis=-1)


class Affine(nnx.Module):
    """[..., input] -> [..., output]; zero until it is fitted."""

    def __init__(self, inputs: int, outputs: int):
        self.kernel = nnx.Param(jnp.zeros((inputs, outputs)))
        self.bias = nnx.Param(jnp.zeros(outputs))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps x."""
        return x @ self.kernel[...].astype(x.dtype) + self.bias[...].astype(x.dtype)


class Inference(nnx.Module):
    """[..., band] -> [..., lacking slot]: whitening, two hidden layers with ReLU, and a last layer; zero until fitted.

    Bands of one instrument say nearly the same, and what tells a lacking one lies in their small differences; whitening
    makes these as large as the rest.
    """

    def __init__(self, bands: int, hidden: int, lacking: int, *, rngs: nnx.Rngs):
        del rngs  # nothing about it is random
        self.whitening = Affine(bands, bands)
        self.first = Affine(bands, hidden)
        self.second = Affine(hidden, hidden)
        self.last = Affine(hidden, lacking)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps x."""
        return self.last(nnx.relu(self.second(nnx.relu(self.first(self.whitening(x))))))


class ToSlots(nnx.Module):
    """[..., band] -> [..., slot]; begins as 'each band goes to the slot of its wavelength, the others are zero'.

    The slots that the satellite lacks are filled by what is fitted before training
    (training/cross_satellite_regression.py).
    """

    def __init__(self, slots: Sequence[int], n_slots: int, *, quadratic: bool, hidden: int, rngs: nnx.Rngs):
        self.lacking = tuple(slot for slot in range(n_slots) if slot not in slots)
        self.quadratic = quadratic and bool(self.lacking)  # who lacks nothing has nothing to infer
        self.infers = hidden > 0 and bool(self.lacking)
        self.n_slots = n_slots
        bands = len(slots)
        products = bands * (bands + 1) // 2 if self.quadratic else 0
        copies = jax.nn.one_hot(jnp.array(slots), n_slots)
        self.kernel = nnx.Param(jnp.concatenate([copies, jnp.zeros((products, n_slots))]))
        self.bias = nnx.Param(jnp.zeros(n_slots))
        if self.infers:
            self.inferred = Inference(bands, hidden, len(self.lacking), rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [..., band] to [..., slot]."""
        features = spectral_features(x, self.quadratic)
        slots = features @ self.kernel[...].astype(x.dtype) + self.bias[...].astype(x.dtype)
        if not self.infers:
            return slots
        return slots + self.inferred(x) @ jax.nn.one_hot(jnp.array(self.lacking), self.n_slots, dtype=x.dtype)


class FromSlots(nnx.Module):
    """[..., slot] -> [..., band]; begins as 'each band is its wavelength's slot'."""

    def __init__(self, slots: Sequence[int], n_slots: int, *, rngs: nnx.Rngs):
        del rngs  # nothing about it is random
        self.kernel = nnx.Param(jax.nn.one_hot(jnp.array(slots), n_slots).T)
        self.bias = nnx.Param(jnp.zeros(len(slots)))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [..., slot] to [..., band]."""
        return x @ self.kernel[...].astype(x.dtype) + self.bias[...].astype(x.dtype)
