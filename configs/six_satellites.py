"""All six supported GOES and Himawari satellites at once, all 16 bands each, by the spectral flow.

One network serves them all: a step costs as much for each satellite as with two of them.

    tfds build datasets/geonex_l1g --config=G16 --manual_dir=L1G --data_dir=DATA      (and the other five)
    python -m satxlate_jax train --config=configs/six_satellites.py --workdir=RUN --config.data.dir=DATA
"""

from ml_collections import ConfigDict

from configs.base_flow import use_flow
from configs.default import ALL_BANDS, ordered
from configs.default import get_config as default_config

SATELLITES = ("G16", "G17", "G18", "G19", "H8", "H9")


def get_config() -> ConfigDict:
    """The recipe of configs/base_flow.py for six satellites."""
    config = use_flow(default_config())
    config.data.satellites = ordered(**dict.fromkeys(SATELLITES, ALL_BANDS))
    return config
