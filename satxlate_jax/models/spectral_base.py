"""The regression under the spectral flow: per pixel, from given channels to those that are not, and Planck's law."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

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


def count_monomials(inputs: int, degree: int) -> int:
    """The number of features that `monomials` gives."""
    return sum(len(list(itertools.combinations_with_replacement(range(inputs), d))) for d in range(1, degree + 1))


def radiance(temperature: Any, wavelength: float, exp: Any = jnp.exp) -> Any:
    """Planck's law, W m-2 sr-1 um-1, from K and um."""
    return _C1 / wavelength**5 / (exp(_C2 / (wavelength * temperature)) - 1)


def brightness_temperature(radiance: Any, wavelength: float, log: Any = jnp.log) -> Any:
    """The inverse of `radiance`, K."""
    return _C2 / wavelength / log(1 + _C1 / wavelength**5 / radiance)


class Group(NamedTuple):
    """The channels of one kind in a pattern: which are given and which are inferred from them, and with what degree."""

    given: tuple[int, ...]
    inferred: tuple[int, ...]
    degree: int
    anchored: bool  # the mean of the given channels is an input and what outputs refer to
    thermal: bool

    @property
    def inputs(self) -> int:
        """The number of inputs of the polynomial: the anchor and the differences to it, or the channels themselves."""
        return len(self.given) + self.anchored

    @property
    def features(self) -> int:
        """The number of features, with the air mass's: itself, its square, its products with the inputs."""
        return count_monomials(self.inputs, self.degree) + (2 + self.inputs) * self.thermal


def make_groups(pattern: Sequence[int], thermal: Sequence[bool], degree: int) -> list[Group]:
    """How a pattern's missing channels are inferred: thermal ones from thermal, reflective from reflective.

    Where none of the kind is given, from all that are, without an anchor. The degree is 2 above six given channels.
    """
    missing = [channel for channel in range(len(thermal)) if channel not in pattern]
    groups = []
    for kind in (True, False):
        given = tuple(channel for channel in pattern if thermal[channel] == kind)
        inferred = tuple(channel for channel in missing if thermal[channel] == kind)
        if inferred:
            used = given or tuple(pattern)
            highest = degree if len(used) <= 6 and kind else min(degree, 2)
            groups.append(Group(used, inferred, highest, bool(given), kind))
    return groups


def infer(group: Group, fit: Params, given: jax.Array, air_mass: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The inferred channels of one kind [..., channel] and where the inputs are far from the fit's, bool [...]."""
    inputs = jnp.matmul(given, fit["kernel"], precision="highest") + fit["bias"]
    limited = jnp.clip(inputs, *fit["range"])
    features = monomials(limited, group.degree)
    far = jnp.einsum("...i,ij,...j->...", inputs, fit["precision"], inputs) > fit["leverage"]
    if group.thermal:
        mean, scale, low, high = fit["air_mass"]
        air_mass = jnp.where(jnp.isfinite(air_mass), air_mass, mean)
        relative = ((jnp.clip(air_mass, low, high) - mean) / scale)[..., None]
        features = jnp.concatenate([features, relative, relative**2, relative * limited], -1)
        far |= (air_mass < low - 0.05) | (air_mass > high + 0.05)
    found = jnp.matmul(features, fit["weights"], precision="highest") + fit["offset"]
    return found + given.mean(-1, keepdims=True) if group.anchored else found, far
