"""Real GOES-16 and GOES-17 tiles with unequal thermal bands: synthesises 3.9 and 9.6 um for GOES-17.

GOES-16 gives bands 7, 8, 9, 10, 12, 16 and GOES-17 only 8, 9, 10, 16 (the granules at hand have no more), so bands 7
and 12 of GOES-17 can be compared with what it measured elsewhere. docs/results.md has the scores and commands.

    python -m satxlate_jax train --config=configs/real_g16g17_ir.py --workdir=RUN --config.data.dir=DATA
"""

from ml_collections import ConfigDict

from configs.default import get_config as default_config
from configs.default import ordered


def get_config() -> ConfigDict:
    """Two satellites with unequal bands, a small network, and data sets built with `split_by: tile`."""
    config = default_config()
    config.data.satellites = ordered(G16=(7, 8, 9, 10, 12, 16), G17=(8, 9, 10, 16))
    config.data.datasets = ConfigDict({"G16": "G16_ir", "G17": "G17_ir"})
    config.steps = 100
    config.checkpoint_every = 50
    config.log_every = 10
    config.image_every = config.histogram_every = config.validate_every = 50
    config.data.augment = True  # there are some 500 patches only
    config.generator.dim = config.discriminator.dim = 16
    config.generator.n_res = 2
    config.optimizer.learning_rate = 1e-3  # a short run; the published 1e-4 is for 200,000 steps
    config.optimizer.ema_decay = 0.98
    # The satellites saw different scenes, whose distributions must not be made alike: little weight for their loss.
    config.objective.gan_w = 0.1
    # What the published objective leaves open: bands 7 and 12 from the bands that were measured.
    config.objective.recon_measured_w = 1.0
    config.generator.spectral_path = "copy"
    return config
