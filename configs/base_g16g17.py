"""The published two-satellite model: GOES-16 and GOES-17, all 16 bands each (Vandal et al., TGRS 2021).

200,000 steps of 8 patches of 64 x 64 pixels per satellite. The paper trained it on four GPUs; what it scores on this
code is not known yet: nobody has had the archive and the machine together.

    tfds build datasets/geonex_l1g --config=G16 --manual_dir=L1G --data_dir=DATA      (and G17)
    python -m satxlate_jax train --config=configs/base_g16g17.py --workdir=RUN --config.data.dir=DATA
"""

from ml_collections import ConfigDict

from configs.default import get_config as default_config


def get_config() -> ConfigDict:
    """configs/default.py as it stands."""
    return default_config()
