r"""Adds Himawari-8 without its green band (15 bands) to a trained spectral flow: its mask and adapter, nothing else.

The network and all that the run knew stay as they are; no step is taken.

    python -m satxlate_jax train --config=configs/add_h8_15_flow.py --workdir=RUN2 \
        --config.init_from=RUN --config.data.dir=DATA
"""

from ml_collections import ConfigDict

from configs.base_flow import get_config as base_config
from configs.default import ordered

NEW = "H8_15"


def get_config() -> ConfigDict:
    """The three-satellite configuration with a fourth that is new."""
    config = base_config()
    bands = {name: config.data.satellites[name] for name in ("G16", "G17", "H8")}
    config.data.satellites = ordered(**bands, **{NEW: (1, *range(3, 17))})
    config.data.streams = ("G16", "G17", "H8")
    config.steps = 0
    return config
