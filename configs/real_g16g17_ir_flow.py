"""Real GOES-16 and GOES-17 tiles with unequal thermal bands, by the spectral flow: 3.9 and 9.6 um for GOES-17.

As configs/real_g16g17_ir.py in all but the family; docs/results.md has the scores and commands. With the argument
`sun` GOES-17 also gives band 6 (2.25 um), from which sunlight at 3.9 um follows (a data set G17_ir_sun with that band).

    python -m satxlate_jax train --config=configs/real_g16g17_ir_flow.py --workdir=RUN --config.data.dir=DATA
"""

from ml_collections import ConfigDict

from configs.base_flow import use_flow
from configs.default import get_config as default_config
from configs.default import ordered


def get_config(variant: str = "") -> ConfigDict:
    """Two satellites with unequal bands, and data sets built with `split_by: tile`."""
    config = use_flow(default_config(), 200)
    sun = variant == "sun"
    config.data.satellites = ordered(G16=(7, 8, 9, 10, 12, 16), G17=(*(6,) * sun, 8, 9, 10, 16))
    config.data.datasets = ConfigDict({"G16": "G16_ir", "G17": "G17_ir_sun" if sun else "G17_ir"})
    return config
