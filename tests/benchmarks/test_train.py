"""The parts of a step against the operation counts of convolutions whose sizes are known."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from satxlate_jax.benchmarks.train import COPIES, FORWARD, WEIGHT, classify, describe_parts, measure_parts
from satxlate_jax.compilation import compiler_options

BATCH, SIZE, INPUTS, OUTPUTS = 2, 16, 3, 5


@pytest.mark.parametrize("stride", [1, 2])
def test_operations_and_kinds_of_a_convolution_and_its_gradients(stride):
    """In a process of its own: the profiler can crash one in which much has run."""
    if "SATXLATE_PROFILED" not in os.environ:
        # with a library of TPUs named, as test_compile.py leaves it, the profiler of jaxlib 0.10 crashes on a CPU
        environment = {name: value for name, value in os.environ.items() if name != "TPU_LIBRARY_PATH"}
        environment["SATXLATE_PROFILED"] = "1"
        words = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", f"{__file__}", "-k", f"gradients and {stride}"]
        done = subprocess.run(words, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:]
        return
    x, kernel = jnp.ones((BATCH, SIZE, SIZE, INPUTS)), jnp.ones((4, 4, INPUTS, OUTPUTS))

    def loss(x, kernel):
        layout = ("NHWC", "HWIO", "NHWC")
        y = jax.lax.conv_general_dilated(x, kernel, (stride, stride), ((1, 1), (1, 1)), dimension_numbers=layout)
        return jnp.sum(y**2)

    options = compiler_options("cpu")
    compiled = jax.jit(jax.grad(loss, argnums=(0, 1)), compiler_options=options).lower(x, kernel).compile()
    parts = measure_parts(compiled.as_text(), lambda: compiled(x, kernel))
    pixels = ((SIZE + 2 - 4) // stride + 1) ** 2
    one = 2 * 16 * INPUTS * OUTPUTS * pixels * BATCH  # of each of the three, at the pixels of the output
    assert parts[WEIGHT][1:] == (1, one)
    seconds, count, operations = parts[FORWARD]
    assert count == 2 and seconds > 0
    # an input gradient is computed at the pixels of the input, border included
    assert operations == pytest.approx(one + 2 * 16 * INPUTS * OUTPUTS * (SIZE / stride) ** 2 * BATCH, rel=0.35)
    table = describe_parts(parts)
    assert WEIGHT in table and f"{operations / seconds / 1e9:.1f} G/s" in table
    assert sum(share for share, *_ in parts.values()) > 0


def test_what_is_no_work_is_left_out():
    program = """
      %p = f32[4,8]{1,0} parameter(0)
      %transpose_copy_fusion.3 = f32[8,4]{1,0} fusion(%p), kind=kLoop, calls=%c
      ROOT %bitcast = f32[32]{0} bitcast(%transpose_copy_fusion.3)
    """
    assert classify(program) == {"transpose_copy_fusion.3": (COPIES, 0.0)}
