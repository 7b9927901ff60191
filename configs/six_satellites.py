"""All six supported GOES and Himawari satellites at once, all 16 bands each.

The terms between satellites look at all 36 pairs in each step; launch/README.md has the figures.

    tfds build datasets/geonex_l1g --config=G16 --manual_dir=L1G --data_dir=DATA      (and the other five)
    python -m satxlate_jax train --config=configs/six_satellites.py --workdir=RUN --config.data.dir=DATA
"""

from ml_collections import ConfigDict

from configs.default import ALL_BANDS, ordered
from configs.default import get_config as default_config

SATELLITES = ("G16", "G17", "G18", "G19", "H8", "H9")


def get_config() -> ConfigDict:
    """The published networks and weights, for six satellites."""
    config = default_config()
    config.data.satellites = ordered(**dict.fromkeys(SATELLITES, ALL_BANDS))
    config.objective.discriminator_fakes = "shared"
    return config
