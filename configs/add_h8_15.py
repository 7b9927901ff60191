"""Adds a satellite to a trained model: Himawari-8 without its green band (15 bands), as published.

Everything the generator knew stays as it was, bit for bit; only the new satellite's encoder, decoder and discriminator,
and Himawari-8's discriminator, are trained, on Himawari-8's own data.

    python -m satxlate_jax train --config=configs/add_h8_15.py --workdir=RUN2 \
        --config.init_from=RUN --config.data.dir=DATA

For another satellite copy this file: add it to `satellites`, name its companions in `streams`, and put its name into
the rule of `freeze`.
"""

from ml_collections import ConfigDict

from configs.base_g16g17h8 import get_config as base_config
from configs.default import ordered

NEW = "H8_15"


def get_config() -> ConfigDict:
    """The three-satellite configuration with a fourth that is new."""
    config = base_config()
    bands = {name: config.data.satellites[name] for name in ("G16", "G17", "H8")}
    config.data.satellites = ordered(**bands, **{NEW: (1, *range(3, 17))})
    config.data.streams = ("H8", NEW)
    config.freeze = (rf"generator/(?!(encoders|decoders)/{NEW}/)",)
    config.optimizer.decay_rate = 1.0  # as released: the learning rate stays
    return config
