"""What the spectral flow is made of: a regression per pixel with Planck's law, and a network for what that leaves."""

import itertools
import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from satxlate_jax.models import wavelet
from satxlate_jax.models.layers import ConvBlock, ResidualBlock, at_least_float32
from satxlate_jax.models.network import Params

_C1, _C2 = 1.191042972e8, 1.438776877e4  # Planck's law: W um^4 m-2 sr-1, um K


def monomials(x: Any, degree: int, concatenate: Any = jnp.concatenate) -> Any:
    """All products of one to `degree` of the inputs [..., input] (numpy or jax): [..., feature]."""
    blocks, n = [x], x.shape[-1]
    previous: list[tuple[int, ...]] = [(index,) for index in range(n)]
    for _ in range(degree - 1):
        following = [(*term, last) for term in previous for last in range(term[-1], n)]
        places = {term: place for place, term in enumerate(previous)}
        lower = [places[term[:-1]] for term in following]
        blocks.append(blocks[-1][..., lower] * x[..., [term[-1] for term in following]])
        previous = following
    return concatenate(blocks, -1)


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
        monomials = math.comb(self.inputs + self.degree, self.degree) - 1
        return monomials + (2 + self.inputs) * self.thermal

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


def features(group: Group, fit: Params, inputs: Any, air_mass: Any, library: Any = jnp) -> Any:
    """What a group's channels are linear in [..., feature], of inputs within their range; by jax or numpy."""
    found = monomials(inputs, group.degree, library.concatenate)
    if not group.thermal:
        return found
    mean, scale, low, high = fit["air_mass"]
    known = library.where(library.isfinite(air_mass), air_mass, mean)
    relative = ((library.clip(known, low, high) - mean) / scale)[..., None]
    return library.concatenate([found, relative, relative**2, relative * inputs], -1)


def infer(group: Group, fit: Params, given: jax.Array, air_mass: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A group's channels [..., channel], 0 where another group infers them, and where inputs are far from the fit's."""
    inputs = jnp.matmul(given, fit["kernel"], precision="highest") + fit["bias"]
    far = jnp.einsum("...i,ij,...j->...", inputs, fit["precision"], inputs) > fit["leverage"]
    if group.thermal:
        _, _, low, high = fit["air_mass"]
        far |= jnp.isfinite(air_mass) & ((air_mass < low - 0.05) | (air_mass > high + 0.05))
    found = features(group, fit, jnp.clip(inputs, *fit["range"]), air_mass)
    found = jnp.matmul(found, fit["weights"], precision="highest") + fit["offset"]
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
