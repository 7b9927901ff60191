"""Options beside the released optimizer: a limit to gradients, an average of the generator."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import satxlate_jax
from satxlate_jax.__main__ import main
from satxlate_jax.checkpoints import Checkpoints
from satxlate_jax.training.build_step import build_train_step
from satxlate_jax.training.optimizers import make_optimizer, moving_average
from satxlate_jax.training.step import draw_noise
from tests import tiny_run

OPTIMIZER = {
    "learning_rate": 0.01,
    "beta1": 0.5,
    "beta2": 0.999,
    "name": "adam",
    "warmup_steps": 0,
    "weight_decay": 0.1,
    "decay_every": 10,
    "decay_rate": 0.5,
}


def random_tree(seed):
    random = np.random.default_rng(seed)
    return {"a": {"kernel": random.standard_normal((3, 2))}, "b": {"kernel": random.standard_normal(4)}}


def norm(tree):
    return np.sqrt(sum(np.sum(np.square(leaf)) for leaf in jax.tree.leaves(tree)))


def moments_after_one_update(gradients, trainable, limit):
    """Adam's first moment is then half of the gradient that reached it."""
    optimizer = make_optimizer(OPTIMIZER | {"weight_decay": 0.0, "clip_norm": limit}, trainable, decays=True)
    params = jax.tree.map(jnp.zeros_like, gradients)
    _, state = optimizer.update(jax.tree.map(jnp.asarray, gradients), optimizer.init(params), params)
    assert set(state) == {"count", "mu", "nu"} and state["count"] == 1, "as checkpoints store it"
    return jax.tree.map(lambda mu: 2 * mu, state["mu"])


@pytest.mark.parametrize(("limit", "scale"), [(0.5, 0.5), (5.0, 1.0)])
def test_a_gradient_is_shortened_to_the_limit_and_never_lengthened(limit, scale):
    """The limit is a multiple of the norm of what is trained: a frozen part's gradient does not count."""
    gradients, trainable = random_tree(0), {"a": {"kernel": True}, "b": {"kernel": False}}
    clipped = moments_after_one_update(gradients, trainable, float(limit * norm(gradients["a"])))
    np.testing.assert_allclose(clipped["a"]["kernel"], scale * gradients["a"]["kernel"], rtol=1e-6)


def test_a_gradient_of_zero_stays_zero():
    assert np.array_equal(moments_after_one_update({"a": jnp.zeros(3)}, {"a": True}, 1.0)["a"], np.zeros(3))


def test_the_limit_comes_before_the_decay_and_the_moments():
    """Adam's first step is the sign of (clipped gradient + decay * parameter); the decay wins once it is clipped."""
    params, gradients = {"a": jnp.ones(4)}, {"a": jnp.full(4, -100.0)}
    for limit, sign in ((0.0, -1.0), (0.1, 1.0)):
        optimizer = make_optimizer(OPTIMIZER | {"clip_norm": limit}, {"a": True}, decays=True)
        updates, _ = optimizer.update(gradients, optimizer.init(params), params)
        np.testing.assert_allclose(updates["a"], -sign * 0.01, rtol=1e-5)


def test_the_rate_decays_with_the_count_that_is_stored():
    optimizer = make_optimizer(OPTIMIZER | {"clip_norm": 0.0}, {"a": True, "b": False}, decays=True)
    params = {"a": jnp.ones(1), "b": jnp.ones(1)}
    state = optimizer.init(params)
    for count, rate in ((9, 0.01), (10, 0.005), (20, 0.0025)):
        updates, after = optimizer.update(params, state | {"count": jnp.int32(count), "nu": params}, params)
        assert after["count"] == count + 1 and updates["b"] == 0
        direction = 0.5 * 1.1 / (1 - 0.5 ** (count + 1)) / np.sqrt((0.999 + 0.001 * 1.21) / (1 - 0.999 ** (count + 1)))
        np.testing.assert_allclose(updates["a"], -rate * direction, rtol=1e-4)


def test_the_average_is_the_weighted_sum_of_all_parameters_so_far():
    decay, trees = 0.8, [random_tree(seed) for seed in range(12)]
    average = jax.tree.map(jnp.asarray, trees[0])
    weights = np.array([1.0])  # of each tree in the average, by the definition
    for step, tree in enumerate(trees[1:]):
        average = moving_average(average, jax.tree.map(jnp.asarray, tree), decay, jnp.int32(step))
        kept = min(decay, (1 + step) / (10 + step))
        weights = np.append(kept * weights, 1 - kept)
    expected = jax.tree.map(lambda *leaves: np.tensordot(weights, np.stack(leaves), 1), *trees)
    jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-5), average, expected)


def test_the_step_averages_its_generator_and_trains_as_without(default_config):
    config = tiny_run.get_config()
    config.freeze = ("generator/encoders/G16/",)
    states = {}
    for decay in (0.0, 0.05):
        config.optimizer.ema_decay = decay
        step = build_train_step(config)
        params = [
            network.init(jax.random.key(1)) for network in (step.objective.translator, step.objective.discriminator)
        ]
        states[decay] = [step.init(*params)]
        batch = {
            name: jax.random.normal(jax.random.key(2), (2, 8, 8, len(bands)))
            for name, bands in tiny_run.SATELLITES.items()
        }
        noise = draw_noise(jax.random.key(3), batch, 1, step.objective.translator.latent_channels)
        update = jax.jit(step.update, static_argnames="cycles")
        for _ in range(2):
            states[decay].append(update(states[decay][-1], batch, noise, noise, cycles=1)[0])
    assert states[0.0][-1].generator_average is None
    for without, with_average in zip(states[0.0], states[0.05], strict=True):
        jax.tree.map(np.testing.assert_array_equal, without.generator, with_average.generator)
    first, second, third = (state.generator for state in states[0.05])
    expected = jax.tree.map(lambda a, b, c: 0.05 * (0.05 * a + 0.95 * b) + 0.95 * c, first, second, third)
    average = states[0.05][-1].generator_average
    jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-5, atol=1e-8), average, expected)
    jax.tree.map(np.testing.assert_array_equal, average["encoders"]["G16"], first["encoders"]["G16"])


QUIET = ("--config.validate_every=0", "--config.image_every=0", "--config.histogram_every=0")


def train(run, data, *words):
    assert main(["train", *tiny_run.train_command(run, data, *QUIET, *words)[4:]]) == 0
    return Checkpoints(run / "checkpoints").restore()


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True))


def test_a_run_with_an_average_resumes_exactly_translates_with_it_and_hands_it_on(tmp_path, data):
    ema = "--config.optimizer.ema_decay=0.7"
    whole = train(tmp_path / "whole", data, ema, "--config.steps=4")
    train(tmp_path / "parts", data, ema, "--config.steps=2")
    assert same(train(tmp_path / "parts", data, ema, "--config.steps=4"), whole)
    assert not same(whole["generator_average"], whole["generator"])
    assert same(satxlate_jax.load(tmp_path / "whole").params, whole["generator_average"])
    grafted = train(tmp_path / "next", data, f"--config.init_from={tmp_path / 'whole'}", "--config.steps=0")
    assert same(grafted["generator"], whole["generator_average"])
    assert same(grafted["discriminator"], whole["discriminator"])


def test_an_average_can_be_begun_and_dropped_later(tmp_path, data):
    before = train(tmp_path, data, "--config.steps=2")
    assert "generator_average" not in before and same(satxlate_jax.load(tmp_path).params, before["generator"])
    later = train(tmp_path, data, "--config.optimizer.ema_decay=0.5", "--config.steps=3")
    kept = 3 / 12  # the average was the generator after two steps; (1 + 2) / (10 + 2) is less than 0.5
    expected = jax.tree.map(lambda a, b: kept * a + (1 - kept) * b, before["generator"], later["generator"])
    jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-5), later["generator_average"], expected)
    assert "generator_average" not in train(tmp_path, data, "--config.steps=4")
