"""The spectral flow's small network: what its regression leaves, as mean and standard deviation of coefficients."""

import itertools
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from satxlate_jax.models import wavelet
from satxlate_jax.models.layers import ConvBlock, ResidualBlock, at_least_float32


class FlowNetwork(nnx.Module):
    """Features [batch, h, w, input] -> mean [batch, h, w, channel] and log sigma by subband, relative to the base's."""

    def __init__(self, channels: int, width: int, blocks: int, levels: int, dtype: Any, *, rngs: nnx.Rngs):
        settings = {"initialization": "kaiming", "dtype": dtype, "rngs": rngs}
        self.levels, self.channels = levels, channels
        self.stem = ConvBlock(3 * channels, width, 1, activation="relu", **settings)
        self.blocks = tuple(f"res_block_{index}" for index in range(blocks))
        for name in self.blocks:
            setattr(self, name, ResidualBlock(width, padding="replicate", activation="relu", **settings))
        zero = partial(nnx.Linear, kernel_init=nnx.initializers.zeros, rngs=rngs)
        self.mean = zero(width, channels)
        for level in range(levels + 1):
            setattr(self, f"sigma_{level}", zero(width, channels if level == levels else 3 * channels))

    def __call__(self, x: jax.Array) -> tuple[jax.Array, list[jax.Array]]:
        """Returns the mean and, per subband in the order of `wavelet.subbands`, log sigma."""
        x = self.stem(x)
        for name in self.blocks:
            x = getattr(self, name)(x)
        x = nnx.relu(at_least_float32(x))
        mean, sigmas, coarser = self.mean(x), [], x
        for level in range(self.levels):
            shape = coarser.shape[1:3]
            coarser = _halve(coarser)
            found = getattr(self, f"sigma_{level}")(coarser)
            for index, band in enumerate(itertools.islice(wavelet.subbands(shape, 1), 3)):
                rows, columns = (s.stop - s.start for s in (band.rows, band.columns))
                part = found[..., index * self.channels : (index + 1) * self.channels]
                sigmas.append(part[:, :rows, :columns])
        return mean, [*sigmas, getattr(self, f"sigma_{self.levels}")(coarser)]


def _halve(x: jax.Array) -> jax.Array:
    """Means of 2 x 2 pixels [batch, ceil(h / 2), ceil(w / 2), channel]; the last row and column count twice if odd."""
    x = jnp.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0)), mode="edge")
    return (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4
