"""The published experiment that withholds one band of GOES-16 from the three-satellite model and synthesises it.

The argument is the zero-based band, 0 to 15, as the paper counts them; `0` also lets the 1.61 um band (ABI and AHI
band 5) skip the latent space, as published.

    python -m satxlate_jax train --config=configs/drop_band.py:12 --workdir=RUN --config.data.dir=DATA
"""

from ml_collections import ConfigDict

from configs.base_g16g17h8 import get_config as base_config
from configs.default import bands_without


def get_config(band: str = "0") -> ConfigDict:
    """The three-satellite configuration without one band of G16 (zero-based)."""
    config = base_config()
    config.data.satellites.G16 = bands_without(band)
    if int(band) == 0:
        config.generator.skip_connection = 5
    return config
