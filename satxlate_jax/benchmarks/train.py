"""`satxlate bench train`: how fast this machine takes training steps, and how near that is to what it can do.

Random images stand for the data, so that nothing but the step is measured. The yardstick is this machine's own rate for
the network's commonest convolution (3x3, dim to dim channels, whole patches): forward, and its gradients with respect
to the input and to the weights.
"""

import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from satxlate_jax.benchmarks.profile import describe_parts, measure_parts
from satxlate_jax.cli import CommandParser
from satxlate_jax.training import run as runs
from satxlate_jax.training import sharding
from satxlate_jax.training.accelerators import compiler_options
from satxlate_jax.training.assembly import build_train_step
from satxlate_jax.training.channels import streams
from satxlate_jax.training.config import load_config
from satxlate_jax.training.step_program import abstract_arguments, jit_train_step


def convolution_rates(batch: int, size: int, channels: int, repeats: int) -> dict[str, float]:
    """Operations per second of a 3x3 convolution and its two gradients, each compiled alone.

    Args:
      batch: images.
      size: pixels along each side.
      channels: in and out.
      repeats: the median of so many is taken.

    Returns:
      'forward', 'input gradient' and 'weight gradient'.
    """
    x = jax.random.normal(jax.random.key(0), (batch, size, size, channels))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, channels, channels)) * 0.05

    def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    functions = {
        "forward": convolve,
        "input gradient": lambda x, kernel: jax.vjp(lambda y: convolve(y, kernel), x)[1](x)[0],
        "weight gradient": lambda x, kernel: jax.vjp(lambda w: convolve(x, w), kernel)[1](x)[0],
    }
    operations = 2 * 9 * channels**2 * size**2 * batch
    rates = {}
    for name, function in functions.items():
        options = compiler_options(jax.default_backend())
        compiled = jax.jit(function, compiler_options=options).lower(x, kernel).compile()
        seconds = _time(partial(compiled, x, kernel), repeats)
        rates[name] = operations / statistics.median(seconds)
    return rates


def _time(function: Callable[[], Any], repeats: int) -> list[float]:
    jax.block_until_ready(function())
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        jax.block_until_ready(function())
        seconds.append(time.perf_counter() - begin)
    return seconds


def _counted(steps: int) -> Iterable[int]:
    """The steps, with a progress bar where there is one to be had: a step needs no more than jax and its like."""
    try:
        from tqdm import tqdm
    except ImportError:
        return range(steps)
    return tqdm(range(steps), desc="bench train", unit="step", disable=None)


def measure_steps(config: Any, steps: int, parts: bool = False) -> dict[str, Any]:
    """Compiles and takes steps of a configuration on random images.

    Args:
      config: a checked configuration.
      steps: how many to time, after one that is not.
      parts: take one more under the profiler.

    Returns:
      'compile_seconds', 'operations' (per step, of all devices), 'seconds' (median per step), 'examples' (per step),
      'parts' (as `measure_parts` gives them; empty where not asked for).
    """
    mesh = sharding.make_mesh()
    sharding.check_batch_size(config.batch_size, mesh, config.abreast)
    train_step = build_train_step(config)
    state = runs.scratch_state(config, train_step, mesh)
    _, shapes, *_ = arguments = abstract_arguments(config, train_step, mesh)
    begin = time.perf_counter()
    lowered = jit_train_step(train_step, mesh).lower(*arguments, 1)
    compiled = lowered.compile()
    compile_seconds = time.perf_counter() - begin
    draw = {name: jax.random.normal(jax.random.key(0), shape.shape, jnp.float32) for name, shape in shapes.items()}
    batch = {name: jax.device_put(x, sharding.by_rows(mesh)) for name, x in draw.items()}
    key = sharding.create(mesh, lambda: jax.random.key(config.seed))
    votes = sharding.stop_votes(mesh, False)
    seconds = []
    for _ in _counted(steps + 1):
        begin = time.perf_counter()
        state, metrics = compiled(state, batch, key, votes)
        jax.block_until_ready((state, metrics))
        seconds.append(time.perf_counter() - begin)
    found = measure_parts(compiled.as_text(), lambda: compiled(state, batch, key, votes)) if parts else {}
    return {
        "parts": found,
        "compile_seconds": compile_seconds,
        # of the program as written: compiled for a CPU, convolutions may be library calls that count as nothing
        "operations": lowered.cost_analysis()["flops"],
        "seconds": statistics.median(seconds[1:]),
        "examples": config.batch_size * len(streams(config)),
    }


def main(argv: Sequence[str]) -> None:
    """Runs the benchmark."""
    parser = CommandParser(
        prog="satxlate bench train",
        description=__doc__,
        epilog="--config=FILE.py and --config.FIELD=VALUE as in `satxlate train`.",
        allow_abbrev=False,
    )
    parser.add_argument("--steps", type=int, default=5, help="steps to time (default %(default)s)")
    parser.add_argument("--parts", action="store_true", help="also say where the time of a step goes")
    arguments, words = parser.parse_known_args(argv)
    config = load_config(words)
    jax.config.update("jax_enable_compilation_cache", False)  # compiling is one of the things to measure
    step = measure_steps(config, max(arguments.steps, 1), arguments.parts)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    rates = convolution_rates(config.batch_size, config.data.patch_size, config.generator.dim, repeats=9)
    achieved = step["operations"] / step["seconds"]
    what = f"{', '.join(streams(config))}: batch {config.batch_size}, patches of {config.data.patch_size} pixels"
    how = f"width {config.generator.dim}, {config.precision}, {config.objective.discriminator_fakes} fakes"
    print(f"{what}, {how}; {jax.device_count()} {jax.default_backend()} device(s)")
    print(f"  compiled in            {step['compile_seconds']:10.1f} s")
    print(f"  operations per step    {step['operations'] / 1e12:10.3f} T")
    print(f"  seconds per step       {step['seconds']:10.3f}    median of {max(arguments.steps, 1)}")
    print(f"  patches per second     {step['examples'] / step['seconds']:10.2f}    of all satellites")
    print(f"  rate                   {achieved / 1e9:10.1f} G/s")
    for name, rate in rates.items():
        print(f"  of its convolution's   {achieved / rate:10.1%}    {name}: {rate / 1e9:.1f} G/s")
    print(f"  peak memory            {peak / 2**30:10.2f} GiB of this process")
    if arguments.parts:
        print(describe_parts(step["parts"]))
