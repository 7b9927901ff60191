"""Everything that changes during training, as one pytree of plain nested dicts."""

import dataclasses
from typing import Any

import jax


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """The state of training between two steps.

    Attributes:
      step: how many steps have been taken, int32 scalar.
      generator: parameters of the translator.
      discriminator: parameters of the discriminators.
      generator_optimizer: its optimizer's state, a nested dict.
      discriminator_optimizer: the same of the discriminators.
    """

    step: jax.Array
    generator: dict[str, Any]
    discriminator: dict[str, Any]
    generator_optimizer: dict[str, Any]
    discriminator_optimizer: dict[str, Any]

    def replace(self, **changes: Any) -> "TrainState":
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)
