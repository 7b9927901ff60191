"""One pure function per loss term; how they are combined is objective.py's business."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

GAN_TYPES = ("lsgan", "nsgan")


def _widened(x: jax.Array) -> jax.Array:
    """Losses are never computed in bfloat16."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def mean_squared_error(first: jax.Array, second: jax.Array) -> jax.Array:
    """Mean over all elements of the squared difference of two arrays of the same shape; a scalar."""
    return jnp.mean(jnp.square(_widened(first) - _widened(second)))


def mean_square(z: jax.Array) -> jax.Array:
    """Mean over all elements of z squared: twice the Kullback-Leibler term of a unit-variance Gaussian at z."""
    return jnp.mean(jnp.square(_widened(z)))


def _adversarial(score: jax.Array, is_real: bool, gan_type: str) -> jax.Array:
    """Mean distance of scores [batch, h, w, 1] from the label of real (1) or generated (0)."""
    if gan_type == "lsgan":
        return jnp.mean(jnp.square(score - (1.0 if is_real else 0.0)))
    return jnp.mean(jax.nn.softplus(-score if is_real else score))  # cross entropy of sigmoid(score)


def generator_adversarial(fake_scores: Sequence[jax.Array], gan_type: str) -> jax.Array:
    """How far generated images are from passing as real, summed over scales.

    Args:
      fake_scores: one [batch, h, w, 1] per scale.
      gan_type: 'lsgan' (least squares, Mao et al. 2017) | 'nsgan' (non-saturating, Goodfellow et al. 2014).
    """
    return sum(_adversarial(score, True, gan_type) for score in fake_scores)


def discriminator_adversarial(
    fake_scores: Sequence[jax.Array], real_scores: Sequence[jax.Array], gan_type: str
) -> jax.Array:
    """How badly the discriminator tells generated from real images, summed over scales; arguments as above."""
    return sum(
        _adversarial(fake, False, gan_type) + _adversarial(real, True, gan_type)
        for fake, real in zip(fake_scores, real_scores, strict=True)
    )
