"""Steps are trained and timed where only what the step is made of is installed: no reader of data, no TensorBoard."""

import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires

import pytest

from tests import tiny_run

INSTALLED = ("jax", "flax", "optax", "orbax-checkpoint", "numpy", "ml-collections", "absl-py")
LEAST = {"tensorflow", "tensorflow_datasets", "pyhdf", "clu", "netCDF4", "zarr"}


def with_what_they_need(names):
    """Distributions that pip installs along, whatever the platform; extras apart."""
    found, left = set(), [*names]
    while left:
        name = re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", left.pop())[0]).lower()
        if name in found:
            continue
        found.add(name)
        try:
            left += [line for line in requires(name) or () if "extra ==" not in line]
        except PackageNotFoundError:
            found.discard(name)
    return found


def blocked_modules() -> set[str]:
    """What is installed here and would not be there."""
    allowed = with_what_they_need(INSTALLED) | {"satxlate-jax", "setuptools", "pip"}
    return {
        module
        for module, distributions in packages_distributions().items()
        if not {re.sub(r"[-_.]+", "-", name).lower() for name in distributions} & allowed
    }


BLOCK = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)

sys.meta_path.insert(0, Absent())
"""


def run_blocked(program: str, *words: str, tmp_path) -> str:
    blocked = blocked_modules()
    assert blocked >= LEAST and not blocked & {"jax", "flax", "optax", "orbax", "numpy", "ml_collections", "absl"}
    code = f"BLOCKED = {blocked!r}\n{BLOCK}\n{program}"
    environment = tiny_run.environment()
    result = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=tiny_run.PROJECT, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


SUBCOMMAND = "from satxlate_jax.__main__ import main; sys.exit(main(sys.argv[1:]))"
SMALL = ("--config.data.patch_size=8", "--config.batch_size=2")


def test_the_hook_blocks(tmp_path):
    program = "import importlib.util\ntry:\n  import tensorflow\nexcept ModuleNotFoundError: print('absent')"
    assert run_blocked(program, tmp_path=tmp_path) == "absent\n"


@pytest.mark.parametrize("words", [(), ("--config.generator.spectral_path=quadratic",)])
def test_bench_train(words, tmp_path):
    command = ("bench", "train", f"--config={tiny_run.__file__}", "--steps=1", *SMALL, *words)
    output = run_blocked(SUBCOMMAND, *command, tmp_path=tmp_path)
    assert re.search(r"patches per second +[\d.]+", output) and "peak memory" in output


def test_bench_translate_measures_the_network(tmp_path):
    output = run_blocked(
        SUBCOMMAND, "bench", "translate", f"--config={tiny_run.__file__}", "--tiles=10", tmp_path=tmp_path
    )
    assert re.search(r"the network +[\d.]+ tiles/s +1 of 300 x 300", output)
    assert re.search("not measured, there is no (pyhdf|xarray|tqdm|pandas|psutil|scipy|netCDF4)", output)


STEP = """
import jax, numpy as np
from tests import tiny_run
from satxlate_jax.training import sharding
from satxlate_jax.training.build_step import build_train_step
from satxlate_jax.training.starting_state import initial_state
from satxlate_jax.training.step import abstract_arguments, jit_train_step
config, mesh = tiny_run.get_config(), sharding.make_mesh()
step = build_train_step(config)
state, _ = initial_state(config, step, mesh)
_, shapes, *_ = abstract_arguments(config, step, mesh)
batch = sharding.to_devices(mesh, {name: np.ones(shape.shape, np.float32) for name, shape in shapes.items()})
key = sharding.create(mesh, lambda: jax.random.key(config.seed))
state, metrics = jit_train_step(step, mesh)(state, batch, key, sharding.stop_votes(mesh, False), 1)
assert all(np.isfinite(value) for value in jax.device_get(metrics).values())
print(int(state.step))
"""


def test_the_training_step(tmp_path):
    """That of `train`, by the same functions."""
    assert run_blocked(STEP, tmp_path=tmp_path) == "1\n"
