"""The discriminators: one per satellite and scale, PatchGAN style, on images of that satellite."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from satxlate_jax.models.layers import ConvBlock, at_least_float32, average_pool
from satxlate_jax.models.network import Params, find_network


class PatchDiscriminator(nnx.Module):
    """[batch, h, w, band] -> [batch, h / 2**n_layer, w / 2**n_layer, 1], one score per patch."""

    def __init__(self, bands: int, dim: int, n_layer: int, norm: str, activation: str, padding: str, **settings):
        self.n_layer = n_layer
        block = {"stride": 2, "pad": 1, "padding": padding, "activation": activation, **settings}
        self.conv_0 = ConvBlock(bands, dim, 4, **block)
        for index in range(1, n_layer):
            setattr(self, f"conv_{index}", ConvBlock(dim, 2 * dim, 4, norm=norm, **block))
            dim *= 2
        self.conv_out = ConvBlock(dim, 1, 1, **settings)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Score x."""
        for index in range(self.n_layer):
            x = getattr(self, f"conv_{index}")(x)
        return self.conv_out(x)


class Discriminator:
    """One patchwise discriminator per satellite and scale, as functions of nested dicts.

    `discriminator` is that section of a configuration (configs/default.py), `bands` satellite -> its bands, `precision`
    ('float32' | 'bfloat16') that of the arithmetic.
    """

    def __init__(
        self, discriminator: Mapping[str, Any], bands: Mapping[str, Sequence[int]], *, precision: str, remat: bool
    ):
        self.num_scales = discriminator["num_scales"]
        settings = {name: discriminator[name] for name in ("dim", "n_layer", "norm", "activation", "padding")}
        settings |= {"initialization": "gaussian", "dtype": jnp.bfloat16 if precision == "bfloat16" else None}
        self._networks = {
            satellite: find_network(PatchDiscriminator, len(numbers), remat=remat, **settings)
            for satellite, numbers in bands.items()
        }

    def init(self, key: jax.Array) -> Params:
        """Fresh parameters: {satellite: {scale_i: ...}}; always gaussian(0.02), as released."""
        keys, params = jax.random.split(key, len(self._networks)), {}
        for own, (satellite, network) in zip(keys, self._networks.items(), strict=True):
            scales = enumerate(jax.random.split(own, self.num_scales))
            params[satellite] = {f"scale_{index}": network.init(scale) for index, scale in scales}
        return params

    def score(self, params: Params, x: jax.Array, satellite: str) -> list[jax.Array]:
        """Judge how real images [batch, h, w, band] look: one [batch, h', w', 1] per scale, finest first."""
        scores = []
        with jax.named_scope(f"discriminator/{satellite}"):
            for index in range(self.num_scales):
                if index:
                    x = average_pool(x)
                scores.append(at_least_float32(self._networks[satellite].apply(params[satellite][f"scale_{index}"], x)))
        return scores
