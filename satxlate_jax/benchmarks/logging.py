"""`satxlate bench logging`: what it costs to log every step, against logging none.

Both take the same steps on random images, in turns; losses are fetched and checked in both, as in training. With a
step of milliseconds the cost shows; `config.log_every` is 250 by default, here it is 1.
"""

import contextlib
import io
import statistics
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import jax
from tqdm import tqdm

from satxlate_jax.atomic import PlainPath
from satxlate_jax.cli import CommandParser
from satxlate_jax.training import run as runs
from satxlate_jax.training import sharding
from satxlate_jax.training.assembly import build_train_step
from satxlate_jax.training.channels import streams
from satxlate_jax.training.config import load_config
from satxlate_jax.training.monitoring import Monitor
from satxlate_jax.training.progress import Clock, LossLog, Progress
from satxlate_jax.training.step_program import abstract_arguments, jit_train_step


def measure_logging(config: Any, steps: int, rounds: int) -> dict[str, list[float]]:
    """Takes steps with and without TensorBoard, in turns.

    Args:
      config: a checked configuration.
      steps: in each round.
      rounds: of each; the first of both is not counted.

    Returns:
      'off' and 'on': steps per second of each round.
    """
    mesh = sharding.make_mesh()
    train_step = build_train_step(config)
    state = runs.scratch_state(config, train_step, mesh)
    arguments = abstract_arguments(config, train_step, mesh)
    compiled = jit_train_step(train_step, mesh).lower(*arguments, 1).compile()
    draw = {name: jax.random.normal(jax.random.key(0), shape.shape) for name, shape in arguments[1].items()}
    batch = {name: jax.device_put(x, sharding.by_rows(mesh)) for name, x in draw.items()}
    key, votes = sharding.create(mesh, lambda: jax.random.key(0)), sharding.stop_votes(mesh, False)
    rates: dict[str, list[float]] = {"off": [], "on": []}
    step = 0
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        monitor = Monitor(PlainPath(folder), -1, {"satellites": {}})
        stack.callback(monitor.close)
        for round_ in tqdm(range(rounds + 1), desc="bench logging", unit="round", disable=None):
            for name, log_every in (("off", 2**60), ("on", 1)):
                with contextlib.redirect_stdout(io.StringIO()), Progress(step, step + steps) as progress:
                    clock = Clock(config.batch_size * len(streams(config)))
                    losses = LossLog(monitor, progress, clock, log_every, -1)
                    begin = time.perf_counter()
                    for _ in range(steps):
                        state, metrics = compiled(state, batch, key, votes)
                        step += 1
                        losses.add(step, metrics)
                    losses.settle()
                    rates[name] += [steps / (time.perf_counter() - begin)] if round_ else []
    return rates


def main(argv: Sequence[str]) -> None:
    """Runs the benchmark."""
    parser = CommandParser(
        prog="satxlate bench logging",
        description=__doc__,
        epilog="--config=FILE.py and --config.FIELD=VALUE as in `satxlate train`.",
        allow_abbrev=False,
    )
    parser.add_argument("--steps", type=int, default=20, help="in each round (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="of each kind (default %(default)s)")
    arguments, words = parser.parse_known_args(argv)
    config = load_config(words)
    rates = measure_logging(config, max(arguments.steps, 1), max(arguments.rounds, 1))
    off, on = (statistics.median(rates[name]) for name in ("off", "on"))
    cost = 1 / on - 1 / off
    every = config.log_every
    print(f"{off:.3g} steps/s without logging, {on:.3g} with every step logged, {on / off:.1%} of it")
    print(f"{cost * 1e3:.1f} ms per logged step; with config.log_every {every}: {1 / (1 + cost / every * off):.2%}")
    print(f"medians of {len(rates['on'])} rounds of {max(arguments.steps, 1)} steps each, taken in turns")
