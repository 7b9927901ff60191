"""What the spectral flow is made of: a regression per pixel with Planck's law, and a network for what that leaves."""

import itertools
import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from satxlate_jax.models import wavelet
from satxlate_jax.models.layers import ConvBlock, ResidualBlock, at_least_float32
from satxlate_jax.models.network import Params

CONTEXT = 8  # pixels to a side of the means that the network sees beside each pixel
_CHUNK = 8_192  # pixels
_C1, _C2 = 1.191042972e8, 1.438776877e4  # Planck's law: W um^4 m-2 sr-1, um K


def _products(inputs: int, factors: int) -> list[tuple[int, ...]]:
    """All products of so many inputs, by their numbers."""
    return list(itertools.combinations_with_replacement(range(inputs), factors))


def _parts(inputs: int, factors: int) -> tuple[np.ndarray, np.ndarray]:
    """The number of each product's last factor, and that of the product of those before."""
    places = {product: place for place, product in enumerate(_products(inputs, factors - 1))}
    found = [(product[-1], places[product[:-1]]) for product in _products(inputs, factors)]
    last, before = np.array(found).T
    return last, before


def monomials(x: np.ndarray, degree: int) -> np.ndarray:
    """All products of one to `degree` of the inputs [..., input]: [..., feature]."""
    blocks = [x]
    for factors in range(2, degree + 1):
        last, before = _parts(x.shape[-1], factors)
        blocks.append(blocks[-1][..., before] * x[..., last])
    return np.concatenate(blocks, -1)


def polynomial(x: jax.Array, weights: jax.Array, degree: int) -> jax.Array:
    """monomials(x, degree) @ weights [feature, output], by Horner's scheme: the monomials are too many to be made."""
    n, outputs = x.shape[-1], weights.shape[1]
    sizes = [len(_products(n, factors)) for factors in range(1, degree)]
    *lower, highest = jnp.split(weights, np.cumsum(sizes))
    last, before = _parts(n, degree)
    kernel = jnp.zeros((n, before.max() + 1, outputs), x.dtype).at[last, before].set(highest)
    # by product of one factor less: the sum of what its further factors make of it [..., product, output]
    further = jnp.tensordot(x, kernel, 1, precision="highest")
    for factors, own in zip(range(degree - 1, 0, -1), reversed(lower), strict=True):
        last, before = _parts(n, factors)
        factor, shorter = (jax.nn.one_hot(places, places.max() + 1, dtype=x.dtype) for places in (last, before))
        value = (further + own) * jnp.matmul(x, factor.T, precision="highest")[..., None]
        further = jnp.einsum("...po,ps->...so", value, shorter, precision="highest")
    return further[..., 0, :]


def radiance(temperature: Any, wavelength: float, exp: Any = jnp.exp) -> Any:
    """Planck's law, W m-2 sr-1 um-1, from K and um."""
    return _C1 / wavelength**5 / (exp(_C2 / (wavelength * temperature)) - 1)


def brightness_temperature(radiance: Any, wavelength: float, log: Any = jnp.log) -> Any:
    """The inverse of `radiance`, K."""
    return _C2 / wavelength / log(1 + _C1 / wavelength**5 / radiance)


class Group(NamedTuple):
    """The channels of one kind in a pattern, and a set of given channels that they may be inferred from."""

    name: str
    given: tuple[int, ...]
    inferred: tuple[int, ...]
    degree: int
    anchors: tuple[tuple[int, ...], ...]  # positions in `given` by kind, the group's own first
    thermal: bool

    @property
    def inputs(self) -> int:
        """The number of inputs of the polynomial: each kind's mean and the differences to it, or the channels."""
        return len(self.given) + len(self.anchors)

    @property
    def features(self) -> int:
        """The number of features, with the air mass's: itself, its square, its products with the inputs."""
        products = math.comb(self.inputs + self.degree, self.degree) - 1
        return products + (2 + self.inputs) * self.thermal

    def reference(self, given: Any) -> Any:
        """The mean of the given channels [..., channel] of the kind that is inferred, which outputs refer to; or 0."""
        return given[..., self.anchors[0]].mean(-1) if self.anchors else 0 * given[..., 0]


def make_groups(pattern: Sequence[int], thermal: Sequence[bool], degree: int) -> list[Group]:
    """What a pattern's missing channels may be inferred from: the given ones of their kind, and all that are given.

    The degree is 2 above six given channels. Where none of the kind is given, there are no anchors.
    """
    missing = [channel for channel in range(len(thermal)) if channel not in pattern]
    places = {kind: tuple(i for i, channel in enumerate(pattern) if thermal[channel] == kind) for kind in (True, False)}
    groups = []
    for kind, name in ((True, "thermal"), (False, "reflective")):
        inferred = tuple(channel for channel in missing if thermal[channel] == kind)
        own = tuple(pattern[place] for place in places[kind])
        if not inferred:
            continue
        if own:
            highest = degree if len(own) <= 6 and kind else min(degree, 2)
            groups.append(Group(name, own, inferred, highest, (tuple(range(len(own))),), kind))
        if len(own) < len(pattern):
            anchors = (places[kind], places[not kind]) if own else ()
            groups.append(Group(f"{name}_of_all", tuple(pattern), inferred, min(degree, 2), anchors, kind))
    return groups


def features(group: Group, fit: Params, inputs: np.ndarray, air_mass: np.ndarray) -> np.ndarray:
    """What a group's channels are linear in [..., feature], of inputs within their range; as `infer` has them."""
    found = monomials(inputs, group.degree)
    if not group.thermal:
        return found
    relative = _relative(fit, air_mass, np)
    return np.concatenate([found, relative, relative**2, relative * inputs], -1)


def _relative(fit: Params, air_mass: Any, library: Any) -> Any:
    """The air mass [..., 1], within the range of the fit, relative to its mean and scale there; by jax or numpy."""
    mean, scale, low, high = fit["air_mass"]
    known = library.where(library.isfinite(air_mass), air_mass, mean)
    return ((library.clip(known, low, high) - mean) / scale)[..., None]


def infer(group: Group, fit: Params, given: jax.Array, air_mass: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A group's channels [..., channel], 0 where another group infers them, and where inputs are far from the fit's."""

    def in_chunks(fit: Params, given: jax.Array, air_mass: jax.Array) -> Any:
        """The same, some pixels after the other, so that what becomes of them stays in a processor's cache."""
        pixels = air_mass.size
        count = -(-pixels // _CHUNK)
        size = -(-pixels // max(count, 1))
        parts = (jnp.pad(x.reshape(pixels, -1), ((0, count * size - pixels), (0, 0))) for x in (given, air_mass))
        parts = (x.reshape(count, size, -1) for x in parts)
        made = jax.lax.map(lambda part: _infer(group, fit, part[0], part[1][..., 0]), tuple(parts))
        return jax.tree.map(lambda x: x.reshape(count * size, -1)[:pixels].reshape(*air_mass.shape, -1), made)

    cpu = in_chunks if air_mass.size > _CHUNK else partial(_infer, group)
    return jax.lax.platform_dependent(fit, given, air_mass, cpu=cpu, default=partial(_infer, group))


def _infer(group: Group, fit: Params, given: jax.Array, air_mass: jax.Array) -> tuple[jax.Array, jax.Array]:
    inputs = jnp.matmul(given, fit["kernel"], precision="highest") + fit["bias"]
    far = jnp.sum(jnp.matmul(inputs, fit["precision"], precision="highest") * inputs, -1) > fit["leverage"]
    inputs, count = jnp.clip(inputs, *fit["range"]), math.comb(group.inputs + group.degree, group.degree) - 1
    found = polynomial(inputs, fit["weights"][:count], group.degree) + fit["offset"]
    if group.thermal:
        _, _, low, high = fit["air_mass"]
        far |= jnp.isfinite(air_mass) & ((air_mass < low - 0.05) | (air_mass > high + 0.05))
        relative, (first, second), mixed = _relative(fit, air_mass, jnp), *jnp.split(fit["weights"][count:], [2])
        found += relative * (first + relative * second + jnp.matmul(inputs, mixed, precision="highest"))
    used = fit["used"] > 0
    return jnp.where(used, found + group.reference(given)[..., None], 0), far[..., None] & used


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


def local_means(x: jax.Array) -> jax.Array:
    """Means over CONTEXT x CONTEXT pixels around each, of those inside the image."""
    total, zero = x, np.zeros((), x.dtype)
    for window in ((1, CONTEXT, 1, 1), (1, 1, CONTEXT, 1)):
        total = jax.lax.reduce_window(total, zero, jax.lax.add, window, (1, 1, 1, 1), "SAME")
    inside = (np.convolve(np.ones(size), np.ones(CONTEXT))[CONTEXT // 2 :][:size] for size in x.shape[1:3])
    return total / np.multiply.outer(*inside).astype(x.dtype)[..., None]
