"""The demo's three satellites on simulated tiles, by the spectral flow: two CPU cores, minutes.

The published family in as short a time is configs/demo_vae_gan.py.

    python -m satxlate_jax demo --output DIR
"""

from ml_collections import ConfigDict

from configs.base_flow import get_config as base_config


def get_config() -> ConfigDict:
    """The three-satellite configuration, as it is but for its length."""
    config = base_config()
    config.steps = config.optimizer.decay_every = 200
    config.checkpoint_every = 100
    config.image_every = config.histogram_every = config.validate_every = 100
    config.validation_batches = 2
    return config
