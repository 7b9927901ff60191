"""`satxlate bench train`: how fast this machine takes training steps, and how close that is to its peak.

Random images stand for the data, so that nothing but the step is measured. The yardstick is this machine's own rate for
the network's commonest convolution (3x3, dim to dim channels, whole patches): forward, and its gradients with respect
to the input and to the weights.
"""

import contextlib
import io
import math
import re
import resource
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from satxlate_jax.atomic import PlainPath
from satxlate_jax.benchmarks import bench_parser
from satxlate_jax.cli import at_least
from satxlate_jax.compilation import compiler_options
from satxlate_jax.training import sharding
from satxlate_jax.training.build_step import build_train_step
from satxlate_jax.training.channels import carries_angles, training_sources
from satxlate_jax.training.config import load_config
from satxlate_jax.training.step import abstract_arguments, jit_train_step, profile_options

WEIGHT, FORWARD = "convolutions: weight gradients", "convolutions: forward, input gradients"
COPIES, SUMS, REST = "copies and transpositions", "sums over pixels", "everything else, element by element"
_NO_WORK = ("parameter", "constant", "bitcast", "tuple", "get-tuple-element", "call", "while")

_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.\-]+) = \w+\[([\d,]*)\]\S* ([\w\-]+)\((.*)$")
_WINDOW = re.compile(r"window=\{size=([\dx]+)")
_LAYOUT = re.compile(r"dim_labels=\w+_(\w+)->(\w+)")


def lower_step(config: Any, mesh: Mesh) -> Any:
    """The training step of a configuration as a program for a mesh whose devices need not be there."""
    sharding.check_batch_size(config.batch_size, mesh)
    train_step = build_train_step(config)
    return jit_train_step(train_step, mesh).lower(*abstract_arguments(config, train_step, mesh), 1)


def load_step(config: Any, compiled: Any, mesh: Mesh) -> Callable[[], Any]:
    """A function that takes one compiled step after the other on random images and returns its metrics."""
    train_step = build_train_step(config)
    state = sharding.create(mesh, train_step.fresh_state, jax.random.key(config.seed))
    _, shapes, *_ = abstract_arguments(config, train_step, mesh)
    images = {name: jax.random.normal(jax.random.key(0), shape.shape, jnp.float32) for name, shape in shapes.items()}
    batch = {name: jax.device_put(x, sharding.by_rows(mesh)) for name, x in images.items()}
    key, votes = sharding.create(mesh, lambda: jax.random.key(config.seed)), sharding.stop_votes(mesh, False)

    def step() -> Any:
        nonlocal state
        state, metrics = compiled(state, batch, key, votes)
        return metrics

    return step


def clocks() -> np.ndarray:
    """Read the clock, and the CPU seconds of this process and of those that it has started and ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return np.array([time.perf_counter(), time.process_time() + children.ru_utime + children.ru_stime])


def median_seconds(function: Callable[..., Any], repeats: int, *arguments: Any) -> float:
    """Median time of a call, after one that is not counted."""
    seconds = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds[1:])


def convolution_rates(batch: int, size: int, channels: int, repeats: int) -> dict[str, float]:
    """Operations per second of a 3x3 convolution and of its two gradients, each compiled alone."""
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
    options = compiler_options(jax.default_backend())
    compiled = {name: jax.jit(f, compiler_options=options).lower(x, kernel).compile() for name, f in functions.items()}
    return {name: operations / median_seconds(program, repeats, x, kernel) for name, program in compiled.items()}


def classify(program: str) -> dict[str, tuple[str, float]]:
    """Kind of work and operations (0 but for convolutions) of the instructions in a compiled program's text.

    A weight gradient is itself compiled to a convolution: of the image with the output's gradient, which is the kernel
    then and so larger than the result. The zeros that a stride puts into an image or a kernel are not counted.
    """
    found, shapes = {}, {}
    for match in filter(None, map(_INSTRUCTION.match, program.splitlines())):
        name, sizes, kind, rest = match.groups()
        shapes[name] = [int(size) for size in sizes.split(",") if size]
        if kind == "convolution":
            kernel = shapes.get(re.findall(r"%([\w.\-]+)", rest)[1], [])
            found[name] = _convolution(shapes[name], kernel, rest)
        elif re.search(r"reduce|^dot", name + kind):
            found[name] = (SUMS, 0.0)
        elif re.search(r"transpose|copy", name + kind):
            found[name] = (COPIES, 0.0)
        elif kind not in _NO_WORK:
            found[name] = (REST, 0.0)
    return found


def _convolution(shape: list[int], kernel: list[int], rest: str) -> tuple[str, float]:
    window, layout = _WINDOW.search(rest), _LAYOUT.search(rest)
    if not window or not layout or not kernel:
        return FORWARD, 0.0
    pixels = math.prod(shape[layout[2].index(axis)] for axis in "01")
    operations = 2.0 * math.prod(shape) * math.prod(kernel) / kernel[layout[1].index("o")]
    if strides := re.search(r"lhs_dilate=([\dx]+)", rest):
        operations /= math.prod(map(int, strides[1].split("x")))
    return (WEIGHT if math.prod(map(int, window[1].split("x"))) > pixels else FORWARD), operations


def measure_parts(program: str, step: Callable[[], Any]) -> dict[str, tuple[float, int, float]]:
    """Profile a step of a program (its text): kind of work -> seconds of all threads, instructions, operations."""
    work = classify(program)
    parts: dict[str, tuple[float, int, float]] = defaultdict(lambda: (0.0, 0, 0.0))
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, profiler_options=profile_options()):
            jax.block_until_ready(step())
        profiles = [jax.profiler.ProfileData.from_file(str(path)) for path in Path(folder).rglob("*.xplane.pb")]
    lines = (line for profile in profiles for plane in profile.planes for line in plane.lines)
    for event in (event for line in lines for event in line.events if event.name in work):
        kind, operations = work[event.name]
        seconds, count, total = parts[kind]
        parts[kind] = (seconds + event.duration_ns / 1e9, count + 1, total + operations)
    return dict(sorted(parts.items(), key=lambda item: -item[1][0]))


def describe_parts(parts: dict[str, tuple[float, int, float]]) -> str:
    """A table with a line for each kind of work."""
    total = sum(seconds for seconds, *_ in parts.values()) or 1.0
    lines = [f"  {'where the time goes':<42} {'share':>7} {'seconds':>9} {'number':>7} {'rate':>12}"]
    for kind, (seconds, count, operations) in parts.items():
        rate = f"{operations / seconds / 1e9:8.1f} G/s" if operations and seconds else ""
        lines.append(f"  {kind:<42} {seconds / total:7.1%} {seconds:9.3f} {count:7d} {rate:>12}")
    return "\n".join(lines)


def describe_devices() -> str:
    """Number and name of the devices."""
    return f"{jax.device_count()} {jax.devices()[0].device_kind} device(s)"


def describe_step(compiled: float, operations: float, seconds: float, steps: int, patches: int) -> str:
    """What `bench train` and `bench torch` tell of a step in the same form, seconds and operations."""
    return f"""\
  compiled in            {compiled:10.1f} s
  operations per step    {operations / 1e12:10.3f} T
  seconds per step       {seconds:10.4f}    median of {steps}
  patches per second     {patches / seconds:10.2f}    of all satellites
  rate                   {operations / seconds / 1e9:10.1f} G/s"""


def describe_peak(peak: float) -> str:
    """The line on the most memory used, of a GPU or else of the process, bytes."""
    return f"  peak memory            {peak / 2**30:10.2f} GiB"


def peak_memory() -> float:
    """Bytes that were most in use: of a device that counts them, else of this process."""
    counted = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    return counted or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main(argv: Sequence[str]) -> None:
    """Run the benchmark."""
    parser = bench_parser("train", __doc__, config=True)
    parser.add_argument("--steps", type=at_least(1), default=5, help="steps to time (default %(default)s)")
    parser.add_argument("--parts", action="store_true", help="also say where the time of a step goes")
    arguments, words = parser.parse_known_args(argv)
    config = load_config(words)
    jax.config.update("jax_enable_compilation_cache", False)  # compiling is one of the things to measure
    mesh = sharding.make_mesh()
    begin = time.perf_counter()
    lowered = lower_step(config, mesh)
    compiled = lowered.compile()
    compile_seconds = time.perf_counter() - begin
    step = load_step(config, compiled, mesh)
    seconds = median_seconds(step, arguments.steps)
    parts = measure_parts(compiled.as_text(), step) if arguments.parts else {}
    width = config.flow.width if carries_angles(config) else config.generator.dim
    rates = convolution_rates(config.batch_size, config.data.patch_size, width, repeats=9)
    # of the program as written: compiled for a CPU, convolutions may be library calls that count as nothing
    operations = lowered.cost_analysis()["flops"]
    patches = config.batch_size * len(training_sources(config))
    network = f"batch {config.batch_size}, patches of {config.data.patch_size} pixels, width {width}"
    variant = f"{config.precision}, " + (
        "spectral flow" if carries_angles(config) else f"{config.objective.discriminator_fakes} fakes"
    )
    print(f"{', '.join(training_sources(config))}: {network}, {variant}; {describe_devices()}")
    print(describe_step(compile_seconds, operations, seconds, arguments.steps, patches))
    for name, rate in rates.items():
        print(f"  of its convolution's   {operations / seconds / rate:10.1%}    {name}: {rate / 1e9:.1f} G/s")
    print(describe_peak(peak_memory()))
    if parts:
        print(describe_parts(parts))


def measure_logging(config: Any, steps: int, rounds: int) -> tuple[float, float]:
    """Median steps per second without and with TensorBoard, of rounds taken in turns; the first is not counted."""
    from tqdm import tqdm  # here, because `bench train` needs none of these

    from satxlate_jax.training.loop import Progress
    from satxlate_jax.training.monitoring import Monitor

    mesh = sharding.make_mesh()
    take_step = load_step(config, lower_step(config, mesh).compile(), mesh)
    never = 2**60
    rates: dict[int, list[float]] = {never: [], 1: []}
    with tempfile.TemporaryDirectory() as folder:
        with contextlib.closing(Monitor(PlainPath(folder), -1, {"satellites": {}})) as monitor:
            for turn in tqdm(range(rounds + 1), desc="bench logging", unit="round", disable=None):
                for log_every, found in rates.items():
                    shown = Progress(monitor, turn * steps, 2**60, log_every, 1)
                    with contextlib.redirect_stdout(io.StringIO()), contextlib.closing(shown) as progress:
                        begin = time.perf_counter()
                        for number in range(1, steps + 1):
                            progress.add(turn * steps + number, take_step())
                        progress.drain()
                        found.append(steps / (time.perf_counter() - begin))
    return statistics.median(rates[never][1:]), statistics.median(rates[1][1:])


def main_logging(argv: Sequence[str]) -> None:
    """What logging every step costs, compared with no logging (`config.log_every` is 250 by default).

    Both take the same steps on random images, in turns; losses are fetched and checked in both, as in training. With a
    step of milliseconds the cost shows.
    """
    parser = bench_parser("logging", main_logging.__doc__, config=True)
    parser.add_argument("--steps", type=at_least(1), default=20, help="in each round (default %(default)s)")
    parser.add_argument("--rounds", type=at_least(1), default=7, help="of each kind (default %(default)s)")
    arguments, words = parser.parse_known_args(argv)
    config = load_config(words)
    off, on = measure_logging(config, arguments.steps, arguments.rounds)
    cost, every = 1 / on - 1 / off, config.log_every
    print(f"{off:.3g} steps/s without logging, {on:.3g} with every step logged, {on / off:.1%} of it")
    print(f"{cost * 1e3:.1f} ms per logged step; with config.log_every {every}: {1 / (1 + cost / every * off):.2%}")
    print(f"medians of {arguments.rounds} rounds of {arguments.steps} steps each, taken in turns")
