"""Several processes as one mesh of all their devices, and placing arrays on it.

One axis, `data`: parameters are on every device, a batch is cut into equal parts by its rows. The same code runs one
device or a pod; `jit` with these shardings lets the compiler put in the all-reduce of the gradients.
"""

import argparse
import json
import os
import sys
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from satxlate_jax.cli import InputError
from satxlate_jax.compilation import use_program_cache

AXIS = "data"


# ---------------------------------------------------------------- start


def start(arguments: argparse.Namespace) -> None:
    """Join the processes and turn the compilation cache on; call it before anything else of JAX.

    InputError: the options are incomplete, or the processes do not find each other.
    """
    use_program_cache()
    given = {name: getattr(arguments, name) for name in ("coordinator", "num_processes", "process_id")}
    missing = [name for name, value in given.items() if value is None]
    if not arguments.distributed and (len(missing) == 3 or arguments.num_processes == 1):
        return
    options = f"--{', --'.join(given)}"
    if missing and not arguments.distributed:
        raise InputError(f"--{missing[0]} is missing: several processes need {options}, or --distributed alone")
    # Stopping is agreed on inside the training step (see stop_votes), so JAX's own service for that stays off.
    jax.config.update("jax_enable_preemption_service", False)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        jax.distributed.initialize(*given.values())
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"the processes did not find each other ({reason}); check {options}") from error


@contextmanager
def exiting_at_once() -> Iterator[None]:
    """End a process that fails here and now where several train, with its one line and exit code 2.

    JAX would let it wait at its exit for the others, and they wait for it. Ended, they see a broken connection.
    """
    try:
        yield
    except BaseException as error:
        if jax.process_count() == 1:
            raise
        if isinstance(error, jax.errors.JaxRuntimeError):
            reason = " ".join(str(error).split())[:300]
            error = InputError(
                f"what the processes compute together failed ({reason}); see the other processes' output"
            )
        if isinstance(error, InputError | KeyboardInterrupt):
            print(f"satxlate: {str(error) or 'interrupted'}", file=sys.stderr, flush=True)
        else:
            traceback.print_exception(error)
        os._exit(2)


def this_process() -> dict[str, int]:
    """This process's number and how many there are, as arguments of input.py."""
    return {"process_index": jax.process_index(), "process_count": jax.process_count()}


def from_first_process(make: Callable[[], Any]) -> Any:
    """The result of `make()` in process 0 (JSON), in every process; the others do not call it, they wait."""
    if jax.process_count() == 1:
        return make()
    text = json.dumps(make()).encode() if jax.process_index() == 0 else b""
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(text))))
    buffer = np.zeros(length, np.uint8)
    buffer[: len(text)] = np.frombuffer(text, np.uint8)
    return json.loads(multihost_utils.broadcast_one_to_all(buffer).astype(np.uint8).tobytes())


def fitted_by_first_process(fit: Callable[[], Any]) -> Any:
    """The nested dict of arrays that `fit()` makes in process 0, float32, the same in every process."""
    lists = from_first_process(lambda: jax.tree.map(lambda leaf: np.asarray(leaf).tolist(), fit()))
    return jax.tree.map(lambda leaf: np.array(leaf, np.float32), lists, is_leaf=lambda leaf: not isinstance(leaf, dict))


# ---------------------------------------------------------------- mesh and shardings


def make_mesh() -> Mesh:
    """All devices in a row, process after process, so that a process's rows of a batch are contiguous."""
    devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    return Mesh(np.array(devices), (AXIS,), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of parameters: a copy on every device."""
    return NamedSharding(mesh, PartitionSpec())


def by_rows(mesh: Mesh) -> NamedSharding:
    """The sharding of a batch: its first axis cut over the devices."""
    return NamedSharding(mesh, PartitionSpec(AXIS))


def check_batch_size(batch_size: int, mesh: Mesh) -> None:
    """Raise InputError where not every device would get the same number of rows."""
    if batch_size % mesh.size:
        raise InputError(
            f"config.batch_size {batch_size} cannot be cut into {mesh.size} equal parts, one for each device; "
            f"the next that can is {-(-batch_size // mesh.size) * mesh.size}"
        )


def create(mesh: Mesh, init: Callable[..., Any], *arguments: Any) -> Any:
    """The result of `init(*arguments)`, computed on every device: no copy from the host, no other device's memory."""
    return jax.jit(init, out_shardings=replicated(mesh))(*arguments)


def replicated_shapes(mesh: Mesh, tree: Any) -> Any:
    """The tree's shapes and types as replicated `jax.ShapeDtypeStruct`s, as which a checkpoint is restored."""
    everywhere = replicated(mesh)
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=everywhere), tree)


def place(mesh: Mesh, tree: Any) -> Any:
    """A tree of host arrays, the same in every process, on every device."""
    put = partial(jax.make_array_from_process_local_data, replicated(mesh))
    return jax.tree.map(lambda leaf: put(np.asarray(leaf)), tree)


def to_devices(mesh: Mesh, rows: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
    """This process's rows of a batch as part of the global batch, without waiting for the copy.

    From name -> [rows of this process, ...], equally many in every process, to name -> [rows of all processes, ...].
    """
    put, count = partial(jax.make_array_from_process_local_data, by_rows(mesh)), jax.process_count()
    return {name: put(x, (x.shape[0] * count, *x.shape[1:])) for name, x in rows.items()}


def stop_votes(mesh: Mesh, stop: bool) -> jax.Array:
    """One number per device, 1 where its process wants to stop; the maximum, taken inside the step, is what all see.

    Each process fills only its own devices' part, so the arrays can be made once and exchanged freely.
    """
    local = np.full((len(mesh.local_devices),), stop, np.float32)
    return jax.make_array_from_process_local_data(by_rows(mesh), local, (mesh.size,))


def prefetch(
    batches: Iterator[Mapping[str, np.ndarray]], mesh: Mesh, ahead: int = 2
) -> Generator[dict[str, jax.Array], None, None]:
    """Draw batches in a thread and send them to the devices in order, `ahead` at a time; closing it ends the thread."""

    def draw() -> dict[str, jax.Array] | None:
        rows = next(batches, None)
        return None if rows is None else to_devices(mesh, rows)

    with ThreadPoolExecutor(1, "prefetch") as pool:
        try:
            waiting = deque(pool.submit(draw) for _ in range(ahead))
            while (batch := waiting.popleft().result()) is not None:
                waiting.append(pool.submit(draw))
                yield batch
        finally:
            pool.shutdown(cancel_futures=True)
