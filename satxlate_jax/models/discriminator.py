"""The discriminators: one per satellite and scale, patchwise, on images of that satellite."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from satxlate_jax.models.layers import ConvBlock, average_pool
from satxlate_jax.models.params import Network, Params


class PatchScorer(nnx.Module):
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
        """Scores x."""
        for index in range(self.n_layer):
            x = getattr(self, f"conv_{index}")(x)
        return self.conv_out(x)


class Discriminator:
    """One patchwise discriminator per satellite and scale, as functions of nested dicts."""

    def __init__(
        self,
        bands: Mapping[str, Sequence[int]],
        *,
        num_scales: int,
        dtype: jnp.dtype,
        abreast: int,
        remat: bool,
        **architecture,
    ):
        self.num_scales = num_scales
        settings = {**architecture, "initialization": "gaussian", "dtype": dtype}
        self._networks = {
            satellite: Network(functools.partial(PatchScorer, len(numbers), **settings), abreast=abreast, remat=remat)
            for satellite, numbers in bands.items()
        }

    def init(self, key: jax.Array) -> Params:
        """Fresh parameters: {satellite: {scale_i: ...}}; always gaussian(0.02), as released."""
        params = {}
        for satellite_key, (satellite, network) in zip(
            jax.random.split(key, len(self._networks)), self._networks.items(), strict=True
        ):
            keys = jax.random.split(satellite_key, self.num_scales)
            params[satellite] = {f"scale_{index}": network.init(keys[index]) for index in range(self.num_scales)}
        return params

    def score(self, params: Params, x: jax.Array, satellite: str) -> list[jax.Array]:
        """How real images look.

        Args:
          params: as `init` gives them.
          x: [batch, h, w, band] of that satellite, network units; packed where built so.
          satellite: as whose image to judge it.

        Returns:
          One [batch, h', w', 1] per scale, packed like x, finest first, float32 or wider.
        """
        scores = []
        with jax.named_scope(f"discriminator/{satellite}"):
            for index in range(self.num_scales):
                if index:
                    x = average_pool(x)
                score = self._networks[satellite].apply(params[satellite][f"scale_{index}"], x)
                scores.append(score.astype(jnp.promote_types(score.dtype, jnp.float32)))
        return scores


def build_discriminator(
    discriminator: Mapping[str, Any],
    bands: Mapping[str, Sequence[int]],
    *,
    precision: str = "float32",
    abreast: int = 1,
    remat: bool = False,
) -> Discriminator:
    """A discriminator from the `discriminator` section of a configuration (configs/default.py).

    Args:
      discriminator: dim, n_layer, norm, activation, padding, num_scales.
      bands: satellite -> its bands, 1-based.
      precision: 'float32' | 'bfloat16', of the arithmetic.
      abreast: images come packed, so many side by side (abreast.py); norm 'none' or 'in'.
      remat: less memory for more time, see `Network`.
    """
    fields = ("dim", "n_layer", "norm", "activation", "padding", "num_scales")
    dtype = jnp.bfloat16 if precision == "bfloat16" else None
    return Discriminator(
        bands, dtype=dtype, abreast=abreast, remat=remat, **{field: discriminator[field] for field in fields}
    )
