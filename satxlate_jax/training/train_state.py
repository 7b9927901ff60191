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
      generator_average: the moving average of `generator`; None unless config.optimizer.ema_decay asks for it.
    """

    step: jax.Array
    generator: dict[str, Any]
    discriminator: dict[str, Any]
    generator_optimizer: dict[str, Any]
    discriminator_optimizer: dict[str, Any]
    generator_average: dict[str, Any] | None = None

    @property
    def translating(self) -> dict[str, Any]:
        """The generator that is shown, scored and translates: the average where one is kept."""
        return self.generator if self.generator_average is None else self.generator_average

    def replace(self, **changes: Any) -> "TrainState":
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)
