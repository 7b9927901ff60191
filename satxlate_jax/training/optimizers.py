"""The two optimizers: Adam with L2 in the gradient, decay of the generator's learning rate, freezing by path.

Off unless asked for: a limit to the gradient's norm, and a moving average of the parameters.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from satxlate_jax.cli import InputError

Tree = dict[str, Any]


def learning_rate(optimizer: Mapping[str, Any], step: jax.Array, *, decays: bool) -> jax.Array:
    """The learning rate used in a step: divided at every multiple of `decay_every`, where it decays at all.

    Args:
      optimizer: the `optimizer` section of a configuration.
      step: steps taken before this one.
      decays: True for the generator, False for the discriminators (as released).
    """
    if not decays:
        return jnp.asarray(optimizer["learning_rate"])
    return optimizer["learning_rate"] * optimizer["decay_rate"] ** jnp.floor(step / optimizer["decay_every"])


def paths(tree: Tree, prefix: str = "") -> list[str]:
    """The path of every leaf, such as 'encoders/G16/conv_in/conv/kernel', in the order of the tree's leaves."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [prefix + jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]


def compile_rules(freeze: Sequence[str]) -> list[re.Pattern]:
    """The regular expressions of `config.freeze`.

    Raises:
      InputError: one of them is none.
    """
    try:
        return [re.compile(rule) for rule in freeze]
    except re.error as error:
        raise InputError(f"config.freeze has a rule that is no regular expression: {error}") from None


def trainable_mask(tree: Tree, prefix: str, freeze: Sequence[str]) -> Tree:
    """Which leaves are trained: those whose path no rule matches.

    Args:
      tree: nested dict of parameters.
      prefix: what stands before each path, 'generator/' or 'discriminator/'.
      freeze: regular expressions, searched from the path's beginning.

    Returns:
      The same tree with booleans.
    """
    rules = compile_rules(freeze)
    flags = [not any(rule.match(path) for rule in rules) for path in paths(tree, prefix)]
    return jax.tree.unflatten(jax.tree.structure(tree), flags)


def clip_by_global_norm(gradients: Tree, trainable: Tree, limit: float) -> Tree:
    """Gradients of one network, scaled down together where their norm exceeds a limit (Pascanu et al. 2013).

    Args:
      gradients: nested dict.
      trainable: booleans of the same structure; only the gradients of what is trained count.
      limit: the largest Euclidean norm of all of them together.
    """
    pairs = zip(jax.tree.leaves(gradients), jax.tree.leaves(trainable), strict=True)
    norm = optax.tree.norm([gradient for gradient, trained in pairs if trained])
    scale = jnp.minimum(1.0, limit / jnp.maximum(norm, jnp.finfo(norm.dtype).tiny))
    return jax.tree.map(lambda gradient: gradient * scale.astype(gradient.dtype), gradients)


def moving_average(average: Tree, params: Tree, decay: float, step: jax.Array) -> Tree:
    """The exponential moving average of parameters after one more step.

    Early on the decay is (1 + step) / (10 + step) where that is less, so that the random start is soon forgotten (as
    TensorFlow's ExponentialMovingAverage has it).

    Args:
      average: before, like `params`.
      params: after the step's update.
      decay: weight of what was before, 0 to 1.
      step: steps taken before this one.
    """
    step = step.astype(jnp.float32)
    weight = 1.0 - jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    # in this form an average that equals its parameter stays bit-identical: what is frozen does not drift
    return jax.tree.map(lambda mean, value: mean + weight.astype(value.dtype) * (value - mean), average, params)


class Adam:
    """Adam (Kingma & Ba 2015) as the release configures it, its state a plain nested dict.

    L2 weight decay is added to the gradient, before the moments (not decoupled), and after the gradient was limited
    to `clip_norm`, where that is not 0. Frozen leaves have neither update nor decay: they stay bit-identical.

    Args:
      optimizer: the `optimizer` section of a configuration.
      trainable: booleans in the shape of the parameters.
      decays: whether the learning rate decays.
    """

    def __init__(self, optimizer: Mapping[str, Any], trainable: Tree, *, decays: bool):
        self._optimizer = optimizer
        self.trainable = trainable
        self._decays = decays
        self._moments = optax.scale_by_adam(b1=optimizer["beta1"], b2=optimizer["beta2"], eps=1e-8)

    def init(self, params: Tree) -> Tree:
        """Zero moments: {'count': int32 scalar, 'mu': like params, 'nu': like params}."""
        return self._moments.init(params)._asdict()

    def update(self, gradients: Tree, state: Tree, params: Tree) -> tuple[Tree, Tree]:
        """One update.

        Args:
          gradients: like params.
          state: as `init` gives it.
          params: nested dict.

        Returns:
          The new parameters and the new state.
        """
        weight_decay = self._optimizer["weight_decay"]
        rate = learning_rate(self._optimizer, state["count"], decays=self._decays)
        if self._optimizer["clip_norm"]:
            gradients = clip_by_global_norm(gradients, self.trainable, self._optimizer["clip_norm"])
        gradients = jax.tree.map(lambda g, p: g + weight_decay * p, gradients, params)
        directions, moments = self._moments.update(gradients, optax.ScaleByAdamState(**state))
        params = jax.tree.map(
            lambda p, d, trained: p - (rate * d).astype(p.dtype) if trained else p, params, directions, self.trainable
        )
        return params, moments._asdict()
