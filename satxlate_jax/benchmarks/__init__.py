"""`satxlate bench NAME`: developer benchmarks: how fast parts run on this machine, and how well."""

from collections.abc import Sequence
from importlib import import_module

from satxlate_jax.cli import CommandParser, InputError, take_config

# name -> (module and function that takes its options, description)
BENCHMARKS = {
    "evaluate": ("evaluate.main", "seconds to score a pair of files, set against reading and translating it"),
    "build": ("build.main", "tiles and patches per second that `tfds build` prepares"),
    "train": ("train.main", "steps per second, set against this machine's convolutions"),
    "logging": ("train.main_logging", "what logging every step costs"),
    "satellites": ("growth.main_satellites", "what a step costs as satellites are added"),
    "growth": ("growth.main", "how costs grow with archive, image and satellites"),
    "input": ("input.main", "patches per second that training reads"),
    "repair": ("repair.main", "errors of repaired bands, beside regressions and interpolation"),
    "torch": ("beside_torch.main", "the same step in PyTorch, in turn with ours"),
    "gpu": ("beside_torch.main_gpu", "all of it on one GPU beside PyTorch, as one table"),
    "translate": ("translate.main", "tiles per second of each stage of translating, and of all together"),
}


def main(argv: Sequence[str]) -> int | None:
    """Run one benchmark."""
    names = "\n".join(f"  {name:<10} {text}" for name, (_, text) in BENCHMARKS.items())
    if argv and argv[0] in ("-h", "--help"):
        print(f"usage: satxlate bench NAME ...\n\n{__doc__}\n\nbenchmarks (each has --help):\n{names}")
        return 0
    if not argv or argv[0] not in BENCHMARKS:
        given = f"unknown benchmark '{argv[0]}'" if argv else "name a benchmark"
        raise InputError(f"{given}; there are {', '.join(BENCHMARKS)}")
    module, function = BENCHMARKS[argv[0]][0].split(".")
    return getattr(import_module(f"{__name__}.{module}"), function)(argv[1:])


def bench_parser(name: str, description: str | None, *, config: bool = False) -> CommandParser:
    """The parser of a benchmark, which may take a training configuration as `satxlate train` does."""
    parser = CommandParser(prog=f"satxlate bench {name}", description=description)
    if config:
        take_config(parser)
    return parser
