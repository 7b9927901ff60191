"""Several images side by side in a network's channels: the same numbers for hardware whose rows hold 128 of them.

A TPU keeps and multiplies channels in rows of 128. Features of 64 channels fill half of each: half of the memory, of
its traffic and of the arithmetic units is spent on nothing. So two images can go through a network as one of twice the
channels, channel c of image p being channel c * abreast + p, with kernels that are zero between the images: what was
padding becomes the other image. On other hardware the zeros are work like any other, and one image at a time is best.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp


def pack(x: jax.Array, abreast: int) -> jax.Array:
    """[n, h, w, channel] -> [n / abreast, h, w, channel * abreast]; neighbouring images come side by side."""
    if abreast == 1:
        return x
    n, h, w, channels = x.shape
    apart = x.reshape(n // abreast, abreast, h, w, channels)
    return apart.transpose(0, 2, 3, 4, 1).reshape(n // abreast, h, w, channels * abreast)


def unpack(x: jax.Array, abreast: int) -> jax.Array:
    """The inverse of `pack`."""
    if abreast == 1:
        return x
    n, h, w, channels = x.shape
    apart = x.reshape(n, h, w, channels // abreast, abreast)
    return apart.transpose(0, 4, 1, 2, 3).reshape(n * abreast, h, w, channels // abreast)


def spread(params: Any, abreast: int) -> Any:
    """Parameters that do to packed images what `params` do to single ones.

    Args:
      params: nested dict of kernels [..., in, out], biases [out] and slopes; norms over all channels of an image have
        no such form.
      abreast: images side by side.
    """
    if abreast == 1:
        return params
    return jax.tree_util.tree_map_with_path(lambda path, leaf: _spread_leaf(path[-1].key, leaf, abreast), params)


def _spread_leaf(name: str, leaf: jax.Array, abreast: int) -> jax.Array:
    if name == "slope":
        return leaf
    # products with zeros and ones, exact at this precision; axes of length `abreast` would fill 128 places on a TPU
    highest = jax.lax.Precision.HIGHEST
    to_outputs = _copies(leaf.shape[-1], abreast, leaf.dtype)
    if name == "bias":
        return jnp.matmul(leaf, to_outputs, precision=highest)
    to_inputs = _copies(leaf.shape[-2], abreast, leaf.dtype)
    everywhere = jnp.einsum("...io,iI,oO->...IO", leaf, to_inputs, to_outputs, precision=highest)
    image_in, image_out = (jnp.arange(size * abreast) % abreast for size in leaf.shape[-2:])
    return jnp.where(image_in[:, None] == image_out, everywhere, 0)  # nothing goes from one image to another


def _copies(channels: int, abreast: int, dtype: jnp.dtype) -> jax.Array:
    """[channel, channel * abreast]: 1 where the second is a copy of the first."""
    return (jnp.arange(channels)[:, None] == jnp.arange(channels * abreast) // abreast).astype(dtype)


def places(channels: Sequence[int], abreast: int) -> tuple[int, ...]:
    """Where channels of single images are in packed ones."""
    return tuple(channel * abreast + image for channel in channels for image in range(abreast))
