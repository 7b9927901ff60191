"""`satxlate bench NAME`: how fast a part of the work is on this machine. Each benchmark lives with its wing."""

import sys
from importlib import import_module

from satxlate_jax.cli import InputError

# name -> (module with main(argv), what it measures)
BENCHMARKS = {
    "build": ("satxlate_jax.benchmarks.build", "tiles and patches per second that `tfds build` prepares"),
    "train": ("satxlate_jax.benchmarks.train", "steps per second, set against this machine's convolutions"),
    "logging": ("satxlate_jax.benchmarks.logging", "what logging every step costs"),
    "satellites": ("satxlate_jax.benchmarks.satellites", "what a step costs as satellites are added"),
    "input": ("satxlate_jax.benchmarks.input", "patches per second that training reads"),
}


def main(argv: list[str]) -> int | None:
    """Runs one benchmark.

    Raises:
      InputError: there is no such benchmark.
    """
    names = "\n".join(f"  {name:<10} {text}" for name, (_, text) in BENCHMARKS.items())
    if argv and argv[0] in ("-h", "--help"):
        print(f"usage: satxlate bench NAME ...\n\n{__doc__}\n\nbenchmarks (each has --help):\n{names}")
        return 0
    if not argv or argv[0] not in BENCHMARKS:
        given = f"unknown benchmark '{argv[0]}'" if argv else "name a benchmark"
        raise InputError(f"{given}; there are {', '.join(BENCHMARKS)}")
    sys.stdout.flush()
    return import_module(BENCHMARKS[argv[0]][0]).main(argv[1:])
