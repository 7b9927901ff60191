"""A per-pixel bypass of the generator's networks: from a satellite's bands to one value per wavelength.

Each wavelength that any satellite has is one channel of the path. A satellite's bands are copied to the channels of
their wavelengths; those it lacks are a linear or quadratic map of its bands and, with hidden units, what a small
network per pixel adds to that.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx


def spectral_features(x: Any, quadratic: bool) -> Any:
    """The features that the path's map is linear in: the bands, or also all products of two of them.

    Args:
      x: [..., band], network units, a jax or numpy array.
      quadratic: whether to add products.

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
    """[..., input] -> [..., output] from given first values; zero by default."""

    def __init__(self, inputs: int, outputs: int, kernel: jax.Array | None = None):
        self.kernel = nnx.Param(jnp.zeros((inputs, outputs)) if kernel is None else kernel)
        self.bias = nnx.Param(jnp.zeros(outputs))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map x."""
        return x @ self.kernel[...].astype(x.dtype) + self.bias[...].astype(x.dtype)


class HiddenUnits(nnx.Module):
    """[..., band] -> [..., lacking channel]: whitening, two hidden layers with ReLU, and a last layer.

    Bands of one instrument say nearly the same, and what tells a lacking one lies in their small differences; whitening
    makes these as large as the rest. All is zero until training/spectral_path_init.py fits it.
    """

    def __init__(self, bands: int, hidden: int, lacking: int, *, rngs: nnx.Rngs):
        del rngs  # nothing is random
        self.whitening = Affine(bands, bands)
        self.first = Affine(bands, hidden)
        self.second = Affine(hidden, hidden)
        self.last = Affine(hidden, lacking)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map x."""
        return self.last(nnx.relu(self.second(nnx.relu(self.first(self.whitening(x))))))


class ToWavelengths(Affine):
    """[..., band] -> [..., wavelength channel]; begins by copying bands to their wavelengths, zero elsewhere.

    The channels that the satellite lacks are fitted before training (training/spectral_path_init.py).
    """

    def __init__(self, channels: Sequence[int], n_channels: int, *, quadratic: bool, hidden: int, rngs: nnx.Rngs):
        self.lacking = tuple(channel for channel in range(n_channels) if channel not in channels)
        self.quadratic = quadratic and bool(self.lacking)  # a satellite that lacks nothing has nothing to infer
        self.infers = hidden > 0 and bool(self.lacking)
        self.n_channels, bands = n_channels, len(channels)
        products = bands * (bands + 1) // 2 if self.quadratic else 0
        copies = jax.nn.one_hot(jnp.array(channels), n_channels)
        super().__init__(bands, n_channels, jnp.concatenate([copies, jnp.zeros((products, n_channels))]))
        if self.infers:
            self.inferred = HiddenUnits(bands, hidden, len(self.lacking), rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map [..., band] to [..., wavelength channel]."""
        channels = super().__call__(spectral_features(x, self.quadratic))
        if not self.infers:
            return channels
        return channels + self.inferred(x) @ jax.nn.one_hot(jnp.array(self.lacking), self.n_channels, dtype=x.dtype)


class FromWavelengths(Affine):
    """[..., wavelength channel] -> [..., band]; begins by copying."""

    def __init__(self, channels: Sequence[int], n_channels: int, *, rngs: nnx.Rngs):
        del rngs  # nothing is random
        super().__init__(n_channels, len(channels), jax.nn.one_hot(jnp.array(channels), n_channels).T)
