"""Why a run may end before its last step: it is asked to, or its numbers are no longer finite."""

import signal
import threading
from collections.abc import Mapping
from types import FrameType
from typing import Any

import jax
import jax.numpy as jnp

from satxlate_jax.errors import InputError
from satxlate_jax.training.optimizers import paths


class StopRequest:
    """Inside this context SIGTERM (a preempted machine, a batch system's limit) asks to stop, and no more.

    Attributes:
      requested: whether it came.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: Any = None

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():  # only there may handlers be set
            self._before = signal.signal(signal.SIGTERM, self._ask)
        return self

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.requested = True

    def __exit__(self, *error: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)


class TrainingDivergedError(InputError):
    """A loss or a parameter is infinite or not a number; nothing of it was saved."""

    def __init__(self, what: str, step: int):
        super().__init__(
            f"{what} in step {step}; training stopped, the last checkpoint was taken before that. "
            "Lower config.optimizer.learning_rate or the weights of config.objective and start in a new --workdir"
        )


def first_not_finite(values: Mapping[str, float]) -> str | None:
    """The name of the first value that is infinite or not a number."""
    return next((name for name, value in values.items() if not -float("inf") < value < float("inf")), None)


@jax.jit
def _all_finite(tree: Any) -> list[jax.Array]:
    return [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]


def check_finite(tree: Any, step: int) -> None:
    """A checkpoint must be good: a step's losses can be finite although its update was not.

    Raises:
      TrainingDivergedError: naming the first array that is not finite.
    """
    finite = jax.device_get(_all_finite(tree))
    bad = [path for path, good in zip(paths(tree), finite, strict=True) if not good]
    if bad:
        raise TrainingDivergedError(f"{bad[0]} is not finite (with {len(bad) - 1} other arrays) after its update", step)
