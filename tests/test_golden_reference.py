"""One configuration of the released implementation's numbers, small enough for every clone; see golden/README.md."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from satxlate_jax.training.build_step import build_objective, build_train_step
from satxlate_jax.training.torch_reference import config_from_released_yaml, to_nested

GOLDEN = Path(__file__).resolve().parent / "golden" / "reference_g16g17_small"


class Golden:
    """The stored arrays, in our layout."""

    def __init__(self):
        self.raw = json.loads(GOLDEN.with_suffix(".json").read_text())
        self.config = config_from_released_yaml(self.raw)
        with np.load(GOLDEN.with_suffix(".npz"), allow_pickle=False) as file:
            self.arrays = dict(file)
        self.generator, self.discriminator = (to_nested(self.below(part), self.config) for part in ("gen", "dis"))

    def below(self, prefix):
        return {key.removeprefix(f"{prefix}/"): x for key, x in self.arrays.items() if key.startswith(f"{prefix}/")}

    def images(self, prefix):
        return {name: jnp.asarray(np.moveaxis(x, 1, -1)) for name, x in self.below(prefix).items()}


@pytest.fixture(scope="module")
def golden():
    return Golden()


def flat(tree):
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def check(prefix, golden, loss, parts, gradients):
    """Total, terms and their single values to 1e-5, the norm of every parameter's gradient to 1e-4."""
    found = {"total": loss} | parts["terms"] | {f"list_{term}": np.array(x) for term, x in parts["items"].items()}
    expected = golden.below(prefix)
    assert len(expected) >= 3
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, err_msg=f"{prefix}/{name}")
    kind = "dgrad" if prefix == "dloss" else prefix.replace("loss", "ggrad")
    norms = flat(to_nested(golden.below(f"norm/{kind}"), golden.config))
    assert norms.keys() == flat(gradients).keys()
    for path, gradient in flat(gradients).items():
        np.testing.assert_allclose(np.linalg.norm(gradient), norms[path], rtol=1e-4, err_msg=path)


@pytest.mark.parametrize("cycles", [1, 2])
def test_generator_loss_and_gradients(cycles, golden):
    loss = jax.jit(jax.value_and_grad(build_objective(golden.config).generator_loss, has_aux=True), static_argnums=4)
    inputs = golden.generator, golden.discriminator, golden.images("x"), golden.images("noise_gen")
    (total, parts), gradients = loss(*inputs, cycles)
    check(f"loss/c{cycles}", golden, total, parts, gradients)


def test_discriminator_loss_and_gradients(golden):
    objective, batch = build_objective(golden.config), golden.images("x")
    _, fakes = jax.jit(objective.translate_all)(golden.generator, batch, golden.images("noise_dis"))
    loss = jax.jit(jax.value_and_grad(objective.discriminator_loss, has_aux=True))
    (total, parts), gradients = loss(golden.discriminator, batch, fakes)
    check("dloss", golden, total, parts, gradients)


def test_two_steps(golden):
    """Both updates with Adam and decay: losses and rates of two steps, and how far the first moved each parameter."""
    step = build_train_step(golden.config)
    states, update = [step.init(golden.generator, golden.discriminator)], jax.jit(step.update, static_argnames="cycles")
    for index in range(2):
        inputs = [golden.images(f"steps/{part}/{index}") for part in ("x", "noise_gen", "noise_dis")]
        state, metrics = update(states[-1], *inputs, cycles=1)
        states.append(state)
        for name, key in (("generator/total", "loss_gen"), ("discriminator/total", "loss_dis")):
            np.testing.assert_allclose(metrics[name], golden.arrays[f"steps/{key}"][index], rtol=2e-5, err_msg=key)
        np.testing.assert_allclose(metrics["learning_rate"], golden.arrays["steps/lr_gen"][index], rtol=1e-6)
    rate = golden.config.optimizer.learning_rate
    for part, name in (("gen", "generator"), ("dis", "discriminator")):
        expected = flat(to_nested(golden.below(f"steps/after1/{part}"), golden.config))
        before, after = (flat(getattr(state, name)) for state in states[:2])
        for path, moved in expected.items():
            ours = (np.asarray(after[path], np.float64) - before[path]) / rate
            np.testing.assert_allclose(ours, np.asarray(moved, np.float64), atol=0.02, err_msg=path)
