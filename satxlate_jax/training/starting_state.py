"""The state that a run starts from, whether the run in a folder can be continued, and its checkpoints' metadata.

The state is that of the run's newest checkpoint, or has the weights of another run, to which satellites may be added,
or is fresh.
"""

import json
import platform
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.sharding import Mesh

from satxlate_jax import atomic
from satxlate_jax.checkpoints import Checkpoints
from satxlate_jax.cli import InputError
from satxlate_jax.training import sharding
from satxlate_jax.training.build_step import satellite_entries
from satxlate_jax.training.config import REMOVED, flatten, ignored_fields, note_on_removed
from satxlate_jax.training.input import data_metadata
from satxlate_jax.training.step import TrainState, TrainStep

MARK = "run.json"  # says that a folder, and the TensorBoard files in it, are a run's
EVENT_FILES = "events.out.tfevents.*"
# Within a format a continued run ends bit by bit as one that nobody interrupted. 1 drew records from several shards in
# turn; 2 draws every record once per epoch.
FORMAT = 2
# Fields that may differ between a checkpoint and the command that continues it: none that changes what a step does.
# `remat` changes the order of sums, as the number of devices does; training never looks at the average of `ema_decay`.
MAY_CHANGE = {"data.dir", "remat", "optimizer.ema_decay"} | set(
    """steps log_every image_every histogram_every validate_every validation_batches checkpoint_every keep_last
    keep_every""".split()
)
# Fields that checkpoints of version 0.1.0 do not have -> the value with which a step does what it did then.
NEUTRAL: dict[str, Any] = {"optimizer.name": "adam", "optimizer.warmup_steps": 0}
_AVERAGE = "generator_average"
Tree = dict[str, Any]


def run_metadata(config: Any) -> dict[str, Any]:
    """The metadata (JSON) of every checkpoint of a run, so that it can be used without its configuration file."""
    packages = ("satxlate-jax", "jax", "flax", "optax", "orbax-checkpoint", "tensorflow-datasets", "numpy")
    metadata = {
        "format": FORMAT,
        "config": config.to_dict(),
        "satellites": satellite_entries(config, data_metadata(config)),
        "seed": config.seed,
        "process_count": jax.process_count(),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in packages},
    }
    return json.loads(json.dumps(metadata))


def open_workdir(workdir: epath.Path, metadata: Mapping[str, Any], checkpoints: Checkpoints) -> int:
    """Check that the folder can be written; the step of its newest complete checkpoint, or -1, in every process.

    InputError: it cannot be written, holds somebody else's files, or the processes disagree.
    """
    problem, step = "", checkpoints.latest_step()
    if jax.process_index() == 0:
        try:
            workdir.mkdir(parents=True, exist_ok=True)
            if step is not None:
                with atomic.replacing(workdir / MARK) as temporary:  # as it stands; only to see whether it can be
                    temporary.write_text("")
                    temporary.unlink()
            elif not (workdir / MARK).exists() and list(workdir.glob(EVENT_FILES)):
                problem = f"{workdir} holds TensorBoard files but is no run; choose another --workdir"
            else:
                atomic.write_text(workdir / MARK, json.dumps(metadata, indent=2))
        except (OSError, InputError) as error:
            cause = error.__cause__ or error
            reason = getattr(cause, "strerror", None) or cause
            problem = f"--workdir {workdir} cannot be written: {reason}; choose another"
    mine = {"problem": problem, "step": -1 if step is None else step, "config": metadata["config"]}
    first = sharding.from_first_process(lambda: mine)
    if first["problem"]:
        raise InputError(first["problem"])
    if first["step"] != mine["step"] and first["step"] not in checkpoints.steps():
        raise InputError(
            f"--workdir {workdir}: this process does not see the first one's checkpoints; use a shared folder"
        )
    if first["config"] != mine["config"]:  # seen by the other process; the first then loses it
        raise InputError("the processes were started with different configurations; give each the same command")
    return first["step"]


# ---------------------------------------------------------------- continuing


def check_continues(
    metadata: Mapping[str, Any], stored: Mapping[str, Any], where: epath.Path, allow_other_data: bool = False
) -> list[str]:
    """Check that a run started now with this metadata is the one that `stored`, the checkpoint `where`'s, is of.

    InputError names what differs of the configuration or, unless `allow_other_data`, of the data, with both values.
    Returns notes for the user: of another format, of data that the checkpoint does not tell of.
    """
    if stored["format"] > FORMAT:
        raise InputError(
            f"{where} has format {stored['format']}, this version knows {FORMAT}; continue with the version that wrote "
            f"it ({stored['versions'].get('satxlate-jax', 'a newer one')})"
        )
    held = flatten(stored["config"])
    notes = [f"note: {note_on_removed(field, held[field], str(where))}" for field in REMOVED if field in held]
    changes = list(_changes(metadata, stored, allow_other_data))
    if changes:
        raise InputError(
            f"{where} was trained with another configuration: {'; '.join(changes)}. "
            "Undo that, or choose another --workdir"
        )
    if stored["format"] < FORMAT:
        notes.append(
            f"note: the checkpoint has format {stored['format']}; from here on records come in the order of format "
            f"{FORMAT}, every one once per epoch, so the run goes on otherwise than it would have before"
        )
    if "data" not in stored:
        return [*notes, "warning: the checkpoint does not tell what data it was trained on; from now on they are noted"]
    differences = list(_differences(metadata["data"], stored["data"]))
    if differences and not allow_other_data:
        raise InputError(
            f"{where} was trained on other data: {'; '.join(differences)}. Give config.data.dir the data of before, "
            "choose another --workdir, or continue on these with --allow_other_data"
        )
    return notes + [f"note: continuing on other data: {'; '.join(differences)}" for _ in differences[:1]]


def _changes(metadata: Mapping[str, Any], stored: Mapping[str, Any], allow_other_data: bool) -> Iterator[str]:
    """Differences of the configuration, and of what makes bands comparable."""
    ours, theirs = (
        {field: json.dumps(value) for field, value in flatten(config, ("data.satellites",)).items()}
        for config in (metadata["config"], stored["config"])
    )
    free = {*MAY_CHANGE, *REMOVED, *ignored_fields(metadata["config"])}  # older versions took any value of the latter
    for field, value in theirs.items():
        may_change = field in free or allow_other_data and field.startswith("data.datasets.")
        if not may_change and ours.get(field) != value:
            yield f"config.{field} was {value}, is {ours.get(field, 'absent')}"
    for field in (name for name in NEUTRAL if name not in theirs):
        if field in ours and json.loads(ours[field]) != NEUTRAL[field]:
            yield f"config.{field} was not known, which is as {json.dumps(NEUTRAL[field])}, is {ours[field]}"
    for satellite, entry in stored["satellites"].items():
        now = metadata["satellites"].get(satellite, entry)
        yield from (f"the {key} of {satellite}" for key in ("mean", "std") if now[key] != entry[key])


def _differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[str]:
    """Differences of the data, as far as both tell: a copy may have left a manifest behind."""
    for satellite in (name for name in theirs if name in ours):  # in this order in every process
        now = ours[satellite]
        for name, value in theirs[satellite].items():
            if now.get(name, value) != value:
                yield f"{name} of {satellite} was {value}, is {now[name]}"


def join_splits(stored: Mapping[str, Any], metadata: Mapping[str, Any]) -> dict[str, dict[str, list[str]]]:
    """The days or tiles of a run that goes on, perhaps on other data; none where those of before are not known."""
    joined = {}
    for satellite, ours in metadata["splits"].items():
        theirs = stored.get("splits", {}).get(satellite, {})
        now, before = ({satellite: one.get("data", {}).get(satellite, {})} for one in (metadata, stored))
        is_known = not any(_differences(now, before)) or (ours and theirs)
        joined[satellite] = {
            split: sorted({*ours.get(split, ()), *theirs.get(split, ())}) for split in {**ours, **theirs} if is_known
        }
    return joined


# ---------------------------------------------------------------- states


def starting_state(
    config: Any,
    train_step: TrainStep,
    mesh: Mesh,
    checkpoints: Checkpoints,
    step: int,
    metadata: Mapping[str, Any],
    allow_other_data: bool = False,
) -> tuple[TrainState, str]:
    """The state to begin with, of checkpoint `step` or, where that is negative, `initial_state`; where it comes from.

    A moving average of the generator that is asked for and not in the checkpoint begins with the checkpoint's
    generator; one that is there and no longer asked for is dropped.
    """
    if step < 0:
        return initial_state(config, train_step, mesh)
    where = checkpoints.directory / str(step)
    notes = check_continues(metadata, checkpoints.metadata(step), where, allow_other_data)
    expected = train_step.abstract_state().tree()
    expected.pop(_AVERAGE, None)
    held = _AVERAGE in checkpoints.parts(step)
    if held:
        expected[_AVERAGE] = expected["generator"]
    tree = checkpoints.restore(step, like=sharding.replicated_shapes(mesh, expected))
    if not train_step.keeps_average:
        tree.pop(_AVERAGE, None)
    elif not held:  # the average begins here; a copy, since the step takes over the memory of what it is given
        tree[_AVERAGE] = jax.tree.map(jnp.copy, tree["generator"])
    state = TrainState(step=sharding.place(mesh, np.int32(step)), **tree)
    return state, "\n".join([f"continuing at step {step} from {where}", *notes])


def initial_state(config: Any, train_step: TrainStep, mesh: Mesh) -> tuple[TrainState, str]:
    """The state before the first step, and where it comes from: the run `config.init_from`, or scratch.

    Of a run that keeps a moving average of its generator that average is taken, as `translate` does.
    """
    state = sharding.create(mesh, train_step.fresh_state, jax.random.key(config.seed))
    generator = train_step.objective.fit_start(config, state.generator, partial(sharding.place, mesh))
    average = jax.tree.map(jnp.copy, generator) if train_step.keeps_average else None
    state = replace(state, generator=generator, generator_average=average)
    if not config.init_from:
        return state, f"starting from scratch with seed {config.seed}"
    given, new = given_run(config)
    part = _AVERAGE if _AVERAGE in given.parts() else "generator"
    theirs = {"discriminator": given.restore(only="discriminator"), "generator": given.restore(only=part)}
    fresh = {part: getattr(state, part) for part in theirs}
    new += {*fresh["generator"].get("base", ())} - {*theirs["generator"].get("base", ())}  # patterns that it brings
    taken, origins = inherit_parameters(fresh, theirs, new, config.init_from)
    if train_step.keeps_average:
        taken[_AVERAGE] = taken["generator"]
    begin = f"starting from the weights of {config.init_from}, step {given.latest_step()}"
    lines = describe_origins(origins, flatten_dict(train_step.trainable, sep="/"))
    return replace(state, **sharding.place(mesh, taken)), f"{begin}:\n{lines}"


def finished_state(config: Any, train_step: TrainStep, mesh: Mesh, state: TrainState) -> TrainState:
    """The state after the last step, with what is fitted then."""
    parts = train_step.objective.fit_end(config, state.inference_params, partial(sharding.place, mesh))
    if not parts:
        return state
    average = state.generator_average
    copies = jax.tree.map(jnp.copy, parts)  # the next step, if there will be one, takes over the memory of both
    return replace(
        state, generator=state.generator | parts, generator_average=None if average is None else average | copies
    )


# ---------------------------------------------------------------- another run's weights


def given_run(config: Any) -> tuple[Checkpoints, list[str]]:
    """The run that `config.init_from` names, and the satellites that it lacks; InputError where it has other bands."""
    given = Checkpoints(f"{config.init_from}/checkpoints")
    return given, new_satellites(config, given.metadata(), config.init_from)


def new_satellites(config: Mapping[str, Any], metadata: Mapping[str, Any], where: str) -> list[str]:
    """The configured satellites that the run `where` with that metadata does not have; InputError for other bands."""
    new, known = [], metadata["satellites"]
    for satellite, numbers in config["data"]["satellites"].items():
        if satellite not in known:
            new.append(satellite)
        elif list(numbers) != list(known[satellite]["bands"]):
            theirs = known[satellite]["bands"]
            raise InputError(f"{where} has {satellite} with the bands {theirs}, the configuration with {list(numbers)}")
    return new


def inherit_parameters(fresh: Tree, given: Tree, new: list[str], where: str) -> tuple[Tree, dict[str, str]]:
    """Replace fresh parameters by `given`, those of the run `where`, except for satellites that are new.

    Returns the tree, and path -> 'kept' | 'fresh'. InputError where a leaf is missing there, or has another shape.
    """
    theirs, taken, origins = flatten_dict(given, sep="/"), flatten_dict(fresh, keep_empty_nodes=True, sep="/"), {}
    for path, leaf in flatten_dict(fresh, sep="/").items():
        origins[path] = "fresh" if any(satellite in path.split("/")[1:3] for satellite in new) else "kept"
        if origins[path] == "kept":
            problem = "" if path in theirs else f" lacks {path}"
            if not problem and theirs[path].shape != leaf.shape:
                problem = f": {path} is {theirs[path].shape} there and {leaf.shape} here"
            if problem:
                raise InputError(f"{where}{problem}; config.init_from must name a run of the same networks")
            taken[path] = np.asarray(theirs[path], leaf.dtype)
    return unflatten_dict(taken, sep="/"), origins


def describe_origins(origins: Mapping[str, str], trainable: Mapping[str, bool]) -> str:
    """Lines such as '  generator/encoders/G16: 10 kept, frozen', from path -> origin and path -> trained or not."""

    def group(path: str) -> str:
        parts = path.split("/")
        return "/".join(parts[: 3 if parts[1] in ("encoders", "decoders") else 2])

    groups = Counter((group(p), origin, "trained" if trainable[p] else "frozen") for p, origin in origins.items())
    return "\n".join(f"  {name}: {count} {origin}, {state}" for (name, origin, state), count in groups.items())
