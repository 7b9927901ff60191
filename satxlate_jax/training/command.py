"""`satxlate train`.

python -m satxlate_jax train --config=configs/base_g16g17.py --workdir=RUN [--config.data.dir=DATA ...]
"""

import argparse
import shlex

import jax

from satxlate_jax.atomic import PlainPath
from satxlate_jax.training import sharding
from satxlate_jax.training.config import load_config
from satxlate_jax.training.loop import train


def main(options: argparse.Namespace) -> int:
    """Run the subcommand `train`."""
    config = load_config(options.config)
    sharding.start(options)
    with sharding.exiting_at_once():
        step = train(config, options.workdir, options.profile, options.allow_other_data)
    if jax.process_index() == 0:
        again = shlex.join(["python", "-m", "satxlate_jax", "train", *options.words])
        checkpoint = PlainPath(options.workdir) / "checkpoints" / str(step)
        if step < config.steps:
            print(f"stopped as asked after step {step} of {config.steps}, saved in {checkpoint}; to continue: {again}")
        else:
            most = max(reversed(list(config.data.satellites)), key=lambda name: len(config.data.satellites[name]))
            run = shlex.quote(options.workdir)
            print(f"the run has all its {step} steps; the checkpoint is {checkpoint}")
            print(f"next: python -m satxlate_jax translate --checkpoint {run} --to {most} INPUT... --output OUT")
    return 0
