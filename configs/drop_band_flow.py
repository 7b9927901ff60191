"""The band-drop experiment by the spectral flow, all sixteen in one run: GOES-16 without one band, GOES-17 with all.

GOES-16 without band N is the domain G16_noN (1 to 16); only GOES-17 sends images; every pattern is fitted on them.
With an argument, the zero-based band that is withheld (0 to 15), only that one.

    python -m satxlate_jax train --config=configs/drop_band_flow.py --workdir=RUN --config.data.dir=DATA
"""

from ml_collections import ConfigDict

from configs.base_flow import use_flow
from configs.default import ALL_BANDS, bands_without, ordered
from configs.default import get_config as default_config


def get_config(band: str = "") -> ConfigDict:
    """Seventeen domains of two satellites, or two of them."""
    config = use_flow(default_config(), 300 if band else 2_000)
    chosen = [int(band)] if band else range(16)
    domains = {f"G16_no{number + 1}": bands_without(str(number)) for number in chosen}
    config.data.satellites = ordered(**domains, G17=ALL_BANDS)
    config.data.streams = ("G17",)
    config.checkpoint_every = config.image_every = config.histogram_every = config.validate_every = config.steps
    return config
