"""`satxlate train`; jax and all that trains are imported after a mistake in the options has been told.

python -m satxlate_jax train --config=configs/base_g16g17.py --workdir=RUN [--config.data.dir=DATA ...]
"""

import argparse
import os
import shlex
from collections.abc import Sequence

from satxlate_jax.cli import CommandParser, user_path


def add_distributed_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which of several processes this one is; `sharding.start` takes them."""
    group = parser.add_argument_group("several processes (the same command in each)")
    group.add_argument(
        "--distributed",
        action="store_true",
        help="find the other processes by itself: Cloud TPU pods, GKE, Slurm, Open MPI",
    )
    for name, kind, metavar, variable, text in (
        ("coordinator", str, "HOST:PORT", "JAX_COORDINATOR_ADDRESS", "where process 0 listens"),
        ("num_processes", int, "N", "JAX_NUM_PROCESSES", "how many processes there are"),
        ("process_id", int, "I", "JAX_PROCESS_ID", "which one this is, 0 to N - 1"),
    ):
        default, text = os.environ.get(variable), f"{text} (default: {variable})"
        group.add_argument(f"--{name}", type=kind, default=default, metavar=metavar, help=text)


def _parse_steps(text: str) -> range:
    first, _, end = text.partition("-")
    if not (first.isdecimal() and end.isdecimal() and int(first) < int(end)):
        raise argparse.ArgumentTypeError(f"'{text}' is no range of steps such as 100-105")
    return range(int(first), int(end))


def main(argv: Sequence[str]) -> int:
    """Run the subcommand `train`."""
    parser = CommandParser(
        prog="satxlate train",
        description="Train a translator, or continue a run: the same command does both.",
        epilog="--config=FILE.py names the configuration; --config.FIELD=VALUE overrides any field of it, for example "
        "--config.data.dir=DATA --config.steps=1000 (configs/default.py lists and explains them all).",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--workdir", type=user_path, required=True, metavar="RUN", help="folder for checkpoints and TensorBoard events")
    add("--profile", type=_parse_steps, default=range(0), metavar="A-B", help="write a profiler's trace of those steps")
    add("--allow_other_data", action="store_true", help="continue a run on other data than those it began with")
    add_distributed_arguments(parser)
    arguments, words = parser.parse_known_args(argv)

    import jax

    from satxlate_jax.atomic import PlainPath
    from satxlate_jax.training import sharding
    from satxlate_jax.training.config import load_config
    from satxlate_jax.training.loop import train

    config = load_config(words)
    sharding.start(arguments)
    with sharding.exiting_at_once():
        step = train(config, arguments.workdir, arguments.profile, arguments.allow_other_data)
    if jax.process_index() == 0:
        again = shlex.join(["python", "-m", "satxlate_jax", "train", *argv])
        checkpoint = PlainPath(arguments.workdir) / "checkpoints" / str(step)
        if step < config.steps:
            print(f"stopped as asked after step {step} of {config.steps}, saved in {checkpoint}; to continue: {again}")
        else:
            most = max(reversed(list(config.data.satellites)), key=lambda name: len(config.data.satellites[name]))
            run = shlex.quote(arguments.workdir)
            print(f"the run has all its {step} steps; the checkpoint is {checkpoint}")
            print(f"next: python -m satxlate_jax translate --checkpoint {run} --to {most} INPUT... --output OUT")
    return 0
