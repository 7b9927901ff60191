"""The published three-satellite model: GOES-16, GOES-17 and Himawari-8, all 16 bands each (Vandal et al., TGRS 2021).

200,000 steps of 8 patches of 64 x 64 pixels per satellite.

    python -m satxlate_jax train --config=configs/base_g16g17h8.py --workdir=RUN --config.data.dir=DATA
"""

from ml_collections import ConfigDict

from configs.default import ALL_BANDS, ordered
from configs.default import get_config as default_config


def get_config() -> ConfigDict:
    """The two-satellite configuration with Himawari-8 added."""
    config = default_config()
    config.data.satellites = ordered(G16=ALL_BANDS, G17=ALL_BANDS, H8=ALL_BANDS)
    return config
