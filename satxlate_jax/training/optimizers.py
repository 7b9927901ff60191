"""The two optimizers: Adam with L2 in the gradient, decay of the generator's learning rate, freezing by path.

Off unless asked for: a limit to the gradient's norm, and a moving average of the parameters.
"""

import operator
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from satxlate_jax.cli import InputError

Tree = Any  # nested dict of arrays


def learning_rate(optimizer: Mapping[str, Any], step: jax.Array, *, decays: bool) -> jax.Array:
    """The learning rate after `step` steps: divided at every multiple of `decay_every`, where it decays at all.

    As released, it does for the generator and not for the discriminators. That of 'adamw' rises over `warmup_steps` and
    falls as a cosine, to `decay_rate` of itself after `decay_every` steps.
    """
    if optimizer["name"] == "adamw":
        rise = jnp.minimum(1.0, (step + 1) / max(optimizer["warmup_steps"], 1))
        fall = 0.5 * (1 + jnp.cos(jnp.pi * jnp.minimum(step / optimizer["decay_every"], 1.0)))
        return optimizer["learning_rate"] * rise * (optimizer["decay_rate"] + (1 - optimizer["decay_rate"]) * fall)
    if not decays:
        return jnp.asarray(optimizer["learning_rate"])
    return optimizer["learning_rate"] * optimizer["decay_rate"] ** jnp.floor(step / optimizer["decay_every"])


def compile_rules(freeze: Sequence[str]) -> list[re.Pattern]:
    """The regular expressions of `config.freeze`; InputError where one of them is none."""
    try:
        return [re.compile(rule) for rule in freeze]
    except re.error as error:
        raise InputError(f"config.freeze has a rule that is no regular expression: {error}") from None


def trainable_mask(tree: Tree, prefix: str, freeze: Sequence[str]) -> Tree:
    """The tree with True for leaves that are trained: no rule of `freeze` matches the beginning of prefix + path."""
    rules = compile_rules(freeze)

    def is_trained(keys: Any, _: Any) -> bool:
        path = prefix + jax.tree_util.keystr(keys, simple=True, separator="/")
        return not any(rule.match(path) for rule in rules)

    return jax.tree.map_with_path(is_trained, tree)


def moving_average(average: Tree, params: Tree, decay: float, step: jax.Array) -> Tree:
    """The exponential moving average of parameters after one more step.

    Early on the decay is (1 + step) / (10 + step) where that is less, so that the random start is soon forgotten (as
    TensorFlow's ExponentialMovingAverage has it); `step` counts the steps before this one.
    """
    step = step.astype(jnp.float32)
    weight = 1.0 - jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    # in this form an average that equals its parameter stays bit-identical: what is frozen does not drift
    return jax.tree.map(lambda mean, value: mean + weight.astype(value.dtype) * (value - mean), average, params)


def make_optimizer(optimizer: Mapping[str, Any], trainable: Tree, *, decays: bool) -> optax.GradientTransformation:
    """Adam (Kingma & Ba 2015) as the release configures it, from the `optimizer` section of a configuration.

    L2 weight decay is added to the gradient, before the moments (not decoupled; that of 'adamw' is, as Loshchilov &
    Hutter have it, ICLR 2019), and after the gradient of what is trained was limited to `clip_norm`, where that is not
    0. Frozen leaves have neither update nor decay. Its state is {'count', 'mu', 'nu'}, as checkpoints store it.
    """
    decay = optax.add_decayed_weights(optimizer["weight_decay"])
    adam = optax.scale_by_adam(b1=optimizer["beta1"], b2=optimizer["beta2"], eps=1e-8)
    steps = [
        *([adam, decay] if optimizer["name"] == "adamw" else [decay, adam]),
        optax.scale_by_learning_rate(partial(learning_rate, optimizer, decays=decays)),
        optax.transforms.freeze(jax.tree.map(operator.not_, trainable)),
    ]
    if optimizer["clip_norm"]:
        steps.insert(0, optax.masked(optax.clip_by_global_norm(optimizer["clip_norm"]), trainable))
    chain = optax.chain(*steps)

    def stored(state: Any) -> Tree:
        return next(part for part in state if isinstance(part, optax.ScaleByAdamState))._asdict()

    def init(params: Tree) -> Tree:
        return stored(chain.init(params))

    def update(gradients: Tree, state: Tree, params: Tree) -> tuple[Tree, Tree]:
        # the one count that is stored is both Adam's and the learning rate's
        updates, after = chain.update(gradients, optax.tree.set(chain.init(params), **state), params)
        return updates, stored(after)

    return optax.GradientTransformation(init, update)
