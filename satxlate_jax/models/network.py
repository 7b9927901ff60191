"""Network <-> nested dict of arrays: the only place that splits and merges NNX modules; and what translators share."""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

Params = dict[str, Any]


class Network:
    """A module's structure without its values: a pure function of a plain nested dict.

    Args:
      build: makes the NNX module from `rngs=`; called only to learn the structure and to initialise.
      remat: recompute activations for the gradient rather than keep them: less memory, more time.
    """

    def __init__(self, build: Callable[..., nnx.Module], *, remat: bool = False):
        self._build, self._remat = build, remat
        self._structure, _ = nnx.split(nnx.eval_shape(lambda: build(rngs=nnx.Rngs(params=jax.random.key(0)))))

    def init(self, key: jax.Array) -> Params:
        """Fresh parameters as a nested dict with string keys."""
        return nnx.to_pure_dict(nnx.state(self._build(rngs=nnx.Rngs(params=key))))

    def apply(self, params: Params, *arguments: Any) -> Any:
        """Call the network with these parameters."""

        def call(params: Params, *arguments: Any) -> Any:
            return nnx.merge(self._structure, params)(*arguments)

        return (jax.checkpoint(call) if self._remat else call)(params, *arguments)


@lru_cache(maxsize=64)
def find_network(build: Callable[..., nnx.Module], *sizes: Any, remat: bool, **settings: Any) -> Network:
    """The network of `build(*sizes, **settings, rngs=)`; cached: learning its structure takes a tenth of a second."""
    return Network(partial(build, *sizes, **settings), remat=remat)


def noise_at_places(key: jax.Array, row: Any, column: Any, shape: Sequence[int]) -> jax.Array:
    """Unit Gaussian noise [h, w, channel] that depends on the key and on a pixel's place, not on what is around it.

    `row` and `column` are those of the first pixel.
    """

    def at(place: jax.Array) -> jax.Array:
        return jax.random.normal(jax.random.fold_in(key, place), shape[2:])

    rows, columns = row + jnp.arange(shape[0]), column + jnp.arange(shape[1])
    return jax.vmap(jax.vmap(at))(rows[:, None] * 65_536 + columns)


class EqualByStructure:
    """Translators made of the same `structure`, hashable, are equal, so that compiled programs are shared.

    `bands` has the satellites that it translates between, in the configured order, each with its bands, 1-based.
    """

    structure: Any
    bands: dict[str, tuple[int, ...]]

    @property
    def satellites(self) -> tuple[str, ...]:
        """The satellites it translates between, in the configured order."""
        return tuple(self.bands)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.structure == self.structure

    def __hash__(self) -> int:
        return hash(self.structure)
