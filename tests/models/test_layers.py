"""Blocks for which the release has no numbers, against formulas and scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.ndimage import correlate

from satxlate_jax.models.layers import (
    INITIALIZERS,
    Activation,
    ConvBlock,
    Norm,
    add_bias,
    average_pool,
)
from satxlate_jax.models.translator import Translator

SCIPY_MODES = {"zero": "constant", "reflect": "mirror", "replicate": "nearest"}


@pytest.mark.parametrize("padding", SCIPY_MODES)
def test_padding_is_that_of_scipy(padding):
    block = ConvBlock(2, 3, 3, pad=1, padding=padding, initialization="kaiming", dtype=None, rngs=nnx.Rngs(0))
    x = np.random.default_rng(0).standard_normal((1, 6, 5, 2)).astype(np.float32)
    kernel = np.asarray(block.conv.kernel[...])
    expected = sum(
        np.stack([correlate(x[0, ..., i], kernel[:, :, i, o], mode=SCIPY_MODES[padding]) for o in range(3)], -1)
        for i in range(2)
    )
    np.testing.assert_allclose(block(jnp.asarray(x))[0], expected, atol=1e-5)


# name -> standard deviation of a 3x3 kernel from 32 to 64 channels (fan-in 288, fan-out 576)
DEVIATIONS = {
    "gaussian": 0.02,
    "kaiming": np.sqrt(2 / 288),
    "xavier": np.sqrt(2) * np.sqrt(2 / (288 + 576)),
    "default": 1 / np.sqrt(288) / np.sqrt(3),
}


@pytest.mark.parametrize("name", DEVIATIONS)
def test_spread_of_initial_kernels(name):
    kernel = np.asarray(INITIALIZERS[name](jax.random.key(0), (3, 3, 32, 64), jnp.float32))
    assert kernel.std() == pytest.approx(DEVIATIONS[name], rel=0.02)
    assert abs(kernel.mean()) < 0.02 * kernel.std() * 3
    if name == "default":
        assert np.abs(kernel).max() <= 1 / np.sqrt(288)


def test_orthogonal_kernels_are_orthogonal():
    kernel = np.asarray(INITIALIZERS["orthogonal"](jax.random.key(0), (3, 3, 8, 16), jnp.float32)).reshape(72, 16)
    np.testing.assert_allclose(kernel.T @ kernel, 2 * np.eye(16), atol=1e-5)


def test_biases_start_at_zero_and_slopes_at_a_quarter():
    settings = {"dim": 4, "n_downsample": 1, "n_res": 1, "activation": "prelu", "padding": "replicate"}
    params = Translator(settings, {"G16": (1, 7)}, initialization="orthogonal").init(jax.random.key(0))
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if name.endswith("conv/bias"):
            assert not leaf.any(), name
        if name.endswith("slope"):
            assert (leaf == 0.25).all(), name


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("relu", lambda v: np.maximum(v, 0)),
        ("lrelu", lambda v: np.where(v > 0, v, 0.2 * v)),
        ("prelu", lambda v: np.where(v > 0, v, 0.25 * v)),
        ("selu", lambda v: 1.0507009873554805 * np.where(v > 0, v, 1.6732632423543772 * np.expm1(v))),
        ("tanh", np.tanh),
        ("none", lambda v: v),
    ],
)
def test_activations(name, formula):
    values = np.linspace(-3, 3, 13, dtype=np.float32)
    np.testing.assert_allclose(Activation(name)(jnp.asarray(values)), formula(values), atol=1e-6)


@pytest.mark.parametrize(("name", "axes", "ddof"), [("in", (1, 2), 0), ("bn", (0, 1, 2), 0), ("ln", (1, 2, 3), 1)])
def test_norms(name, axes, ddof):
    x = np.random.default_rng(0).normal(3, 2, (2, 4, 5, 3))
    deviation = x.std(axes, keepdims=True, ddof=ddof)
    below = deviation + 1e-5 if name == "ln" else np.sqrt(deviation**2 + 1e-5)
    expected = (x - x.mean(axes, keepdims=True)) / below
    np.testing.assert_allclose(Norm(name, 3)(jnp.asarray(x, jnp.float32)), expected, atol=1e-5)


@pytest.mark.parametrize("size", [(6, 8), (5, 7)])
def test_average_pool_counts_only_pixels_inside(size):
    x = np.random.default_rng(0).standard_normal((1, *size, 1))
    padded = np.pad(x[0, ..., 0], 1, constant_values=np.nan)
    rows, columns = -(-size[0] // 2), -(-size[1] // 2)
    expected = [[np.nanmean(padded[2 * r : 2 * r + 3, 2 * c : 2 * c + 3]) for c in range(columns)] for r in range(rows)]
    np.testing.assert_allclose(average_pool(jnp.asarray(x, jnp.float32))[0, ..., 0], expected, atol=1e-6)


@pytest.mark.parametrize("n_res", [0, 2])
@pytest.mark.parametrize("n_downsample", [0, 1, 2])
def test_shapes(n_downsample, n_res):
    """Any depth gives back the size it was given, for rectangular images and unequal bands."""
    settings = {"dim": 4, "n_downsample": n_downsample, "n_res": n_res, "activation": "selu", "padding": "reflect"}
    translator = Translator(settings, {"G16": (1, 7, 8), "H8": (2,)}, skips={"G16": (1,), "H8": (0,)})
    params = jax.eval_shape(translator.init, jax.random.key(0))

    def run(params, x):
        z = translator.encode(params, x, "G16")
        return z, translator.decode(params, z, "H8", translator.skip_channels(x, "G16"))

    z, y = jax.eval_shape(run, params, jax.ShapeDtypeStruct((2, 16, 24, 3), jnp.float32))
    factor = 2**n_downsample
    assert z.shape == (2, 16 // factor, 24 // factor, 4 * factor)
    assert y.shape == (2, 16, 24, 1)


def test_bfloat16_computes_narrow_and_answers_wide():
    settings = {"dim": 8, "n_downsample": 0, "n_res": 1, "activation": "lrelu", "padding": "zero"}
    translators = [
        Translator(settings, {"G16": (1, 7)}, initialization="kaiming", precision=precision)
        for precision in ("float32", "bfloat16")
    ]
    params = translators[0].init(jax.random.key(0))
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(translators[1].init(jax.random.key(0))))
    x = jax.random.normal(jax.random.key(1), (1, 8, 8, 2))
    wide, narrow = (translator.encode(params, x, "G16") for translator in translators)
    assert narrow.dtype == jnp.bfloat16
    assert translators[1].decode(params, narrow + 0.0, "G16").dtype == jnp.float32
    difference = float(jnp.abs(wide - narrow).max() / jnp.abs(wide).max())
    assert 1e-4 < difference < 5e-2


def test_the_gradient_of_a_bias_is_the_sum_over_pixels():
    x = jax.random.normal(jax.random.key(0), (3, 6, 5, 4))
    weights = np.random.default_rng(0).standard_normal(x.shape).astype(np.float32)
    gradients = jax.jit(jax.grad(lambda x, bias: jnp.sum(add_bias(x, bias) * weights), argnums=(0, 1)))(x, jnp.ones(4))
    np.testing.assert_array_equal(gradients[0], weights)
    np.testing.assert_allclose(gradients[1], weights.sum((0, 1, 2), dtype=np.float64), atol=1e-5)
    np.testing.assert_array_equal(add_bias(x, jnp.arange(4.0)), x + jnp.arange(4.0))
