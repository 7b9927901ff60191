"""GOES-16, GOES-17 and Himawari-8, all bands: the spectral flow, which is what to begin with.

Each satellite's bands pass to the others unchanged; what one lacks (the green band 0.51 um of ABI, the cirrus band 1.38
um of AHI) is inferred with its standard deviation. Minutes on a CPU; docs/results.md says how it compares with the
published method (configs/base_g16g17h8.py).

    tfds build datasets/geonex_l1g --config=G16 --manual_dir=L1G --data_dir=DATA      (and G17, H8)
    python -m satxlate_jax train --config=configs/base_flow.py --workdir=RUN --config.data.dir=DATA
"""

from ml_collections import ConfigDict

from configs.default import ALL_BANDS, ordered
from configs.default import get_config as default_config


def use_flow(config: ConfigDict, steps: int = 300) -> ConfigDict:
    """Turn a configuration into one of the spectral flow, with its recipe (measured on tiles and days left out)."""
    config.generator.family = "spectral_flow"
    config.steps = config.optimizer.decay_every = steps
    config.batch_size = 6
    config.data.augment = True
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 4e-3
    config.optimizer.beta1 = 0.9
    config.optimizer.weight_decay = 0.01
    config.optimizer.warmup_steps = 30
    config.optimizer.decay_rate = 0.02
    config.optimizer.clip_norm = 1.0
    config.optimizer.ema_decay = 0.98
    config.log_every = 10
    config.checkpoint_every = 100
    config.image_every = config.histogram_every = config.validate_every = 100
    return config


def get_config() -> ConfigDict:
    """Three satellites with all their bands."""
    config = use_flow(default_config())
    config.data.satellites = ordered(G16=ALL_BANDS, G17=ALL_BANDS, H8=ALL_BANDS)
    return config
