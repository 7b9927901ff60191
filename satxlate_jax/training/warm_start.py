"""Start from another run's weights, adding satellites that it lacks.

Values may change, never structure: what the other run has is taken over leaf by leaf, what belongs to a satellite that
it lacks stays freshly initialised, and anything else that is missing is an error.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from satxlate_jax.cli import InputError
from satxlate_jax.training.optimizers import paths

Tree = dict[str, Any]


def new_satellites(config: Mapping[str, Any], metadata: Mapping[str, Any], where: str) -> list[str]:
    """The configured satellites that the run `where` with that metadata does not have.

    Raises:
      InputError: a satellite that both have has other bands there.
    """
    new, known = [], metadata["satellites"]
    for satellite, numbers in config["data"]["satellites"].items():
        if satellite not in known:
            new.append(satellite)
        elif list(numbers) != list(known[satellite]["bands"]):
            theirs = known[satellite]["bands"]
            raise InputError(f"{where} has {satellite} with the bands {theirs}, the configuration with {list(numbers)}")
    return new


def take_over(fresh: Tree, given: Tree, new: list[str], where: str) -> tuple[Tree, dict[str, str]]:
    """Put the parameters of the run `where`, `given`, in the place of fresh ones, but for satellites that are new.

    Returns:
      A tree of the structure of `fresh` (numpy or jax arrays), and path -> 'kept' | 'fresh'.

    Raises:
      InputError: a leaf is missing there, or has another shape.
    """
    theirs = dict(zip(paths(given), jax.tree.leaves(given), strict=True))
    origins, leaves = {}, []
    for path, leaf in zip(paths(fresh), jax.tree.leaves(fresh), strict=True):
        origins[path] = "fresh" if any(satellite in path.split("/")[1:3] for satellite in new) else "kept"
        if origins[path] == "kept":
            problem = "" if path in theirs else f" lacks {path}"
            if not problem and theirs[path].shape != leaf.shape:
                problem = f": {path} is {theirs[path].shape} there and {leaf.shape} here"
            if problem:
                raise InputError(f"{where}{problem}; config.init_from must name a run of the same networks")
            leaf = np.asarray(theirs[path], leaf.dtype)
        leaves.append(leaf)
    return jax.tree.unflatten(jax.tree.structure(fresh), leaves), origins


def describe_origins(origins: Mapping[str, str], trainable: Mapping[str, bool]) -> str:
    """Lines such as '  generator/encoders/G16: 10 kept, frozen', from path -> origin and path -> trained or not."""

    def group(path: str) -> str:
        parts = path.split("/")
        return "/".join(parts[: 3 if parts[1] in ("encoders", "decoders") else 2])

    groups = Counter((group(p), origin, "trained" if trainable[p] else "frozen") for p, origin in origins.items())
    return "\n".join(f"  {name}: {count} {origin}, {state}" for (name, origin, state), count in groups.items())
