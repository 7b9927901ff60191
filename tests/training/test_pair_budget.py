"""A few pairs of satellites per step, on average, are all pairs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from satxlate_jax.__main__ import main
from satxlate_jax.checkpoints import Checkpoints
from satxlate_jax.cli import InputError
from satxlate_jax.training.assembly import build_objective, build_pair_budget, build_train_step
from satxlate_jax.training.config import validate
from satxlate_jax.training.pair_budget import stack
from satxlate_jax.training.step import draw_noise
from tests import tiny_run

QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}  # to compile

SATELLITES = {"G16": (1, 2, 7, 13), "G17": (7, 13), "H8": (1, 3, 7, 13, 15)}  # G17 and H8 have no equal bands


def small_config(satellites=SATELLITES, **fields):
    config = tiny_run.get_config()
    config.data.satellites = type(config.data.satellites)(satellites, sort_keys=False)
    config.generator.dim = config.discriminator.dim = 2
    config.generator.n_res = 1
    config.objective.pairs_per_step = 2
    config.objective.recon_kl_cyc_w, config.objective.recon_measured_w = 0.3, 0.4
    config.update_from_flattened_dict(fields)
    validate(config)
    return config


def everything(config):
    """The whole objective, its budget, weights of visible size, a batch and noise."""
    objective = build_objective(config)
    keys = jax.random.split(jax.random.key(0), 3)
    generator, discriminator = (
        jax.tree.map(lambda x: 8 * x + 0.01, network.init(key))
        for network, key in zip((objective.translator, objective.discriminator), keys[:2], strict=True)
    )
    sources = config.data.streams or tuple(config.data.satellites)
    bands = config.data.satellites
    batch = {name: jax.random.normal(jax.random.key(1), (2, 8, 8, len(bands[name]))) for name in sources}
    translator = objective.translator
    quiet = translator.latent_channels - translator.noisy_channels
    noise = draw_noise(keys[2], batch, translator.stride, translator.noisy_channels, quiet)
    return objective, build_pair_budget(config, objective), generator, discriminator, batch, noise


def losses(objective, generator, discriminator, batch, noise, cycles):
    """Both losses, their terms and gradients."""
    generator_loss = jax.value_and_grad(objective.generator_loss, has_aux=True)
    (total, parts), gradients = generator_loss(generator, discriminator, batch, noise, cycles)
    fakes = objective.fakes(generator, batch, noise)
    discriminator_loss = jax.value_and_grad(objective.discriminator_loss, has_aux=True)
    (other, _), others = discriminator_loss(discriminator, batch, fakes)
    return {"total": total, "terms": parts["terms"], "dis": other, "gradients": (gradients, others)}


@pytest.mark.parametrize(
    ("cycles", "fields"),
    [
        (2, {}),
        (1, {"generator.skip_connection": 13, "generator.spectral_path": "linear"}),
        (1, {"data.streams": ("G16", "H8")}),
    ],
    ids=["two cycles", "skip and spectral path", "fewer sources than targets"],
)
def test_the_mean_over_all_draws_is_the_whole_objective(cycles, fields):
    """Each pair by itself is drawn with the same probability, so the mean over pairs is the mean over draws."""
    config = small_config(**fields, **{"objective.pairs_per_step": 1})
    objective, budget, *arguments, batch, noise = everything(config)
    total = len(batch) * len(SATELLITES)
    estimate = jax.jit(
        lambda pairs: losses(budget.drawn(pairs, batch), *arguments, batch, noise, cycles), compiler_options=QUICK
    )
    estimates = [estimate(jnp.array([pair])) for pair in range(total)]  # compiled once
    assert estimate._cache_size() == 1
    mean = jax.tree.map(lambda *values: np.mean(np.stack(values), axis=0), *estimates)
    whole = jax.jit(lambda: losses(objective, *arguments, batch, noise, cycles), compiler_options=QUICK)
    expected = whole()
    for (path, value), ours in zip(jax.tree_util.tree_leaves_with_path(expected), jax.tree.leaves(mean), strict=True):
        tolerance = 2e-5 * max(np.abs(value).max(), 1e-3)
        np.testing.assert_allclose(ours, value, rtol=0, atol=tolerance, err_msg=jax.tree_util.keystr(path))
    assert np.std([float(value["total"]) for value in estimates]) > 0.01 * float(expected["total"])


def test_a_draw_of_two_is_the_mean_of_its_pairs():
    config = small_config()
    _, two, *arguments, batch, noise = everything(config)
    one = everything(small_config(**{"objective.pairs_per_step": 1}))[1]
    terms = [
        budget.drawn(jnp.array(pairs), batch).generator_loss(*arguments, batch, noise, 1)[1]["terms"]
        for budget, pairs in ((two, [1, 6]), (one, [1]), (one, [6]))
    ]
    for name, value in terms[0].items():
        np.testing.assert_allclose(value, (terms[1][name] + terms[2][name]) / 2, rtol=1e-5, err_msg=name)


def test_every_pair_is_drawn_equally_often_and_never_twice_in_a_step():
    _, budget, _, _, batch, _ = everything(small_config(**{"objective.pairs_per_step": 4}))
    draws = jax.vmap(lambda key: budget.draw(key, batch))(jax.random.split(jax.random.key(0), 3000))
    assert all(len(set(draw)) == 4 for draw in np.asarray(draws).tolist())
    counts = np.bincount(np.asarray(draws).ravel(), minlength=9)
    # 3000 draws of probability 4 / 9: five standard deviations of the binomial are 136
    assert counts.sum() == 12_000 and np.abs(counts - 12_000 / 9).max() < 136


@pytest.mark.parametrize("fakes", ["fresh", "shared"])
def test_a_step_depends_on_its_number_and_the_runs_key_alone(fakes):
    step = build_train_step(small_config(**{"objective.discriminator_fakes": fakes}))
    _, _, generator, discriminator, batch, _ = everything(small_config())
    take = jax.jit(step, static_argnames="cycles", compiler_options=QUICK)
    state = step.init(generator, discriminator)
    again = []
    for _ in range(2):
        later, totals = state, []
        for _ in range(3):
            later, metrics = take(later, batch, jax.random.key(5), cycles=1)
            assert all(np.isfinite(value) for value in metrics.values())
            totals.append(float(metrics["generator/total"]))
        again.append((later, totals))
    assert again[0][1] == again[1][1] and len(set(again[0][1])) == 3
    jax.tree.map(np.testing.assert_array_equal, again[0][0], again[1][0])


def test_leaves_of_different_shapes_are_filled_with_zeros():
    stacked = stack([{"a": jnp.ones((2, 1))}, {"a": jnp.full((1, 3), 2.0)}])["a"]
    np.testing.assert_array_equal(stacked, [[[1, 0, 0], [1, 0, 0]], [[2, 2, 2], [0, 0, 0]]])


def test_a_budget_of_all_pairs_is_the_whole_objective():
    config = small_config(**{"objective.pairs_per_step": 9})
    assert build_pair_budget(config, build_objective(config)) is None
    with pytest.raises(InputError, match="needs as many bands for all"):
        small_config(**{"generator.spectral_path": "quadratic"})
    with pytest.raises(InputError, match="pairs_per_step needs config.objective.variant 'paper'"):
        small_config(**{"objective.variant": "released", "objective.recon_measured_w": 0.0})


def test_six_satellites_train_and_resume_exactly(tmp_path, tmp_path_factory, monkeypatch):
    """configs/six_satellites.py, small: three steps at once, and one and two after a stop."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tiny_run.shared_cache(tmp_path_factory)))
    config = f"--config={tiny_run.PROJECT / 'configs' / 'six_satellites.py'}"
    names = ("G16", "G17", "G18", "G19", "H8", "H9")
    tiny_run.write_records(tmp_path / "data", satellites=dict.fromkeys(names, tuple(range(1, 17))))
    words = [config, f"--config.data.dir={tmp_path / 'data'}", f"--config.data.patch_size={tiny_run.PATCH_SIZE}"]
    words += ["--config.generator.dim=2", "--config.generator.n_res=1", "--config.discriminator.dim=2"]
    words += ["--config.data.shuffle_buffer=16", "--config.batch_size=2"]
    for run, steps in (("whole", 3), ("parts", 1), ("parts", 3)):
        assert main(["train", *words, f"--workdir={tmp_path / run}", f"--config.steps={steps}"]) == 0
    whole, parts = (Checkpoints(tmp_path / run / "checkpoints").restore() for run in ("whole", "parts"))
    jax.tree.map(np.testing.assert_array_equal, whole, parts)
    losses = tiny_run.learned_scalars(tmp_path / "whole")["generator/total"]
    assert [step for step, _ in losses] == [3] and np.isfinite(losses[0][1])
