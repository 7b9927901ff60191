"""All devices of all processes as one mesh, and how arrays get there.

One axis, `data`: parameters are on every device, a batch is cut into equal parts by its rows. The same code runs one
device or a pod; `jit` with these shardings lets the compiler put in the all-reduce of the gradients.
"""

import argparse
import json
import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from satxlate_jax.cli import InputError
from satxlate_jax.training.program_cache import use_program_cache

AXIS = "data"


# ---------------------------------------------------------------- start


def add_distributed_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that say which of several processes this one is; `start` takes them."""
    group = parser.add_argument_group("several processes (the same command in each)")
    environment = os.environ.get
    group.add_argument(
        "--distributed",
        action="store_true",
        help="find the other processes by itself: Cloud TPU pods, GKE, Slurm, Open MPI",
    )
    group.add_argument(
        "--coordinator",
        default=environment("JAX_COORDINATOR_ADDRESS"),
        metavar="HOST:PORT",
        help="where process 0 listens (default: JAX_COORDINATOR_ADDRESS)",
    )
    group.add_argument(
        "--num_processes",
        type=int,
        default=environment("JAX_NUM_PROCESSES"),
        metavar="N",
        help="how many processes there are (default: JAX_NUM_PROCESSES)",
    )
    group.add_argument(
        "--process_id",
        type=int,
        default=environment("JAX_PROCESS_ID"),
        metavar="I",
        help="which one this is, 0 to N - 1 (default: JAX_PROCESS_ID)",
    )


def start(arguments: argparse.Namespace) -> None:
    """Joins the processes and turns the compilation cache on; call it before anything else of JAX.

    Args:
      arguments: what `add_distributed_arguments` read.

    Raises:
      InputError: the options are incomplete, or the processes do not find each other.
    """
    use_program_cache()
    given = {"coordinator": arguments.coordinator, "num_processes": arguments.num_processes}
    given["process_id"] = arguments.process_id
    missing = [name for name, value in given.items() if value is None]
    if not arguments.distributed and (len(missing) == 3 or arguments.num_processes == 1):
        return
    if missing and not arguments.distributed:
        raise InputError(
            f"--{missing[0]} is missing: several processes need --{', --'.join(given)}, or --distributed alone"
        )
    # Stopping is agreed on inside the training step (see stop_votes), so JAX's own service for that stays off.
    jax.config.update("jax_enable_preemption_service", False)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        jax.distributed.initialize(arguments.coordinator, arguments.num_processes, arguments.process_id)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"the processes did not find each other ({reason}); check --{', --'.join(given)}") from error


@contextmanager
def leaving_at_once() -> Iterator[None]:
    """Where several processes train, one that fails ends here and now, with its one line and exit code 2.

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
    """Which process this is and of how many, as batches.py wants to know it."""
    return {"process_index": jax.process_index(), "process_count": jax.process_count()}


def from_first_process(make: Callable[[], Any]) -> Any:
    """What `make()` returns in process 0 (JSON), in every process; the others do not call it, they wait."""
    if jax.process_count() == 1:
        return make()
    text = json.dumps(make()).encode() if jax.process_index() == 0 else b""
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(text))))
    buffer = np.zeros(length, np.uint8)
    buffer[: len(text)] = np.frombuffer(text, np.uint8)
    return json.loads(multihost_utils.broadcast_one_to_all(buffer).astype(np.uint8).tobytes())


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


def check_batch_size(batch_size: int, mesh: Mesh, abreast: int = 1) -> None:
    """Every device must get the same number of rows, a multiple of `abreast`.

    Raises:
      InputError: it would not.
    """
    parts = mesh.size * abreast
    if batch_size % parts:
        raise InputError(
            f"config.batch_size {batch_size} cannot be cut into {parts} equal parts, "
            f"{'one' if abreast == 1 else abreast} for each device; "
            f"the next that can is {-(-batch_size // parts) * parts}"
        )


def create(mesh: Mesh, init: Callable[..., Any], *arguments: Any) -> Any:
    """What `init(*arguments)` returns, computed on every device: no copy from the host, no other device's memory."""
    return jax.jit(init, out_shardings=replicated(mesh))(*arguments)


def like(mesh: Mesh, tree: Any) -> Any:
    """The tree's shapes and types as replicated `jax.ShapeDtypeStruct`s, to restore a checkpoint into."""
    sharding = replicated(mesh)
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree)


def place(mesh: Mesh, tree: Any) -> Any:
    """A tree of host arrays, the same in every process, on every device."""
    sharding = replicated(mesh)
    return jax.tree.map(lambda leaf: jax.make_array_from_process_local_data(sharding, np.asarray(leaf)), tree)


def to_devices(mesh: Mesh, rows: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
    """This process's rows of a batch as part of the global batch, without waiting for the copy.

    Args:
      mesh: of all devices.
      rows: name -> [rows of this process, ...]; every process brings equally many.

    Returns:
      name -> the global array [rows of all processes, ...], process after process.
    """
    sharding = by_rows(mesh)
    count = jax.process_count()
    return {
        name: jax.make_array_from_process_local_data(sharding, x, (x.shape[0] * count, *x.shape[1:]))
        for name, x in rows.items()
    }


def stop_votes(mesh: Mesh, stop: bool) -> jax.Array:
    """One number per device, 1 where its process wants to stop; the maximum, taken inside the step, is what all see.

    Each process fills only its own devices' part, so the arrays can be made once and exchanged freely.
    """
    local = np.full((len(mesh.local_devices),), stop, np.float32)
    return jax.make_array_from_process_local_data(by_rows(mesh), local, (mesh.size,))


# ---------------------------------------------------------------- prefetch


class Prefetch:
    """Draws batches in a thread and sends them to the devices ahead of time; the order stays that of the iterator.

    Args:
      batches: this process's rows, batch by batch, as `to_devices` takes them.
      mesh: of all devices.
      ahead: how many batches wait on the devices.
    """

    def __init__(self, batches: Iterator[Mapping[str, np.ndarray]], mesh: Mesh, ahead: int = 2):
        self._ready: queue.Queue = queue.Queue(maxsize=ahead)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(batches, mesh), name="prefetch", daemon=True)
        self._thread.start()

    def _run(self, batches: Iterator[Mapping[str, np.ndarray]], mesh: Mesh) -> None:
        try:
            for rows in batches:
                if not self._put(to_devices(mesh, rows)):
                    return
            self._put(StopIteration())
        except BaseException as error:  # raised again where the batch is wanted
            self._put(error)

    def _put(self, item: Any) -> bool:
        while not self._stopped.is_set():
            try:
                self._ready.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def __iter__(self) -> "Prefetch":
        return self

    def __next__(self) -> dict[str, jax.Array]:
        if self._stopped.is_set():
            raise StopIteration
        item = self._ready.get()
        if isinstance(item, BaseException):
            self.close()
            raise item
        return item

    def __enter__(self) -> "Prefetch":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the thread; batches already drawn are dropped."""
        self._stopped.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()
