"""One training step: a generator update, then a discriminator update with the updated generator."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from satxlate_jax.models.abreast import pack
from satxlate_jax.training.objective import Objective
from satxlate_jax.training.optimizers import Adam, learning_rate, moving_average
from satxlate_jax.training.pair_budget import PairBudget
from satxlate_jax.training.train_state import TrainState

_PAIRS = 2**31  # folded into a step's key for its pairs

Images = Mapping[str, jax.Array]


def draw_noise(key: jax.Array, batch: Images, stride: int, channels: int, quiet: int = 0) -> dict[str, jax.Array]:
    """One N(0, 1) draw per source, in the shape of its encoding.

    Args:
      key: a JAX key.
      batch: satellite -> [n, h, w, band].
      stride: pixels of the image per pixel of the encoding.
      channels: of the encoding that take noise.
      quiet: further channels, whose noise is 0.

    Returns:
      satellite -> [n, h / stride, w / stride, channels + quiet].
    """
    noise = {}
    for satellite_key, (satellite, x) in zip(jax.random.split(key, len(batch)), batch.items(), strict=True):
        n, h, w, _ = x.shape
        drawn = jax.random.normal(satellite_key, (n, h // stride, w // stride, channels), x.dtype)
        noise[satellite] = jnp.pad(drawn, ((0, 0), (0, 0), (0, 0), (0, quiet))) if quiet else drawn
    return noise


class TrainStep:
    """The pure function that takes one step.

    Args:
      objective: the two losses.
      generator_optimizer: updates the translator.
      discriminator_optimizer: updates the discriminators.
      optimizer: the `optimizer` section of the configuration, to report the learning rate.
      discriminator_fakes: 'fresh' | 'shared'.
      abreast: images side by side in the networks' channels, as the objective's networks were built.
      budget: draws the pairs of satellites that each step looks at; None looks at all.

    Attributes:
      trainable: 'generator' and 'discriminator' -> booleans in the shape of the parameters.
      keeps_average: whether states hold a moving average of the generator.
    """

    def __init__(
        self,
        objective: Objective,
        generator_optimizer: Adam,
        discriminator_optimizer: Adam,
        optimizer: Mapping[str, Any],
        discriminator_fakes: str,
        abreast: int = 1,
        budget: PairBudget | None = None,
    ):
        self.objective = objective
        self._generator_optimizer = generator_optimizer
        self._discriminator_optimizer = discriminator_optimizer
        self._optimizer = optimizer
        self.keeps_average = optimizer["ema_decay"] > 0
        self._abreast = abreast
        self._budget = budget
        self._fresh_fakes = discriminator_fakes == "fresh"
        optimizers = {"generator": generator_optimizer, "discriminator": discriminator_optimizer}
        self.trainable = {part: updater.trainable for part, updater in optimizers.items()}

    def init(self, generator: Any, discriminator: Any) -> TrainState:
        """The state before the first step, from two nested dicts of parameters."""
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            generator=generator,
            discriminator=discriminator,
            generator_optimizer=self._generator_optimizer.init(generator),
            discriminator_optimizer=self._discriminator_optimizer.init(discriminator),
            generator_average=jax.tree.map(jnp.copy, generator) if self.keeps_average else None,
        )

    def update(
        self,
        state: TrainState,
        batch: Images,
        generator_noise: Images,
        discriminator_noise: Images,
        pairs: jax.Array | None = None,
        *,
        cycles: int,
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        """One step with given noise and pairs of satellites (None: all); `__call__` draws them."""
        objective: Any = self.objective
        if pairs is not None and self._budget is not None:
            objective = self._budget.drawn(pairs, batch)
        given = batch, generator_noise, discriminator_noise
        batch, generator_noise, discriminator_noise = jax.tree.map(lambda x: pack(x, self._abreast), given)
        loss = jax.value_and_grad(objective.generator_loss, has_aux=True)
        (total, parts), gradients = loss(state.generator, state.discriminator, batch, generator_noise, cycles)
        generator, generator_optimizer = self._generator_optimizer.update(
            gradients, state.generator_optimizer, state.generator
        )
        fakes = parts["translations"]
        if self._fresh_fakes:
            fakes = objective.fakes(generator, batch, discriminator_noise)
        fakes = jax.lax.stop_gradient(fakes)
        loss = jax.value_and_grad(objective.discriminator_loss, has_aux=True)
        (discriminator_total, _), gradients = loss(state.discriminator, batch, fakes)
        discriminator, discriminator_optimizer = self._discriminator_optimizer.update(
            gradients, state.discriminator_optimizer, state.discriminator
        )
        metrics = {f"generator/{term}": value for term, value in parts["terms"].items()}
        metrics["generator/total"] = total
        metrics["discriminator/total"] = discriminator_total
        metrics["learning_rate"] = learning_rate(self._optimizer, state.generator_optimizer["count"], decays=True)
        average = state.generator_average
        if self.keeps_average and average is not None:
            average = moving_average(average, generator, self._optimizer["ema_decay"], state.step)
        optimizers = generator_optimizer, discriminator_optimizer
        state = TrainState(state.step + 1, generator, discriminator, *optimizers, average)
        return state, metrics

    def __call__(
        self, state: TrainState, batch: Images, key: jax.Array, *, cycles: int
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        """One step.

        Args:
          state: before the step.
          batch: satellite -> [n, h, w, band], network units.
          key: the run's key; the step's own noise and pairs come from it and `state.step`.
          cycles: how often the cycle terms go there and back; static.

        Returns:
          The state after the step and 'generator/TERM', 'generator/total', 'discriminator/total', 'learning_rate',
          float32 scalars.
        """
        translator = self.objective.translator
        key = jax.random.fold_in(key, state.step)
        keys = jax.random.split(key)
        channels = translator.noisy_channels
        quiet = translator.latent_channels - channels
        first, second = (draw_noise(k, batch, translator.stride, channels, quiet) for k in keys)
        pairs = self._budget.draw(jax.random.fold_in(key, _PAIRS), batch) if self._budget else None
        return self.update(state, batch, first, second, pairs, cycles=cycles)


def make_train_step(
    config: Mapping[str, Any], objective: Objective, budget: PairBudget | None, trainable: Callable[[str], Any]
) -> TrainStep:
    """The step of a configuration.

    Args:
      config: a configuration (configs/default.py).
      objective: its losses.
      budget: draws the pairs of satellites of a step, or None.
      trainable: 'generator' | 'discriminator' -> booleans in the shape of its parameters.
    """
    section = config["optimizer"]
    return TrainStep(
        objective,
        Adam(section, trainable("generator"), decays=True),
        Adam(section, trainable("discriminator"), decays=False),
        section,
        config["objective"]["discriminator_fakes"],
        config["abreast"],
        budget,
    )
