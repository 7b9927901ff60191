"""Compiled programs are found again by the next process; one that was written in part costs a compilation, no more."""

import subprocess
import sys
from pathlib import Path

from satxlate_jax.compilation import compiler_options
from tests.tiny_run import PROJECT, environment

PROGRAM = """
import resource, sys
import jax, jax.numpy as jnp
from satxlate_jax.compilation import use_program_cache
use_program_cache()
if len(sys.argv) > 1:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
print(float(jax.jit(lambda x: jnp.sin(x) @ jnp.cos(x).T)(jnp.ones((4, 4))).sum()))
"""


def run(cache: Path, *words: str) -> None:
    """Compiles and runs a program in a process whose warnings are errors, unless it cannot write."""
    strict = [] if words else ["-W", "error:Error reading"]
    env = environment(cache) | {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, *strict, "-c", PROGRAM, *words]
    result = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr


def entries(cache: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (cache / "satxlate_jax" / "programs").glob("*-cache")}


def test_programs_are_kept_and_found(tmp_path):
    run(tmp_path)
    first = entries(tmp_path)
    assert first
    run(tmp_path)
    assert entries(tmp_path) == first


def test_what_a_full_disk_left_is_replaced(tmp_path):
    """The limit of file sizes cuts every entry short, as a full disk does."""
    size = 700  # bytes
    run(tmp_path, str(size))
    cut = entries(tmp_path)
    assert cut and max(map(len, cut.values())) <= size
    run(tmp_path)
    whole = entries(tmp_path)
    assert cut.keys() <= whole.keys() and min(map(len, whole.values())) > size
    run(tmp_path)
    assert entries(tmp_path) == whole


def test_a_home_that_cannot_be_written_does_without(tmp_path):
    (tmp_path / "satxlate_jax").write_text("in the way")
    run(tmp_path)
    assert (tmp_path / "satxlate_jax").read_text() == "in the way"


def test_options_of_programs_that_run_seldom_are_theirs_alone():
    """The step is compiled for speed, whatever was compiled before it and whatever a caller does with its options."""
    first = compiler_options("cpu")
    assert first and first == {name: compiler_options("cpu", seldom=True)[name] for name in first}
    assert compiler_options("cpu", seldom=True).keys() > first.keys()
    compiler_options("cpu")["xla_backend_optimization_level"] = 0
    assert compiler_options("cpu") == first and compiler_options("gpu", seldom=True) == {}
