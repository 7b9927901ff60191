"""The CDF 5/3 wavelet by lifting: exactly invertible for images of any size, with determinant one.

A level splits rows and columns into even and odd ones; each odd one becomes its difference from the mean of its even
neighbours, each even one gains a quarter of the differences beside it. Coefficients keep the image's shape: coarse ones
lie at the top left (Mallat's layout). Every step adds a function of other pixels, so its inverse subtracts the same.

Sources: Le Gall & Tabatabai, ICASSP 1988; Sweldens, SIAM J. Math. Anal. 29 (1998), lifting.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Subband(NamedTuple):
    """A rectangle of coefficients: its level (0 the finest), rows and columns."""

    level: int
    rows: slice
    columns: slice


def subbands(shape: Sequence[int], levels: int) -> Iterator[Subband]:
    """The subbands of an image of that height and width, the finest first; the last is the coarse image."""
    for level in range(levels):
        (height, width), (top, left) = _size(shape, level), _size(shape, level + 1)
        low, high = (slice(0, top), slice(0, left)), (slice(top, height), slice(left, width))
        yield Subband(level, low[0], high[1])
        yield Subband(level, high[0], low[1])
        yield Subband(level, *high)
    yield Subband(levels, *(slice(0, side) for side in _size(shape, levels)))


def _size(shape: Sequence[int], level: int) -> tuple[int, ...]:
    """The shape of the coarse image after so many levels."""
    return tuple(-(-side // 2**level) for side in shape)


def _part(x: Any, axis: int, *limits: int | None) -> Any:
    """Part of one axis; this and its inverse work on arrays of numpy as well, where nothing is compiled."""
    return x[(slice(None),) * axis + (slice(*limits),)]


def _neighbours(x: Any, count: int, axis: int, *, before: bool) -> Any:
    """The sum of each place's two neighbours among `x`; beyond the ends the image is mirrored."""
    first, last = _part(x, axis, 0, 1), _part(x, axis, -1, None)
    padded = x.__array_namespace__().concatenate([first, x, last] if before else [x, last], axis)
    return sum(_part(padded, axis, start, start + count) for start in (0, 1))


def _forward(x: jax.Array, axis: int) -> jax.Array:
    if x.shape[axis] == 1:
        return x
    even, odd = (_part(x, axis, start, None, 2) for start in (0, 1))
    odd = odd - _neighbours(even, odd.shape[axis], axis, before=False) / 2
    even = even + _neighbours(odd, even.shape[axis], axis, before=True) / 4
    return jnp.concatenate([even, odd], axis)


def _inverse(x: Any, axis: int) -> Any:
    size, library = x.shape[axis], x.__array_namespace__()
    if size == 1:
        return x
    even, odd = library.split(x, [-(-size // 2)], axis)
    even = even - _neighbours(odd, even.shape[axis], axis, before=True) / 4
    odd = odd + _neighbours(even, odd.shape[axis], axis, before=False) / 2
    one_more = library.zeros_like(_part(even, axis, 0, even.shape[axis] - odd.shape[axis]))
    padded = library.concatenate([odd, one_more], axis)
    pairs = library.stack([even, padded], axis + 1)
    return _part(pairs.reshape(*x.shape[:axis], 2 * even.shape[axis], *x.shape[axis + 1 :]), axis, 0, size)


def transform(x: jax.Array, levels: int) -> jax.Array:
    """The coefficients [..., h, w, channel] of images of that shape."""
    for level in range(levels):
        height, width = _size(x.shape[-3:-1], level)
        part = _forward(_forward(x[..., :height, :width, :], x.ndim - 3), x.ndim - 2)
        x = part if part.shape == x.shape else x.at[..., :height, :width, :].set(part)
    return x


def inverse(coefficients: jax.Array, levels: int) -> jax.Array:
    """The images [..., h, w, channel] of coefficients; the inverse of `transform`."""
    x = coefficients
    for level in reversed(range(levels)):
        height, width = _size(x.shape[-3:-1], level)
        part = _inverse(_inverse(x[..., :height, :width, :], x.ndim - 2), x.ndim - 3)
        x = part if part.shape == x.shape else x.at[..., :height, :width, :].set(part)
    return x


def assemble(parts: Sequence[jax.Array]) -> jax.Array:
    """An image [..., h, w, channel] of its subbands' parts, in the order of `subbands`."""
    whole, *others = reversed(parts)
    for both, below, right in zip(*[iter(others)] * 3, strict=True):
        whole = jnp.concatenate([jnp.concatenate([whole, right], -2), jnp.concatenate([below, both], -2)], -3)
    return whole


@lru_cache(maxsize=256)
def _energies(size: int, levels: int, side: int) -> np.ndarray:
    """The squared synthesis functions along one axis after some levels, float32 [pixel, coefficient], smoothed.

    Those of means over `side` pixels, averaged over the distance between two coefficients.
    """
    x = np.eye(size, dtype=np.float32)
    for level in reversed(range(levels)):
        (length,) = _size((size,), level)
        x[:length] = _inverse(x[:length], 0)
    if side > 1:
        x = x.reshape(-1, side, size).mean(1).repeat(side, 0)
    before, after = 2**levels // 2, 2**levels - 2**levels // 2 - 1
    padded = np.pad(x**2, ((before, after), (0, 0)), mode="symmetric")
    return np.lib.stride_tricks.sliding_window_view(padded, 2**levels, axis=0).mean(-1)


def pixel_variance(variance: jax.Array, levels: int, side: int = 1) -> jax.Array:
    """The variance of pixels [..., h, w, channel] where coefficients of that variance are independent.

    With a `side`, of means over so many pixels along and across, of which h and w are multiples. It is averaged over
    the distance between the coefficients of a subband: a pixel between two of them is as uncertain as one beside them,
    and no grid shows.
    """
    shape, total = variance.shape[-3:-1], jnp.zeros_like(variance)
    for band in subbands(shape, levels):
        part = variance[..., band.rows, band.columns, :]
        if part.size:
            for axis, size, places in zip((-3, -2), shape, (band.rows, band.columns), strict=True):
                part = _spread(part, axis, *_reach(size, min(band.level + 1, levels), side, places.start, places.stop))
            total += part[..., : shape[0], : shape[1], :]
    return total


@lru_cache(maxsize=256)
def _reach(size: int, depth: int, side: int, start: int, stop: int) -> tuple[int, np.ndarray]:
    """Some columns of `_energies`, of which each pixel has few that are not zero: float32 [place, pixel, neighbour].

    Pixels of place q, 2**depth of them, are reached by the coefficients from q plus the first number returned on.
    """
    energies, step = _energies(size, depth, side)[:, start:stop], 2**depth
    pixels, coefficients = np.nonzero(energies)
    neighbours = coefficients - pixels // step
    first = int(neighbours.min())
    reach = np.zeros((-(-size // step), step, neighbours.max() - first + 1), np.float32)
    reach[pixels // step, pixels % step, neighbours - first] = energies[pixels, coefficients]
    return first, reach


def _spread(x: jax.Array, axis: int, first: int, reach: np.ndarray) -> jax.Array:
    """Sums over coefficients x along an axis, counted from the end, for each pixel, with the weights of `_reach`."""
    places, step, neighbours = reach.shape
    sides, behind = [(0, 0)] * x.ndim, places + first + neighbours - 1 - x.shape[axis]
    sides[axis] = max(-first, 0), max(behind, 0)
    padded, begin = jnp.pad(x, sides), max(first, 0)
    total = sum(
        jnp.expand_dims(jax.lax.slice_in_dim(padded, begin + number, begin + number + places, axis=axis), axis)
        * np.expand_dims(reach[..., number], tuple(range(2, 1 - axis)))
        for number in range(neighbours)
    )
    return jnp.reshape(total, (*x.shape[:axis], places * step, *x.shape[axis:][1:]))
