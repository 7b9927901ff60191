"""The band-drop experiment, small enough for two CPU cores: GOES-16 without one band, GOES-17 with all.

The argument is the zero-based band that is hidden, 0 to 15. Beyond the published objective it uses the spectral path
and measured cycles. `compare` puts the scores of the sixteen runs into one table.

    python -m satxlate_jax train --config=configs/drop_band_small.py:12 --workdir=RUN --config.data.dir=DATA
"""

from ml_collections import ConfigDict

from configs.default import ALL_BANDS, bands_without, ordered
from configs.default import get_config as default_config


def get_config(band: str = "0") -> ConfigDict:
    """Two satellites and a small network, without one band of G16 (zero-based)."""
    config = default_config()
    config.data.satellites = ordered(G16=bands_without(band), G17=ALL_BANDS)
    config.batch_size = 4
    config.steps = 100
    config.checkpoint_every = 50
    config.log_every = 10
    config.image_every = config.histogram_every = config.validate_every = 100
    config.data.augment = True
    config.generator.dim = config.discriminator.dim = 8
    config.generator.n_res = 1
    # The path is a regression on bands and their products and a small network per pixel, fitted before training; the
    # networks learn the rest. It stays as fitted: products of bands must not be steered by large gradients.
    config.generator.spectral_path = "quadratic"
    config.generator.spectral_hidden = 48
    config.freeze = ("generator/.*/spectral/",)
    config.objective.recon_measured_w = 10.0
    config.objective.gan_w = 0.02
    config.objective.discriminator_fakes = "shared"
    config.optimizer.learning_rate = 5e-4
    config.optimizer.ema_decay = 0.97
    config.optimizer.decay_every = 40
    config.optimizer.clip_norm = 1.0
    return config
