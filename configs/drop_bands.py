"""The published experiment that keeps only N bands of GOES-16 and drops the rest in the published order.

The argument is how many are left, 1 to 16.

    python -m satxlate_jax train --config=configs/drop_bands.py:4 --workdir=RUN --config.data.dir=DATA
"""

from ml_collections import ConfigDict

from configs.base_g16g17h8 import get_config as base_config
from configs.default import ALL_BANDS

# zero-based, the first to go first; band 0 is never dropped
ORDER = (8, 3, 12, 1, 14, 11, 5, 2, 9, 7, 13, 4, 10, 6, 15)


def get_config(left: str = "16") -> ConfigDict:
    """The three-satellite configuration with `left` bands of G16."""
    count = int(left)
    if count not in range(1, 17):
        raise ValueError(f"drop_bands takes how many bands are left, 1 to 16, not {left}")
    dropped = {index + 1 for index in ORDER[: 16 - count]}
    config = base_config()
    config.data.satellites.G16 = tuple(number for number in ALL_BANDS if number not in dropped)
    return config
