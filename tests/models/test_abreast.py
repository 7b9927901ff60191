"""Images side by side in the channels, and activations computed again: the same numbers as one by one and kept."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from satxlate_jax.cli import InputError
from satxlate_jax.models.abreast import pack, unpack
from satxlate_jax.training.assembly import build_train_step
from satxlate_jax.training.config import validate
from satxlate_jax.training.step import draw_noise
from tests import tiny_run

QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}  # to compile


def test_neighbours_come_side_by_side_and_apart_again():
    x = jnp.arange(4 * 2 * 3 * 5.0).reshape(4, 2, 3, 5)
    packed = pack(x, 2)
    assert packed.shape == (2, 2, 3, 10)
    np.testing.assert_array_equal(packed[1, ..., 4], x[2, ..., 2])  # channel 2 of the first image of the second pair
    np.testing.assert_array_equal(packed[1, ..., 5], x[3, ..., 2])
    np.testing.assert_array_equal(unpack(packed, 2), x)


def small_config(**fields):
    config = tiny_run.get_config()
    config.generator.skip_connection = 13
    config.generator.activation = "prelu"
    config.objective.recon_measured_w = 0.5
    config.objective.recon_kl_cyc_w = 0.1
    config.discriminator.num_scales = 2
    config.update_from_flattened_dict(fields)
    validate(config)
    return config


def losses_and_gradients(config):
    """Of both networks, by what the step itself differentiates: metrics, and Adam's first moments."""
    step = build_train_step(config)
    objective = step.objective
    params = [network.init(jax.random.key(1)) for network in (objective.translator, objective.discriminator)]
    state = step.init(*jax.tree.map(lambda leaf: 3 * leaf, params))
    batch = {
        name: jax.random.normal(jax.random.key(2), (4, 8, 8, len(bands)))
        for name, bands in config.data.satellites.items()
    }
    translator = objective.translator
    quiet = translator.latent_channels - translator.noisy_channels
    noise = draw_noise(jax.random.key(3), batch, 1, translator.noisy_channels, quiet)
    take = jax.jit(step.update, static_argnames="cycles", compiler_options=QUICK)
    state, metrics = take(state, batch, noise, noise, cycles=1)
    return metrics, (state.generator_optimizer["mu"], state.discriminator_optimizer["mu"])


@pytest.mark.parametrize(
    "how", [{"abreast": 2, "remat": True}, {"abreast": 4, "generator.spectral_path": "linear"}], ids=str
)
def test_losses_and_gradients_are_the_same(how):
    spectral = how.get("generator.spectral_path", "none")
    expected, expected_gradients = losses_and_gradients(small_config(**{"generator.spectral_path": spectral}))
    metrics, gradients = losses_and_gradients(small_config(**how))
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=2e-5, err_msg=name)
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(expected_gradients))
    for (path, value), ours in zip(
        jax.tree_util.tree_leaves_with_path(expected_gradients), jax.tree.leaves(gradients), strict=True
    ):
        scale = max(np.abs(value).max(), 1e-4 * largest)
        np.testing.assert_allclose(ours, value, rtol=0, atol=1e-4 * scale, err_msg=jax.tree_util.keystr(path))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"abreast": 3}, "config.batch_size 8 is not a multiple of config.abreast 3"),
        ({"abreast": 2, "generator.n_downsample": 1}, "needs config.generator.n_downsample 0"),
        ({"abreast": 2, "discriminator.norm": "ln"}, "needs config.discriminator.norm 'none' or 'in', not 'ln'"),
    ],
)
def test_what_cannot_go_side_by_side(fields, message):
    with pytest.raises(InputError, match=message):
        small_config(**fields)
