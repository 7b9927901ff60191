"""One mesh over all devices: what is replicated, what is cut, and in which order batches arrive."""

import argparse
import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from satxlate_jax.cli import InputError
from satxlate_jax.options import add_distributed_arguments
from satxlate_jax.training import sharding

PROJECT = Path(__file__).resolve().parents[2]


def _numbered_batches(count: int):
    for index in range(count):
        yield {"G16": np.full((2, 3), index, np.float32)}


def test_batches_arrive_in_order_and_the_end_is_seen():
    mesh = sharding.make_mesh()
    batches = sharding.prefetch(_numbered_batches(7), mesh)
    assert [float(batch["G16"][0, 0]) for batch in batches] == list(range(7))
    with pytest.raises(StopIteration):
        next(batches)


def test_prefetch_draws_no_more_than_it_was_asked_to_hold():
    drawn = []

    def endless():
        while True:
            drawn.append(len(drawn))
            yield {"G16": np.zeros((1, 1), np.float32)}

    batches = sharding.prefetch(endless(), sharding.make_mesh(), ahead=3)
    next(batches)
    batches.close()
    assert len(drawn) <= 1 + 3 + 1  # taken, waiting, and the one that finds no room


def test_an_error_while_drawing_is_raised_where_the_batch_is_wanted():
    def broken():
        yield {"G16": np.zeros((1, 1), np.float32)}
        raise InputError("no data here")

    batches = sharding.prefetch(broken(), sharding.make_mesh())
    next(batches)
    with pytest.raises(InputError, match="no data here"):
        next(batches)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def _arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_distributed_arguments(parser)
    return parser.parse_args(words)


def test_incomplete_options_name_what_is_missing():
    with pytest.raises(InputError, match="--process_id is missing"):
        sharding.start(_arguments("--coordinator=localhost:1", "--num_processes=2"))


def test_the_environment_says_which_process_this_is(monkeypatch):
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "node:1234")
    monkeypatch.setenv("JAX_NUM_PROCESSES", "4")
    monkeypatch.setenv("JAX_PROCESS_ID", "3")
    arguments = _arguments()
    assert (arguments.coordinator, arguments.num_processes, arguments.process_id) == ("node:1234", 4, 3)
    assert _arguments("--process_id=1").process_id == 1


EIGHT_DEVICES = """
import json
import jax, jax.numpy as jnp, numpy as np
from satxlate_jax.training import sharding
mesh = sharding.make_mesh()
rows = np.arange(16, dtype=np.float32).reshape(16, 1)
batch = sharding.to_devices(mesh, {"x": rows})["x"]
state = sharding.create(mesh, lambda key: {"w": jax.random.normal(key, (3,))}, jax.random.key(0))
placed = sharding.place(mesh, {"w": np.arange(3.0)})
votes = [float(jax.jit(jnp.max)(sharding.stop_votes(mesh, stop))) for stop in (False, True)]
print(json.dumps({
    "axes": [list(map(str, mesh.axis_types)), list(mesh.axis_names)],
    "devices": mesh.size,
    "rows": [np.asarray(shard.data)[:, 0].tolist() for shard in batch.addressable_shards],
    "copies": len({shard.device for shard in state["w"].addressable_shards}),
    "whole": all(shard.data.shape == (3,) for shard in state["w"].addressable_shards),
    "same": bool((np.asarray(state["w"]) == np.asarray(jax.random.normal(jax.random.key(0), (3,)))).all()),
    "placed": placed["w"].sharding == sharding.replicated(mesh),
    "votes": votes,
}))
"""


def test_on_eight_devices_rows_are_cut_and_parameters_copied():
    environment = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu", "PATH": ""}
    result = subprocess.run(
        [sys.executable, "-c", EIGHT_DEVICES], cwd=PROJECT, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["axes"] == [["AxisType.Auto"], ["data"]]
    assert report["rows"] == [[2 * device, 2 * device + 1] for device in range(8)]
    assert report["devices"] == report["copies"] == 8 and report["whole"] and report["same"] and report["placed"]
    assert report["votes"] == [0.0, 1.0]
