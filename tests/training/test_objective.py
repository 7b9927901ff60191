"""The two variants of the objective on small networks; their numbers are tested in test_reference.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from satxlate_jax.training.build_step import build_objective, build_train_step
from satxlate_jax.training.channels import shared_by_pair
from satxlate_jax.training.config import validate
from satxlate_jax.training.step import draw_noise

SIZE = 8


def small_config(default_config, satellites, variant="paper", **fields):
    config = default_config()
    config.data.satellites = type(config.data.satellites)(satellites, sort_keys=False)
    config.data.patch_size = SIZE
    config.objective.variant = variant
    config.objective.recon_kl_cyc_w = 0.03
    config.generator.dim = config.discriminator.dim = 2
    config.generator.n_res = 1
    config.update_from_flattened_dict(fields)
    validate(config)
    return config


def everything(config, seed=0):
    """The objective of a configuration with fresh weights of visible size, a batch and noise."""
    objective = build_objective(config)
    keys = jax.random.split(jax.random.key(seed), 3)
    enlarge = lambda tree: jax.tree.map(lambda x: 8 * x + 0.01, tree)  # noqa: E731
    generator = enlarge(objective.translator.init(keys[0]))
    discriminator = enlarge(objective.discriminator.init(keys[1]))
    numbers = np.random.default_rng(seed)
    batch = {
        name: jnp.asarray(numbers.standard_normal((2, SIZE, SIZE, len(bands))), jnp.float32)
        for name, bands in config.data.satellites.items()
    }
    noise = draw_noise(keys[2], batch, objective.translator.stride, objective.translator.noisy_channels)
    return objective, generator, discriminator, batch, noise


def compiled(objective):
    return jax.jit(objective.generator_loss, static_argnums=4)


def loss(config, cycles=1, seed=0):
    objective, *arguments = everything(config, seed)
    return compiled(objective)(*arguments, cycles)


UNEQUAL = {"G16": (1, 2, 7, 13), "G17": (2, 7, 13), "H8": (1, 3, 7, 13, 15)}


def test_paper_counts_every_source(default_config):
    objective, *arguments = everything(small_config(default_config, UNEQUAL))
    _, parts = jax.eval_shape(lambda *given: objective.generator_loss(*given, 2), *arguments)
    counts = {term: len(values) for term, values in parts["items"].items()}
    assert counts == {"gan": 6, "recon": 3, "shared": 6, "kl": 3, "cycle_recon": 18, "cycle_z_recon": 18, "kl_cyc": 18}


def test_total_is_the_weighted_sum_of_the_means(default_config):
    config = small_config(default_config, UNEQUAL)
    total, parts = loss(config)
    weights = config.objective
    expected = sum(
        weight * np.mean(np.array(parts["items"][term]))
        for term, weight in (
            ("gan", weights.gan_w),
            ("recon", weights.recon_x_w),
            ("shared", weights.recon_shared_w),
            ("cycle_recon", weights.recon_x_cyc_w),
            ("cycle_z_recon", weights.recon_z_cyc_w),
            ("kl", weights.recon_kl_w),
            ("kl_cyc", weights.recon_kl_cyc_w),
        )
    )
    assert float(total) == pytest.approx(float(expected), rel=1e-5)


def test_paper_equals_released_where_the_quirks_do_not_matter(default_config):
    """Two satellites, one cycle: gan, recon and cycle_recon take all sources in both variants, any weights and data."""
    satellites = {"G16": (1, 2, 7), "G17": (1, 2, 7)}
    _, paper = loss(small_config(default_config, satellites))
    _, released = loss(small_config(default_config, satellites, "released"))
    for term in ("gan", "recon", "cycle_recon"):
        np.testing.assert_allclose(paper["items"][term], released["items"][term], rtol=1e-6)
        np.testing.assert_allclose(paper["terms"][term], released["terms"][term], rtol=1e-6)
    for term in ("shared", "cycle_z_recon", "kl_cyc"):
        assert not np.isclose(paper["terms"][term], released["terms"][term], rtol=1e-3), term


def test_paper_equals_released_for_two_satellites_that_are_the_same(default_config):
    """With equal weights, images and noise the last source stands for both: all terms but kl agree."""
    satellites = {"G16": (1, 2, 7), "G17": (1, 2, 7)}
    terms = {}
    for variant in ("paper", "released"):
        config = small_config(default_config, satellites, variant)
        objective, generator, discriminator, batch, noise = everything(config)
        generator = {
            part: {name: values["G16"] for name in satellites} if part != "shared" else values
            for part, values in generator.items()
        }
        discriminator = {name: discriminator["G16"] for name in satellites}
        batch, noise = ({name: values["G16"] for name in satellites} for values in (batch, noise))
        _, parts = compiled(objective)(generator, discriminator, batch, noise, 1)
        terms[variant] = parts["terms"]
    for term in ("gan", "recon", "shared", "cycle_recon", "cycle_z_recon", "kl_cyc"):
        np.testing.assert_allclose(terms["paper"][term], terms["released"][term], rtol=1e-5, err_msg=term)
    assert terms["released"]["kl"] == 0 < terms["paper"]["kl"]


def test_gradients_reach_every_parameter(default_config):
    objective, generator, discriminator, batch, noise = everything(small_config(default_config, UNEQUAL))
    gradient = jax.jit(jax.grad(objective.generator_loss, has_aux=True), static_argnums=4)
    gradients, _ = gradient(generator, discriminator, batch, noise, 1)
    for path, value in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.abs(value).max() > 0, jax.tree_util.keystr(path)


def test_released_leaves_latent_terms_of_earlier_sources_without_gradient(default_config):
    """The repair of 'paper': with the other terms off, only the last source's encoder learns from the shared bands."""
    off = {f"objective.{name}_w": 0.0 for name in ("gan", "recon_x", "recon_x_cyc", "recon_z_cyc", "recon_kl_cyc")}
    for variant, reached in (("released", {"H8"}), ("paper", {"G16", "G17", "H8"})):
        kl = {"objective.recon_kl_w": 0.0} if variant == "paper" else {}  # 'released' has no such term
        config = small_config(default_config, UNEQUAL, variant, **off, **kl)
        objective, generator, discriminator, batch, noise = everything(config)
        gradient = jax.jit(jax.grad(objective.generator_loss, has_aux=True), static_argnums=4)
        gradients, _ = gradient(generator, discriminator, batch, noise, 1)
        sizes = {
            name: max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(tree))
            for name, tree in gradients["encoders"].items()
        }
        assert {name for name, size in sizes.items() if size > 0} == reached


def test_permuting_the_satellites_changes_nothing(default_config):
    objective, generator, discriminator, batch, noise = everything(small_config(default_config, UNEQUAL))
    turned = dict(reversed(UNEQUAL.items()))
    other = build_objective(small_config(default_config, turned))
    batch_turned, noise_turned = ({name: values[name] for name in turned} for values in (batch, noise))
    first, _ = compiled(objective)(generator, discriminator, batch, noise, 2)
    second, _ = compiled(other)(generator, discriminator, batch_turned, noise_turned, 2)
    np.testing.assert_allclose(first, second, rtol=1e-5)
    _, fakes = objective.translate_all(generator, batch, noise)
    first, _ = objective.discriminator_loss(discriminator, batch, fakes)
    second, _ = other.discriminator_loss(discriminator, batch_turned, fakes)
    np.testing.assert_allclose(first, second, rtol=1e-5)


@pytest.mark.parametrize(("variant", "chains"), [("paper", True), ("released", False)])
def test_the_second_cycle(default_config, variant, chains):
    """In 'paper' it starts where the first ended; in 'released' it repeats the first."""
    _, parts = loss(small_config(default_config, UNEQUAL, variant), cycles=2)
    items = np.array(parts["items"]["cycle_recon"]).reshape(3, 2, 3)  # source, cycle, target
    assert np.allclose(items[:, 0], items[:, 1], rtol=1e-4) != chains


def test_the_last_source_is_the_configurations_last(default_config):
    """Of which alone 'released' takes some terms: also under jit, which sorts what it is given by name."""
    config = small_config(default_config, {"H8": (1, 3, 7), "G16": (1, 2, 7)}, "released")
    objective, generator, discriminator, batch, noise = everything(config)
    _, parts = loss(config)
    _, forward = objective.translate_all(generator, batch, noise, ("H8",))
    difference = forward["G16"]["H8"] - batch["G16"]  # all bands are shared: 0.47, 0.64 and 3.9 um
    np.testing.assert_allclose(parts["terms"]["shared"], np.mean(difference**2), rtol=1e-5)


ONE, FOUR = {"G16": (1, 7)}, {"G16": (1, 7), "G17": (7,), "H8": (1, 3), "H9": (1, 2, 3)}


@pytest.mark.parametrize(
    ("satellites", "variant"), [(ONE, "paper"), (ONE, "released"), (FOUR, "paper")], ids=["one", "one released", "four"]
)
def test_any_number_of_satellites_trains(default_config, satellites, variant):
    config = small_config(default_config, satellites, variant)
    step = build_train_step(config)
    _, generator, discriminator, batch, _ = everything(config)
    state = step.init(generator, discriminator)
    after, metrics = jax.jit(step, static_argnames="cycles")(state, batch, jax.random.key(0), cycles=1)
    assert all(np.isfinite(value) for value in metrics.values())
    assert int(after.step) == 1
    for before, now in zip(jax.tree.leaves(generator), jax.tree.leaves(after.generator), strict=True):
        assert not np.array_equal(before, now)


def test_shared_fakes_are_the_generator_steps(default_config):
    """With 'shared' the discriminator sees what the generator made before its update, noise included."""
    config = small_config(default_config, UNEQUAL, **{"objective.discriminator_fakes": "shared"})
    step = build_train_step(config)
    objective, generator, discriminator, batch, noise = everything(config)
    unused = {name: jnp.full_like(value, jnp.nan) for name, value in noise.items()}
    state = step.init(generator, discriminator)
    _, metrics = jax.jit(step.update, static_argnames="cycles")(state, batch, noise, unused, cycles=1)
    _, fakes = objective.translate_all(generator, batch, noise)
    expected, _ = objective.discriminator_loss(discriminator, batch, fakes)
    np.testing.assert_allclose(metrics["discriminator/total"], expected, rtol=1e-5)


def test_shared_bands_may_be_given(default_config):
    config = small_config(default_config, {"G16": (1, 2, 3), "G17": (1, 2, 3)})
    assert shared_by_pair(config) == {"G16": {"G17": [0, 1, 2]}, "G17": {"G16": [0, 1, 2]}}
    config.data.shared = {"G16": {"G17": (0, 2)}, "G17": {"G16": (0, 2)}}
    assert shared_by_pair(config) == {"G16": {"G17": [0, 2]}, "G17": {"G16": [0, 2]}}
