"""How a run ends before its last step: it is asked to, something fails, or its numbers are no longer finite."""

import logging
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

import jax
import jax.numpy as jnp

from satxlate_jax.cli import InputError
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


@contextmanager
def without_echoes() -> Iterator[None]:
    """Keeps failures of background writes from being reported twice, while it lasts.

    They come back to the caller as exceptions, which say in one line what to do; Orbax, clu, asyncio and TensorStore
    also print them, with tracebacks. After a failure they may do so until the process ends: what is still collected
    here says it here, the program `satxlate` silences the rest at its end, and in Python the process is the user's.
    """
    loggers = [logging.getLogger(name) for name in ("absl", "asyncio")]
    hook = sys.unraisablehook

    def is_no_echo(record: logging.LogRecord) -> bool:
        return record.exc_info is None or not any(name in record.pathname for name in ("orbax", "clu", "asyncio"))

    def ignore_closed_loops(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            hook(unraisable)

    for logger in loggers:
        logger.addFilter(is_no_echo)
    sys.unraisablehook = ignore_closed_loops
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for logger in loggers:
            logger.removeFilter(is_no_echo)


class TrainingDivergedError(InputError):
    """A loss or a parameter is infinite or not a number; nothing of it was saved.

    Args:
      what: is not finite.
      step: in which.
      last: the step of the newest checkpoint, None where there is none.
    """

    def __init__(self, what: str, step: int, last: int | None = None):
        self._what, self._step = what, step
        kept = "no checkpoint had been taken" if last is None else f"the checkpoint of step {last} is of before that"
        again = "start again" if last is None else "start in a new --workdir"
        super().__init__(
            f"{what} in step {step}; training stopped, {kept}. "
            f"Lower config.optimizer.learning_rate or the weights of config.objective and {again}"
        )

    def with_checkpoint(self, last: int | None) -> "TrainingDivergedError":
        """The same, where it is known which checkpoint is the newest."""
        return TrainingDivergedError(self._what, self._step, last)


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
