"""One process or two, one device or eight: the same batches, the same losses, and one way to stop and go on."""

import json
import math
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from satxlate_jax.checkpoints import Checkpoints
from tests import tiny_run


def _start_pair(
    run: Path,
    data: Path,
    only_second: Sequence[str] = (),
    words: Sequence[str] = tiny_run.WORDS,
) -> list[subprocess.Popen]:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    return [
        subprocess.Popen(
            tiny_run.train_command(run, data, *words, *(only_second if process else ()))
            + [f"--coordinator=localhost:{port}", "--num_processes=2", f"--process_id={process}"],
            cwd=tiny_run.PROJECT,
            env=tiny_run.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for process in range(2)
    ]


def _finish(pair: list[subprocess.Popen]) -> list[str]:
    outputs = [process.communicate(timeout=600) for process in pair]
    assert [process.returncode for process in pair] == [0, 0], outputs
    return [output for output, _ in outputs]


def _assert_same_curves(run: Path, reference: Path) -> None:
    ours, theirs = tiny_run.learned_scalars(run), tiny_run.learned_scalars(reference)
    assert ours.keys() == theirs.keys()
    assert [step for step, _ in ours["generator/total"]] == list(range(1, tiny_run.STEPS + 1))
    for tag, points in theirs.items():
        assert [step for step, _ in ours[tag]] == [step for step, _ in points], tag
        np.testing.assert_allclose([y for _, y in ours[tag]], [y for _, y in points], rtol=2e-3, atol=2e-3, err_msg=tag)
    # before differences of rounding have had time to grow
    for tag in ("generator/total", "discriminator/total"):
        np.testing.assert_allclose([y for _, y in ours[tag][:5]], [y for _, y in theirs[tag][:5]], rtol=1e-5)


SLOW = pytest.mark.slow


@pytest.mark.parametrize("devices", [pytest.param(2, marks=SLOW), pytest.param(4, marks=SLOW), 8])
def test_virtual_devices_give_the_losses_of_one(devices, tmp_path, data, finished):
    environment = tiny_run.environment(devices=devices)
    result = tiny_run.run_training(tiny_run.train_command(tmp_path, data, *tiny_run.WORDS), environment)
    assert result.returncode == 0, result.stderr
    assert f"{devices} cpu device(s) of 1 process(es)" in result.stdout
    _assert_same_curves(tmp_path, finished)


@pytest.fixture(scope="module")
def two_processes(data, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("two_processes")
    first, second = _finish(_start_pair(run, data))
    assert "2 cpu device(s) of 2 process(es)" in first
    assert "step" not in second, "only the first process speaks"
    return run


def test_two_processes_give_the_losses_of_one(two_processes, finished):
    _assert_same_curves(two_processes, finished)
    facts = Checkpoints(two_processes / "checkpoints").metadata()
    assert facts["process_count"] == 2 and facts["step"] == tiny_run.STEPS


def _assert_two_are_as_one(folder: Path, data: Path, words: Sequence[str]) -> dict:
    """A short run of two processes has the scalars of one process, which are returned."""
    _finish(_start_pair(folder / "two", data, words=words))
    environment = tiny_run.environment()
    result = tiny_run.run_training(tiny_run.train_command(folder / "one", data, *words), environment)
    assert result.returncode == 0, result.stderr
    ours, theirs = (tiny_run.learned_scalars(folder / name) for name in ("two", "one"))
    for tag, points in theirs.items():
        np.testing.assert_allclose([y for _, y in ours[tag]], [y for _, y in points], rtol=1e-4, atol=1e-6, err_msg=tag)
    return theirs


@pytest.mark.slow
def test_two_processes_fit_the_same_spectral_path_as_one(tmp_path, data):
    words = ["--config.steps=4", "--config.generator.spectral_path=quadratic", "--config.generator.spectral_hidden=8"]
    scalars = _assert_two_are_as_one(tmp_path, data, words)
    assert len(scalars["generator/total"]) == 4


@pytest.mark.slow
def test_two_processes_killed_and_started_again_end_as_uninterrupted(tmp_path, data, two_processes):
    pair = _start_pair(tmp_path, data)
    for line in pair[0].stdout:
        if line.startswith("step 30/"):
            break
    for process in pair:
        process.kill()
        process.communicate()
    assert Checkpoints(tmp_path / "checkpoints").latest_step() in (None, 21, 28)

    # one of them is told to stop: both do, at the same step
    pair = _start_pair(tmp_path, data)
    for line in pair[0].stdout:
        if line.startswith("step 33/"):
            break
    pair[1].send_signal(signal.SIGTERM)
    first, _ = _finish(pair)
    stopped = Checkpoints(tmp_path / "checkpoints").latest_step()
    assert f"stopped as asked after step {stopped} of {tiny_run.STEPS}" in first and stopped < tiny_run.STEPS

    _finish(_start_pair(tmp_path, data))
    ours, theirs = (Checkpoints(run / "checkpoints").restore(tiny_run.STEPS) for run in (tmp_path, two_processes))
    assert json.dumps(ours, default=lambda leaf: leaf.tobytes().hex()) == json.dumps(
        theirs, default=lambda leaf: leaf.tobytes().hex()
    )
    assert tiny_run.learned_scalars(tmp_path) == tiny_run.learned_scalars(two_processes)


def test_different_commands_are_noticed(tmp_path, data):
    pair = _start_pair(tmp_path, data, ["--config.seed=5"])
    (_, first), (_, second) = [process.communicate(timeout=600) for process in pair]
    assert [process.returncode for process in pair] == [2, 2], first + second
    assert "different configurations" in second


FIT = """
import argparse, hashlib, json, sys
import jax
from tests import tiny_run
from satxlate_jax.training import sharding
from satxlate_jax.options import add_distributed_arguments
from satxlate_jax.training import spectral_path_init as spectral_start
from satxlate_jax.training.input import check_records
parser = argparse.ArgumentParser()
parser.add_argument("data")
add_distributed_arguments(parser)
arguments = parser.parse_args()
sharding.start(arguments)
config = tiny_run.get_config()
config.data.dir = arguments.data
config.generator.spectral_path, config.generator.spectral_hidden, spectral_start._FIT_STEPS = "quadratic", 4, 20
check_records(config)
before = tiny_run.bytes_read()
maps = spectral_start.spectral_start(config)
digests = [hashlib.sha256(leaf.tobytes()).hexdigest() for leaf in jax.tree.leaves(maps)]
print(json.dumps({"read": tiny_run.bytes_read() - before, "digests": digests, "tree": str(jax.tree.structure(maps))}))
"""


def test_the_second_process_takes_the_fit_of_the_first(data):
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        words = [f"--coordinator=localhost:{probe.getsockname()[1]}", "--num_processes=2"]
    pair = [
        subprocess.Popen(
            [sys.executable, "-c", FIT, str(data), *words, f"--process_id={process}"],
            cwd=tiny_run.PROJECT,
            env=tiny_run.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for process in range(2)
    ]
    first, second = (json.loads(output.splitlines()[-1]) for output in _finish(pair))
    assert first["tree"] == second["tree"] and first["digests"] == second["digests"]
    assert len(set(first["digests"])) > 4
    patches = 2048 * 2 * tiny_run.PATCH_SIZE**2 * (5 + 3)
    assert first["read"] > patches > 10 * second["read"]


COLLECTIVES = """
import json, re, sys
import jax
sys.path.insert(0, "tests")
import tiny_run
from satxlate_jax.training import sharding, step as step_program
from satxlate_jax.training.build_step import build_train_step
config, mesh = tiny_run.get_config(), sharding.make_mesh()
step = build_train_step(config)
state, *others = arguments = step_program.abstract_arguments(config, step, mesh)
text = step_program.jit_train_step(step, mesh).lower(*arguments, 1).compile().as_text()
kinds, shapes = set(), []
for line in text.splitlines():
    found = re.search(r" = (.*?) (all-[a-z]+|reduce-scatter|collective-[a-z]+)(-start)?\\(", line)
    if found:
        kinds.add(found[2])
        for shape in re.findall(r"[a-z]+[0-9]+\\[([0-9,]*)\\]", found[1]):
            shapes.append([int(size) for size in shape.split(",") if size])
parameters = [list(leaf.shape) for leaf in jax.tree.leaves((state.generator, state.discriminator))]
print(json.dumps({"kinds": sorted(kinds), "shapes": shapes, "parameters": parameters}))
"""


def test_only_gradients_cross_the_network(tmp_path):
    environment = tiny_run.environment(tmp_path, devices=8) | {"JAX_ENABLE_COMPILATION_CACHE": "false"}
    result = subprocess.run(
        [sys.executable, "-c", COLLECTIVES], cwd=tiny_run.PROJECT, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["kinds"] == ["all-reduce"]
    shapes, parameters = report["shapes"], report["parameters"]
    assert all(shape in shapes for shape in parameters)
    assert all(shape in parameters for shape in shapes if shape), "something else than a gradient or a loss"
    # A parameter that several passes use has a gradient from each, and XLA for CPU adds them after the reduction.
    sizes = {name: sum(math.prod(shape) for shape in of) for name, of in (("sent", shapes), ("parameters", parameters))}
    assert sizes["parameters"] <= sizes["sent"] < 4 * sizes["parameters"], sizes
