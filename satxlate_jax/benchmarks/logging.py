"""`satxlate bench logging`: what logging every step costs, compared with no logging.

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

from tqdm import tqdm

from satxlate_jax.atomic import PlainPath
from satxlate_jax.benchmarks import config_parser
from satxlate_jax.benchmarks.train import load_step, lower_step
from satxlate_jax.cli import at_least
from satxlate_jax.training import sharding
from satxlate_jax.training.config import load_config
from satxlate_jax.training.loop import Progress
from satxlate_jax.training.monitoring import Monitor


def measure_logging(config: Any, steps: int, rounds: int) -> tuple[float, float]:
    """Median steps per second without and with TensorBoard, of rounds taken in turns; the first is not counted."""
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


def main(argv: Sequence[str]) -> None:
    """Runs the benchmark."""
    parser = config_parser("bench logging", __doc__)
    parser.add_argument("--steps", type=at_least(1), default=20, help="in each round (default %(default)s)")
    parser.add_argument("--rounds", type=at_least(1), default=7, help="of each kind (default %(default)s)")
    arguments, words = parser.parse_known_args(argv)
    config = load_config(words)
    off, on = measure_logging(config, arguments.steps, arguments.rounds)
    cost, every = 1 / on - 1 / off, config.log_every
    print(f"{off:.3g} steps/s without logging, {on:.3g} with every step logged, {on / off:.1%} of it")
    print(f"{cost * 1e3:.1f} ms per logged step; with config.log_every {every}: {1 / (1 + cost / every * off):.2%}")
    print(f"medians of {arguments.rounds} rounds of {arguments.steps} steps each, taken in turns")
