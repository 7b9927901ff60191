"""Starting from another run's weights, with satellites it did not have.

May change values, never structure: what the other run has is taken over leaf by leaf, what belongs to a satellite that
it lacks stays freshly initialised, and anything else that is missing is an error.
"""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from satxlate_jax.cli import InputError
from satxlate_jax.training.optimizers import paths

Tree = dict[str, Any]


def new_satellites(config: Mapping[str, Any], facts: Mapping[str, Any], where: str) -> list[str]:
    """The configured satellites that a run does not have.

    Args:
      config: a configuration.
      facts: what the run's checkpoint says of itself.
      where: the run, for the message.

    Raises:
      InputError: a satellite that both have has other bands there.
    """
    new = []
    for satellite, numbers in config["data"]["satellites"].items():
        if satellite not in facts["satellites"]:
            new.append(satellite)
        elif list(numbers) != list(facts["satellites"][satellite]["bands"]):
            theirs = facts["satellites"][satellite]["bands"]
            raise InputError(f"{where} has {satellite} with the bands {theirs}, the configuration with {list(numbers)}")
    return new


def graft(fresh: Tree, given: Tree, new: list[str], where: str) -> tuple[Tree, dict[str, str]]:
    """Fresh parameters with another run's put in their place.

    Args:
      fresh: {'generator': ..., 'discriminator': ...}, freshly initialised.
      given: the same of the other run; satellites that `fresh` lacks are left out.
      new: satellites whose parameters stay fresh.
      where: the other run, for messages.

    Returns:
      A tree of the structure of `fresh` (numpy or jax arrays), and path -> 'kept' | 'fresh'.

    Raises:
      InputError: a leaf is missing there, or has another shape.
    """
    theirs = dict(zip(paths(given), jax.tree.leaves(given), strict=True))
    origins, leaves = {}, []
    for path, leaf in zip(paths(fresh), jax.tree.leaves(fresh), strict=True):
        if any(satellite in path.split("/")[1:3] for satellite in new):
            origins[path] = "fresh"
            leaves.append(leaf)
            continue
        if path not in theirs:
            raise InputError(f"{where} lacks {path}; config.init_from must name a run of the same networks")
        if theirs[path].shape != leaf.shape:
            shapes = f"is {theirs[path].shape} there and {leaf.shape} here"
            raise InputError(f"{where}: {path} {shapes}; config.init_from must name a run of the same networks")
        origins[path] = "kept"
        leaves.append(np.asarray(theirs[path], leaf.dtype))
    return jax.tree.unflatten(jax.tree.structure(fresh), leaves), origins


def describe(origins: Mapping[str, str], trainable: Mapping[str, bool]) -> str:
    """One line a group of leaves: where its values come from and whether they are trained.

    Args:
      origins: path -> 'kept' | 'fresh'.
      trainable: path -> whether training changes it.

    Returns:
      Lines such as '  generator/encoders/G16: 10 kept, frozen'.
    """
    groups: dict[tuple[str, str, str], int] = {}
    for path, origin in origins.items():
        parts = path.split("/")
        name = "/".join(parts[:3] if parts[1] in ("encoders", "decoders") else parts[:2])
        key = (name, origin, "trained" if trainable[path] else "frozen")
        groups[key] = groups.get(key, 0) + 1
    return "\n".join(f"  {name}: {count} {origin}, {state}" for (name, origin, state), count in groups.items())
