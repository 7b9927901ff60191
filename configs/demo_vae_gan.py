"""The published family on the demo's three satellites, small enough for two CPU cores in minutes.

python -m satxlate_jax train --config=configs/demo_vae_gan.py --workdir=RUN --config.data.dir=DIR/data
"""

from ml_collections import ConfigDict

from configs.base_g16g17h8 import get_config as base_config


def get_config() -> ConfigDict:
    """The three-satellite configuration, narrow and short."""
    config = base_config()
    config.steps = 300
    config.checkpoint_every = 100
    config.log_every = 10
    config.image_every = config.histogram_every = config.validate_every = 100
    config.validation_batches = 2
    config.batch_size = 4
    config.generator.dim = config.discriminator.dim = 16
    config.generator.n_res = 1
    config.optimizer.learning_rate = 1e-3  # a short run; the published 1e-4 is for 200,000 steps
    config.objective.discriminator_fakes = "shared"
    return config
