"""One training step, a generator update and then a discriminator update with the updated generator, as one program."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from satxlate_jax.compilation import compiler_options
from satxlate_jax.training import sharding
from satxlate_jax.training.channels import carries_angles, satellite_bands, training_sources
from satxlate_jax.training.optimizers import learning_rate, make_optimizer, moving_average, trainable_mask

Images = Mapping[str, jax.Array]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Everything that changes during training, as one pytree of plain nested dicts.

    `step` counts the steps taken (int32); `generator_average` is None unless config.optimizer.ema_decay asks for it.
    """

    step: jax.Array
    generator: dict[str, Any]
    discriminator: dict[str, Any]
    generator_optimizer: dict[str, Any]
    discriminator_optimizer: dict[str, Any]
    generator_average: dict[str, Any] | None = None

    @property
    def inference_params(self) -> dict[str, Any]:
        """The generator's parameters to translate, show and score with: the moving average where one is kept."""
        return self.generator if self.generator_average is None else self.generator_average

    def tree(self) -> dict[str, Any]:
        """The state as checkpoints hold it; its step is the checkpoint's."""
        parts = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "step"}
        return {name: part for name, part in parts.items() if part is not None}


def draw_noise(key: jax.Array, batch: Images, stride: int, channels: int, silent: int = 0) -> dict[str, jax.Array]:
    """One N(0, 1) draw per source of a batch, [n, h / stride, w / stride, channels + silent]; the silent ones are 0."""
    noise = {}
    for satellite_key, (satellite, x) in zip(jax.random.split(key, len(batch)), batch.items(), strict=True):
        n, h, w, _ = x.shape
        drawn = jax.random.normal(satellite_key, (n, h // stride, w // stride, channels), x.dtype)
        noise[satellite] = jnp.pad(drawn, ((0, 0), (0, 0), (0, 0), (0, silent))) if silent else drawn
    return noise


class TrainStep:
    """The pure function that takes one step.

    Args:
      config: its `optimizer` section and `objective.discriminator_fakes` count.
      objective: the losses, of `objective.Objective` or `flow_objective.FlowObjective`.
      frozen: regular expressions of the parameters that stay as they are.

    Attributes:
      trainable: 'generator' and 'discriminator' -> booleans in the shape of the parameters.
    """

    def __init__(self, config: Mapping[str, Any], objective: Any, frozen: Sequence[str]):
        self.objective, self._section = objective, config["optimizer"]
        self.trainable, self._optimizers = {}, {}
        for part, network in (("generator", objective.translator), ("discriminator", objective.discriminator)):
            shapes = jax.eval_shape(network.init, jax.random.key(0))
            self.trainable[part] = mask = trainable_mask(shapes, f"{part}/", frozen)
            self._optimizers[part] = make_optimizer(self._section, mask, decays=part == "generator")
        self.keeps_average = self._section["ema_decay"] > 0
        self._fresh_fakes = config["objective"]["discriminator_fakes"] == "fresh"

    def init(self, generator: Any, discriminator: Any) -> TrainState:
        """The state before the first step, from two nested dicts of parameters."""
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            generator=generator,
            discriminator=discriminator,
            generator_optimizer=self._optimizers["generator"].init(generator),
            discriminator_optimizer=self._optimizers["discriminator"].init(discriminator),
            generator_average=jax.tree.map(jnp.copy, generator) if self.keeps_average else None,
        )

    def fresh_state(self, key: jax.Array) -> TrainState:
        """A fresh state; the key is folded with a number that no step has, so that no noise repeats it."""
        generator, discriminator = jax.random.split(jax.random.fold_in(key, 2**32 - 1))
        return self.init(self.objective.translator.init(generator), self.objective.discriminator.init(discriminator))

    def abstract_state(self) -> TrainState:
        """The shapes and types of a state, without its values."""
        return jax.eval_shape(self.fresh_state, jax.random.key(0))

    def _updated(self, part: str, gradients: Any, state: TrainState) -> tuple[Any, Any]:
        """The parameters of one network and its optimizer's state after an update."""
        params = getattr(state, part)
        updates, optimizer = self._optimizers[part].update(gradients, getattr(state, f"{part}_optimizer"), params)
        return optax.apply_updates(params, updates), optimizer

    def update(
        self, state: TrainState, batch: Images, generator_noise: Images, discriminator_noise: Images, *, cycles: int
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        """One step with given noise, which `__call__` draws."""
        loss = jax.value_and_grad(self.objective.generator_loss, has_aux=True)
        (total, parts), gradients = loss(state.generator, state.discriminator, batch, generator_noise, cycles)
        generator, generator_optimizer = self._updated("generator", gradients, state)
        fakes = parts["translations"]
        if self._fresh_fakes:
            fakes = self.objective.translate_all(generator, batch, discriminator_noise, tuple(batch))[1]
        fakes = jax.lax.stop_gradient(fakes)
        loss = jax.value_and_grad(self.objective.discriminator_loss, has_aux=True)
        (discriminator_total, _), gradients = loss(state.discriminator, batch, fakes)
        discriminator, discriminator_optimizer = self._updated("discriminator", gradients, state)
        metrics = {f"generator/{term}": value for term, value in parts["terms"].items()}
        metrics |= {"generator/total": total, "discriminator/total": discriminator_total}
        after = TrainState(state.step, generator, discriminator, generator_optimizer, discriminator_optimizer)
        return self._finished(state, after, metrics)

    def _finished(
        self, state: TrainState, after: TrainState, metrics: dict[str, jax.Array]
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        """The state after a step, with its moving average, and its metrics."""
        metrics["learning_rate"] = learning_rate(self._section, state.generator_optimizer["count"], decays=True)
        average = state.generator_average
        if self.keeps_average and average is not None:
            average = moving_average(average, after.generator, self._section["ema_decay"], state.step)
        return dataclasses.replace(after, step=state.step + 1, generator_average=average), metrics

    def __call__(
        self, state: TrainState, batch: Images, key: jax.Array, *, cycles: int
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        """One step on a batch, satellite -> [n, h, w, band] in network units.

        Its own noise comes from the run's `key` and `state.step`; `cycles`, static, is how often the cycle terms go
        there and back. Beside the state 'generator/TERM', 'generator/total', 'discriminator/total' and 'learning_rate',
        scalars.
        """
        translator = self.objective.translator
        key = jax.random.fold_in(key, state.step)
        keys = jax.random.split(key)
        channels = translator.noisy_channels
        silent = translator.latent_channels - channels
        first, second = (draw_noise(k, batch, translator.stride, channels, silent) for k in keys)
        return self.update(state, batch, first, second, cycles=cycles)


def profile_options() -> jax.profiler.ProfileOptions:
    """Leave Python's calls out of a profile: tracing those of all threads crashed some processes of many threads."""
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0
    return options


def jit_train_step(train_step: TrainStep, mesh: Mesh) -> Any:
    """The step as one program over the mesh: the state replicated and its memory reused, the batch cut by rows.

    The metric 'stop' is 1 in every process as soon as one votes to stop (see sharding.stop_votes).
    """

    def step(state: TrainState, batch: Any, key: jax.Array, votes: jax.Array, cycles: int) -> tuple[TrainState, Any]:
        state, metrics = train_step(state, batch, key, cycles=cycles)
        return state, metrics | {"stop": jnp.max(votes)}

    options = compiler_options(mesh.devices.flat[0].platform)
    everywhere = sharding.replicated(mesh)
    return jax.jit(step, donate_argnums=0, static_argnums=4, out_shardings=everywhere, compiler_options=options)


def abstract_arguments(config: Any, train_step: TrainStep, mesh: Mesh) -> tuple[Any, ...]:
    """The arguments of `jit_train_step`'s function without values, to compile it for devices that need not be there."""
    by_rows = functools.partial(jax.ShapeDtypeStruct, dtype=jnp.float32, sharding=sharding.by_rows(mesh))
    size, angles = config.data.patch_size, 2 * carries_angles(config)
    channels = {name: len(bands) + angles for name, bands in satellite_bands(config).items()}
    batch = {name: by_rows((config.batch_size, size, size, channels[name])) for name in training_sources(config)}
    key = jax.eval_shape(lambda: jax.random.key(config.seed))
    votes = by_rows((mesh.size,))
    state, key = sharding.replicated_shapes(mesh, (train_step.abstract_state(), key))
    return state, batch, key, votes
