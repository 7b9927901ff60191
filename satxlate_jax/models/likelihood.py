"""The likelihood of what was measured: Gaussian wavelet coefficients of a satellite's bands, each given the others.

At each scale the coefficients of all bands share one covariance, fitted in closed form to the training's images. A
coefficient's square over its conditional variance, in bits beyond what the training has on average, tells how unusual
it is. Every scale counts once at a pixel: by the likelihood's own weights the finest would hold three quarters of all
and hide a wrong calibration, by pixels alone noise of one band would be hidden (measured on simulated faults).
"""

import jax
import jax.numpy as jnp
import numpy as np

from satxlate_jax.models import wavelet
from satxlate_jax.models.network import Params


def surprise(usual: Params, y: jax.Array, levels: int) -> jax.Array:
    """How unusual each pixel of each channel is, given the satellite's others there.

    Args:
      usual: 'mean' [channel] and 'precision' [subband, channel, channel] of the satellite.
      y: [batch, h, w, channel] on the wavelength axis.
      levels: of the wavelet.

    Returns:
      Bits [batch, h, w, channel], summed over the scales; 0 on average over the training's images.
    """
    height, width = y.shape[1:3]
    coefficients, total = wavelet.transform(y - usual["mean"], levels), jnp.zeros_like(y)
    for band, precision in zip(wavelet.subbands((height, width), levels), usual["precision"], strict=True):
        part = coefficients[:, band.rows, band.columns]
        if part.size:
            squares = jnp.matmul(part, precision, precision="highest") ** 2 / jnp.diag(precision)
            bits, size = (squares - 1) / (2 * np.log(2)), 2 ** min(band.level + 1, levels)
            pixels = zip((height, width), part.shape[1:3], strict=True)
            rows, columns = (np.minimum(np.arange(n) // size, m - 1) for n, m in pixels)
            total += bits[:, rows][:, :, columns] / (1 if band.level == levels else 3)
    return total
