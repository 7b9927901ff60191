"""The covariance of a satellite's bands at each scale: how likely measurements are, and what some tell of the others.

At each scale the wavelet coefficients of all bands are Gaussian with one covariance, fitted in closed form to the
training's images. The square of a coefficient over its variance given the other bands, in bits beyond the training's
average, tells how unusual it is. The conditional mean and variance infer any bands from any others.

For surprise every scale counts once at a pixel. With the likelihood's own weights the finest scale would make up three
quarters of the sum and hide a wrong calibration; by pixels alone, noise of one band would be hidden (measured on
simulated faults).
"""

import jax
import jax.numpy as jnp
import numpy as np

from satxlate_jax.models import wavelet
from satxlate_jax.models.network import Params


def surprise(usual: Params, y: jax.Array, levels: int) -> jax.Array:
    """How unusual each pixel of each channel is, given the satellite's others there: bits [batch, h, w, channel].

    Summed over the scales; 0 on average over the training's images. `usual` holds 'mean' [channel] and 'precision'
    [subband, channel, channel] of the satellite; y [batch, h, w, channel] is on the wavelength axis.
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


def condition(usual: Params, given: np.ndarray) -> Params:
    """What given channels (bool) tell of a satellite's other coefficients, at each scale: the part that `infer` takes.

    `usual` is as of `surprise`, with a 'factor' [channel] of the standard deviations. The part has 'mean' [channel],
    'gains' [subband, channel, channel], from given coefficients to all, and 'std' [subband, channel]; given channels
    pass.
    """
    precision, known, lost = np.asarray(usual["precision"], np.float64), np.flatnonzero(given), np.flatnonzero(~given)
    inverse = np.linalg.inv(precision[:, lost[:, None], lost])
    gains, std = np.zeros_like(precision), np.zeros(precision.shape[:2])
    gains[:, known, known] = 1
    gains[:, known[:, None], lost] = -np.swapaxes(inverse @ precision[:, lost[:, None], known], 1, 2)
    std[:, lost] = np.sqrt(np.einsum("smm->sm", inverse))
    return {"mean": usual["mean"], "gains": gains, "std": std * np.asarray(usual["factor"])}


def correlate(usual: Params, z: jax.Array, lost: np.ndarray, levels: int, *, inverse: bool = False) -> jax.Array:
    """Independent unit Gaussian coefficients, made to depend on each other as those of lost channels do; or undone.

    Args:
      usual: 'precision' of the satellite, as of `surprise`; where it is all zero, nothing is changed.
      z: [batch, h, w, channel].
      lost: numbers of the channels that are to depend on each other, given the satellite's others.
      levels: of the wavelet.
      inverse: make dependent ones independent.
    """
    precision = usual["precision"][:, lost[:, None], lost].astype(z.dtype)
    covariance = jnp.linalg.inv(jnp.where(precision.any(), precision, jnp.eye(lost.size, dtype=z.dtype)))
    factors = jnp.linalg.cholesky(covariance)
    factors = factors / jnp.linalg.norm(factors, axis=-1, keepdims=True)
    if inverse:
        factors = jnp.linalg.inv(factors)
    for band, factor in zip(wavelet.subbands(z.shape[1:3], levels), factors, strict=True):
        part = jnp.matmul(z[:, band.rows, band.columns][..., lost], factor.T, precision="highest")
        z = z.at[:, band.rows, band.columns, lost].set(part)
    return z


def infer(part: Params, y: jax.Array, levels: int, z: jax.Array | float = 0.0) -> tuple[jax.Array, jax.Array]:
    """The mean and the standard deviation [batch, h, w, channel] of images of which some channels are given.

    `part` is that of `condition`; channels of y that are not given do not count. Gaussian coefficients `z` of y's shape
    make a sample in the mean's place.
    """
    x, deviation = wavelet.transform(y - part["mean"], levels), jnp.zeros_like(y)
    for band, gain, std in zip(wavelet.subbands(y.shape[1:3], levels), part["gains"], part["std"], strict=True):
        x = x.at[:, band.rows, band.columns].set(jnp.matmul(x[:, band.rows, band.columns], gain, precision="highest"))
        deviation = deviation.at[:, band.rows, band.columns].set(std)
    variance = wavelet.pixel_variance(deviation**2, levels)
    return wavelet.inverse(x + deviation * z, levels) + part["mean"], jnp.sqrt(variance)
