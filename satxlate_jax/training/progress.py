"""What is known of the steps taken: their losses as they come back from the devices, how fast, shown where."""

import sys
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import jax
from etils import epath
from tqdm import tqdm

from satxlate_jax.training.monitoring import Monitor
from satxlate_jax.training.stopping import TrainingDivergedError, first_not_finite

# Steps that the host may be ahead of the losses it has seen: the devices never wait for it, nor does it run far ahead.
AHEAD = 2


class Clock:
    """Where the time goes between two reports.

    Args:
      examples_per_step: patches a step looks at, of all satellites.
    """

    APART = ("compile", "save", "look")  # not part of stepping

    def __init__(self, examples_per_step: int):
        self._examples_per_step = examples_per_step
        self._spent: dict[str, float] = defaultdict(float)
        self._since = time.monotonic()
        self._steps = 0

    @contextmanager
    def measure(self, what: str) -> Iterator[None]:
        """Adds the time spent inside to `what`."""
        begin = time.monotonic()
        try:
            yield
        finally:
            self._spent[what] += time.monotonic() - begin

    def count_step(self) -> None:
        """One step is done."""
        self._steps += 1

    def report(self) -> dict[str, float]:
        """Rates since the last report; seconds apart from stepping are totals, seconds of stepping per step."""
        now = time.monotonic()
        stepping = max(now - self._since - sum(self._spent[what] for what in self.APART), 1e-9)
        rate = self._steps / stepping
        values = {"speed/steps_per_second": rate, "speed/examples_per_second": rate * self._examples_per_step}
        values["speed/step_seconds"] = stepping / max(self._steps, 1)
        values["speed/input_wait_seconds_per_step"] = self._spent["input_wait"] / max(self._steps, 1)
        values |= {f"speed/{what}_seconds": self._spent[what] for what in self.APART}
        self._spent.clear()
        self._since, self._steps = now, 0
        return values


class Progress:
    """The terminal: a bar where there is one, else a line now and then; only in the first process.

    Args:
      start: the step begun at.
      steps: the last.
    """

    def __init__(self, start: int, steps: int):
        self._speaks = jax.process_index() == 0
        self._bar = tqdm(total=steps, initial=start, unit="step", disable=None if self._speaks else True)
        self._steps = steps

    def update(self, metrics: Mapping[str, float]) -> None:
        """One more step is known to be done, with these losses."""
        self._bar.set_postfix_str(_losses(metrics), refresh=False)
        self._bar.update()

    def log(self, step: int, metrics: Mapping[str, float], speed: Mapping[str, float]) -> None:
        """A line where there is no bar."""
        if self._bar.disable:
            self.say(f"step {step}/{self._steps}: {_losses(metrics)}, {speed['speed/steps_per_second']:.3g} steps/s")

    def say(self, line: str) -> None:
        """A line for the user, above the bar."""
        if self._speaks:
            tqdm.write(line, file=sys.stdout)
            sys.stdout.flush()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()


def _losses(metrics: Mapping[str, float]) -> str:
    return f"generator {metrics['generator/total']:.4g}, discriminator {metrics['discriminator/total']:.4g}"


class Trace:
    """A profiler's trace of chosen steps, for TensorBoard's profile page (`pip install xprof`).

    Args:
      folder: of the run.
      steps: which; empty for none.
      settle: waits for the steps under way, so that the trace holds all of the chosen ones and nothing of others.
    """

    def __init__(self, folder: epath.Path, steps: range, settle: Callable[[], None]):
        self._folder, self._steps, self._settle = folder, steps, settle
        self._running = False

    def reach(self, step: int) -> None:
        """Called before each step."""
        if self._steps and step == self._steps.start:
            self._settle()
            jax.profiler.start_trace(str(self._folder))
            self._running = True
        elif self._running and step == self._steps.stop:
            self._settle()
            self._stop()

    def _stop(self) -> None:
        if self._running:
            self._running = False
            jax.profiler.stop_trace()

    def __enter__(self) -> "Trace":
        return self

    def __exit__(self, *error: object) -> None:
        self._stop()


class LossLog:
    """Follows the losses without making the devices wait: a step's are fetched when later steps are under way.

    Args:
      monitor: takes the scalars of every `log_every`-th step.
      progress: shows them.
      clock: times them.
      log_every: steps.
      last_step: is logged in any case.
    """

    def __init__(self, monitor: Monitor, progress: Progress, clock: Clock, log_every: int, last_step: int):
        self._monitor, self._progress, self._clock = monitor, progress, clock
        self._log_every, self._last_step = log_every, last_step
        self._under_way: deque[tuple[int, Mapping[str, jax.Array]]] = deque()
        self.stop_agreed = False

    def add(self, step: int, metrics: Mapping[str, jax.Array]) -> None:
        """The metrics of a step that was just begun; `step` counts it."""
        self._under_way.append((step, metrics))
        self.settle(AHEAD)

    def settle(self, ahead: int = 0) -> None:
        """Fetches the metrics of all but the newest `ahead` steps.

        Raises:
          TrainingDivergedError: one of them is not finite.
        """
        while len(self._under_way) > ahead:
            step, metrics = self._under_way.popleft()
            metrics = {name: float(value) for name, value in jax.device_get(metrics).items()}
            self.stop_agreed |= metrics.pop("stop") > 0
            if bad := first_not_finite(metrics):
                raise TrainingDivergedError(f"{bad} is {metrics[bad]}", step)
            self._progress.update(metrics)
            self._clock.count_step()
            if step % self._log_every == 0 or step == self._last_step:
                speed = self._clock.report()
                self._monitor.write_scalars(step, metrics | speed)
                self._progress.log(step, metrics, speed)
