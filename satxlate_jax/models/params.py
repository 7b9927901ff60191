"""Network <-> nested dict of arrays: the only place that splits and merges NNX modules.

Everywhere else a network is a `Network`: a pure function of a plain nested dict.
"""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

Params = dict[str, Any]


class Network:
    """A module's structure without its values.

    Args:
      build: makes the NNX module from `rngs=`; called only to learn the structure and to initialise.
    """

    def __init__(self, build: Callable[..., nnx.Module]):
        self._build = build
        abstract = nnx.eval_shape(lambda: build(rngs=nnx.Rngs(params=jax.random.key(0))))
        self._structure, state = nnx.split(abstract)
        self.shapes = nnx.to_pure_dict(state)

    def init(self, key: jax.Array) -> Params:
        """Fresh parameters as a nested dict with string keys."""
        return nnx.to_pure_dict(nnx.state(self._build(rngs=nnx.Rngs(params=key))))

    def apply(self, params: Params, *arguments: Any) -> Any:
        """Calls the network with these parameters."""
        return nnx.merge(self._structure, params)(*arguments)
