"""The wavelet against its published filters, its determinant, and exact inversion for images of any size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from satxlate_jax.models import wavelet


@pytest.mark.parametrize("shape", [(64, 64), (75, 300), (37, 1), (5, 33)])
def test_the_inverse_is_exact(shape):
    x = np.random.default_rng(0).normal(250, 30, (2, *shape, 3)).astype(np.float32)
    there_and_back = jax.jit(lambda x: wavelet.inverse(wavelet.transform(x, 5), 5))  # eagerly, hundreds of programs
    np.testing.assert_allclose(there_and_back(x), x, rtol=0, atol=3e-4)
    with jax.enable_x64(True):
        back = there_and_back(jnp.asarray(x, jnp.float64))
        np.testing.assert_allclose(back, x.astype(np.float64), rtol=0, atol=1e-12)


def test_filters_are_those_of_cdf_5_3():
    """Le Gall & Tabatabai 1988: analysis filters (-1, 2, 6, 2, -1) / 8 and (-1, 2, -1) / 2, by rows."""
    image = np.zeros((1, 16, 16, 1), np.float32)
    image[0, 8, 8] = 1
    along = np.asarray(jax.jit(wavelet.transform, static_argnums=1)(image, 1))[0, :, :, 0]
    low, high = np.zeros((2, 16))
    low[3:6], high[3:5] = [-1 / 8, 6 / 8, -1 / 8], [-1 / 2, -1 / 2]  # at even places; the impulse's place is even
    expected = np.concatenate([low[:8], high[:8]])
    np.testing.assert_allclose(along, np.outer(expected, expected), atol=1e-6)


def test_the_determinant_is_one():
    jacobian = jax.jit(jax.jacobian(lambda v: wavelet.transform(v.reshape(1, 13, 11, 1), 3).ravel()))(jnp.zeros(143))
    sign, logarithm = np.linalg.slogdet(np.asarray(jacobian, np.float64))
    assert sign == 1 and abs(logarithm) < 1e-6


def test_pixel_variance_is_that_of_independent_coefficients_without_their_grid():
    size, levels = 96, 3
    inverse = jax.jacobian(lambda v: wavelet.inverse(v.reshape(1, size, 1, 1), levels).ravel())
    synthesis, pixel_variance = jax.jit(inverse)(jnp.zeros(size)), jax.jit(wavelet.pixel_variance, static_argnums=1)
    energies = np.asarray(synthesis, np.float64) ** 2  # of an image of one column; the other axis is alike
    inside = slice(24, -24)
    for band in wavelet.subbands((size, 1), levels):
        if band.columns.stop > band.columns.start:
            chosen = np.zeros(size)
            chosen[band.rows] = 2.0
            exact = (energies @ chosen)[inside]
            found = np.ravel(pixel_variance(jnp.asarray(chosen, jnp.float32).reshape(1, size, 1, 1), levels))
            np.testing.assert_allclose(found[inside], exact.mean(), rtol=1e-5)
            assert found.sum() == pytest.approx((energies @ chosen).sum(), rel=0.02)
    one = np.zeros((1, size, size, 1), np.float32)
    one[0, 5, 7] = 1  # a coarse coefficient, of every eighth pixel
    row, column = np.unravel_index(np.argmax(pixel_variance(jnp.asarray(one), levels)), one.shape)[1:3]
    assert abs(row - 40) <= 4 and abs(column - 56) <= 4


@pytest.mark.parametrize("side", [2, 4])
def test_variance_of_means_is_that_of_the_synthesis_functions_means(side):
    size, levels = 32, 2
    inverse = jax.jacobian(lambda v: wavelet.inverse(v.reshape(1, size, size, 1), levels).ravel())
    synthesis = np.asarray(jax.jit(inverse)(jnp.zeros(size**2)), np.float64).reshape(size, size, size**2)
    means = synthesis.reshape(size // side, side, size // side, side, size**2).mean((1, 3))
    for band in wavelet.subbands((size, size), levels):
        chosen = np.zeros((size, size), np.float32)
        chosen[band.rows, band.columns] = 2.0
        found = wavelet.pixel_variance(jnp.asarray(chosen)[..., None], levels, side)
        assert float(found.mean()) == pytest.approx((means**2 @ chosen.ravel()).mean(), rel=0.1, abs=1e-6), (
            band
        )  # edges are mirrored


def test_subbands_cover_every_coefficient_once():
    counts = np.zeros((37, 300), int)
    for band in wavelet.subbands((37, 300), 4):
        counts[band.rows, band.columns] += 1
    assert (counts == 1).all()
