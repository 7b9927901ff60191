"""The training step as one program over a mesh of devices, and what it takes."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from satxlate_jax.training import run as runs
from satxlate_jax.training import sharding
from satxlate_jax.training.accelerators import compiler_options
from satxlate_jax.training.channels import satellite_bands, streams
from satxlate_jax.training.step import TrainStep
from satxlate_jax.training.train_state import TrainState


def jit_train_step(train_step: TrainStep, mesh: Mesh) -> Any:
    """The step as one program over the mesh: the state replicated and its memory reused, the batch cut by rows.

    Returns:
      A function of (state, batch, key, votes, cycles): the state after the step and its metrics; 'stop' among them
      is 1 in every process as soon as one votes to stop (see sharding.stop_votes).
    """

    def step(state: TrainState, batch: Any, key: jax.Array, votes: jax.Array, cycles: int) -> tuple[TrainState, Any]:
        state, metrics = train_step(state, batch, key, cycles=cycles)
        return state, metrics | {"stop": jnp.max(votes)}

    options = compiler_options(mesh.devices.flat[0].platform)
    everywhere = sharding.replicated(mesh)
    return jax.jit(step, donate_argnums=0, static_argnums=4, out_shardings=everywhere, compiler_options=options)


def abstract_arguments(config: Any, train_step: TrainStep, mesh: Mesh) -> tuple[Any, ...]:
    """What `jit_train_step`'s function takes, without values, to compile it for devices that need not be there."""
    rows = sharding.by_rows(mesh)
    size, bands = config.data.patch_size, satellite_bands(config)
    batch = {
        satellite: jax.ShapeDtypeStruct(
            (config.batch_size, size, size, len(bands[satellite])), jnp.float32, sharding=rows
        )
        for satellite in streams(config)
    }
    key = jax.eval_shape(lambda: jax.random.key(config.seed))
    votes = jax.ShapeDtypeStruct((mesh.size,), jnp.float32, sharding=rows)
    state, key = sharding.like(mesh, (runs.abstract_state(train_step), key))
    return state, batch, key, votes
