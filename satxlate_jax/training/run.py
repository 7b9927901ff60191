"""A run's folder: what its checkpoints say of it, who may continue it, and where a state comes from."""

import json
import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jax.sharding import Mesh

from satxlate_jax import atomic
from satxlate_jax.checkpoints import Checkpoints
from satxlate_jax.cli import InputError
from satxlate_jax.training import sharding
from satxlate_jax.training.channels import skip_channels, spectral_slots
from satxlate_jax.training.continuing import FORMAT, check_continues
from satxlate_jax.training.cross_satellite_regression import spectral_start, with_spectral_start
from satxlate_jax.training.input import data_facts
from satxlate_jax.training.step import TrainStep
from satxlate_jax.training.train_state import TrainState
from satxlate_jax.training.warm_start import describe, graft, new_satellites

MARK = "run.json"  # says that a folder, and the TensorBoard files in it, are a run's

_PARTS = ("generator", "discriminator", "generator_optimizer", "discriminator_optimizer")
_AVERAGE = "generator_average"


def run_facts(config: Any) -> dict[str, Any]:
    """What every checkpoint of a run carries, so that it can be used without its configuration file.

    Returns:
      JSON: 'format', 'config', 'satellites' (in order: bands, mean, std, skips, slots), 'seed', 'process_count',
      'versions'.
    """
    satellites = data_facts(config)
    for satellite, channels in skip_channels(config).items():
        satellites[satellite]["skips"] = channels
    for satellite, slots in spectral_slots(config).items():
        satellites[satellite]["slots"] = slots
    packages = ("satxlate-jax", "jax", "flax", "optax", "orbax-checkpoint", "tensorflow-datasets", "numpy")
    facts = {
        "format": FORMAT,
        "config": config.to_dict(),
        "satellites": satellites,
        "seed": config.seed,
        "process_count": jax.process_count(),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in packages},
    }
    return json.loads(json.dumps(facts))


def check_origin(config: Any, checkpoints: Checkpoints) -> None:
    """Sees whether the run that `config.init_from` names can be started from, where it will be, before data are read.

    Raises:
      InputError: it is no run, or has other bands.
    """
    if config.init_from and checkpoints.latest_step() is None:
        new_satellites(config, _given_run(config).facts(), config.init_from)


def _given_run(config: Any) -> Checkpoints:
    return Checkpoints(f"{config.init_from}/checkpoints")


def open_workdir(workdir: epath.Path, facts: Mapping[str, Any], checkpoints: Checkpoints) -> int:
    """Sees whether the folder can be written, and which step it has reached.

    Returns:
      The newest complete checkpoint's step, or -1: the same in every process.

    Raises:
      InputError: the folder cannot be written, holds somebody else's files, or the processes disagree.
    """
    from satxlate_jax.training.event_files import PATTERN  # here: it needs TensorBoard, a step does not

    problem = ""
    if jax.process_index() == 0:
        try:
            workdir.mkdir(parents=True, exist_ok=True)
            if checkpoints.latest_step() is None:
                if not (workdir / MARK).exists() and list(workdir.glob(PATTERN)):
                    problem = f"{workdir} holds TensorBoard files but is no run; choose another --workdir"
                else:
                    atomic.write_text(workdir / MARK, json.dumps(facts, indent=2))
            else:
                with atomic.replacing(workdir / MARK) as temporary:  # as it stands; to see whether the folder is
                    temporary.write_text("")
                    temporary.unlink()
        except (OSError, InputError) as error:
            cause = error.__cause__ or error
            reason = getattr(cause, "strerror", None) or cause
            problem = f"--workdir {workdir} cannot be written: {reason}; choose another"
    step = checkpoints.latest_step()
    mine = {"problem": problem, "step": -1 if step is None else step}
    first = sharding.from_first_process(lambda: mine)
    if first["problem"]:
        raise InputError(first["problem"])
    if first["step"] != mine["step"] and first["step"] not in checkpoints.steps():
        raise InputError(
            f"--workdir {workdir}: this process does not see the first one's checkpoints; use a shared folder"
        )
    if (
        sharding.from_first_process(lambda: facts["config"]) != facts["config"]
    ):  # seen by the other; the first then loses it
        raise InputError("the processes were started with different configurations; give each the same command")
    return first["step"]


def starting_state(
    config: Any,
    train_step: TrainStep,
    mesh: Mesh,
    checkpoints: Checkpoints,
    step: int,
    facts: Mapping[str, Any],
    allow_other_data: bool = False,
) -> tuple[TrainState, str]:
    """The state to begin with.

    In order of precedence: the workdir's own newest checkpoint, the run that `config.init_from` names, scratch. A
    moving average of the generator that is asked for and not in the checkpoint begins with the checkpoint's generator;
    one that is there and no longer asked for is dropped.

    Args:
      config: the run's configuration.
      train_step: makes states.
      mesh: of all devices; the state is replicated over it.
      checkpoints: of the workdir.
      step: what `open_workdir` found.
      facts: of this run.
      allow_other_data: than those that the checkpoint was trained on.

    Returns:
      The state, and a line that says where it comes from, with what there is to know of it in further ones.
    """
    if step < 0:
        return initial_state(config, train_step, mesh)
    notes = check_continues(facts, checkpoints.facts(step), checkpoints.directory / str(step), allow_other_data)
    expected = state_tree(abstract_state(train_step))
    expected.pop(_AVERAGE, None)
    held = _AVERAGE in checkpoints.parts(step)
    if held:
        expected[_AVERAGE] = expected["generator"]
    tree = checkpoints.restore(step, like=sharding.like(mesh, expected))
    if not train_step.keeps_average:
        tree.pop(_AVERAGE, None)
    elif not held:  # the average begins here; a copy, since the step takes over the memory of what it is given
        tree[_AVERAGE] = jax.tree.map(jnp.copy, tree["generator"])
    state = TrainState(step=sharding.place(mesh, np.int32(step)), **tree)
    return state, "\n".join([f"continuing at step {step} from {checkpoints.directory / str(step)}", *notes])


def initial_state(config: Any, train_step: TrainStep, mesh: Mesh) -> tuple[TrainState, str]:
    """The state before the first step, and where it comes from: the run `config.init_from`, or scratch.

    Of a run that keeps a moving average of its generator that average is taken, as `translate` does.
    """
    state = scratch_state(config, train_step, mesh)
    if config.generator.spectral_path != "none":
        maps = sharding.place(mesh, spectral_start(config))
        generator = with_spectral_start(state.generator, maps, quiet=config.generator.spectral_path != "copy")
        state = state.replace(generator=generator)
    if not config.init_from:
        return state, f"starting from scratch with seed {config.seed}"
    parts = ("generator", "discriminator")
    given = _given_run(config)
    new = new_satellites(config, given.facts(), config.init_from)
    theirs = {part: given.restore(only=part) for part in parts}
    if _AVERAGE in given.parts():
        theirs["generator"] = given.restore(only=_AVERAGE)
    grafted, origins = graft({part: getattr(state, part) for part in parts}, theirs, new, config.init_from)
    trainable = dict(zip(origins, jax.tree.leaves(train_step.trainable), strict=True))
    report = describe(origins, trainable)
    origin = f"starting from the weights of {config.init_from}, step {given.latest_step()}:\n{report}"
    state = state.replace(**sharding.place(mesh, grafted))
    if train_step.keeps_average:
        state = state.replace(generator_average=sharding.place(mesh, grafted["generator"]))
    return state, origin


def scratch_state(config: Any, train_step: TrainStep, mesh: Mesh) -> TrainState:
    """Drawn from the seed alone: no data are read, no run. What a step costs does not depend on it."""
    return sharding.create(mesh, lambda key: _scratch(train_step, key), jax.random.key(config.seed))


def _scratch(train_step: TrainStep, key: jax.Array) -> TrainState:
    """Fresh parameters. The key is folded with a number that no step has, so that no noise repeats it."""
    generator_key, discriminator_key = jax.random.split(jax.random.fold_in(key, 2**32 - 1))
    objective = train_step.objective
    return train_step.init(objective.translator.init(generator_key), objective.discriminator.init(discriminator_key))


def abstract_state(train_step: TrainStep) -> TrainState:
    """The shapes and types of a state, without its values."""
    return jax.eval_shape(lambda key: _scratch(train_step, key), jax.random.key(0))


def state_tree(state: TrainState) -> dict[str, Any]:
    """A state as checkpoints hold it; its step is the checkpoint's."""
    tree = {part: getattr(state, part) for part in _PARTS}
    return tree if state.generator_average is None else tree | {_AVERAGE: state.generator_average}
