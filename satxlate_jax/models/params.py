"""Network <-> nested dict of arrays: the only place that splits and merges NNX modules.

Everywhere else a network is a `Network`: a pure function of a plain nested dict.
"""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from satxlate_jax.models.abreast import spread

Params = dict[str, Any]


class Network:
    """A module's structure without its values.

    Args:
      build: makes the NNX module from `rngs=`; called only to learn the structure and to initialise.
      abreast: images side by side in the channels of what it is applied to, see abreast.py; the parameters are those
        of single images.
      remat: compute what is inside again for the gradient, rather than keep it: less memory, more time.
    """

    def __init__(self, build: Callable[..., nnx.Module], *, abreast: int = 1, remat: bool = False):
        self._build = build
        self._abreast = abreast
        self._remat = remat
        abstract = nnx.eval_shape(lambda: build(rngs=nnx.Rngs(params=jax.random.key(0))))
        self._structure, state = nnx.split(abstract)
        self.shapes = nnx.to_pure_dict(state)

    def init(self, key: jax.Array) -> Params:
        """Fresh parameters as a nested dict with string keys."""
        return nnx.to_pure_dict(nnx.state(self._build(rngs=nnx.Rngs(params=key))))

    def apply(self, params: Params, *arguments: Any) -> Any:
        """Calls the network with these parameters."""

        def call(params: Params, *arguments: Any) -> Any:
            return nnx.merge(self._structure, spread(params, self._abreast))(*arguments)

        return (jax.checkpoint(call) if self._remat else call)(params, *arguments)
