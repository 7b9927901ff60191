"""`satxlate train`: train a translator, or continue a run (starting_state.py says where its state comes from).

The step number is the whole state of the input and of the noise: batch `step` and fold_in(key, step) belong to step
`step`, whenever it is taken.
"""

import argparse
import logging
import math
import shlex
import signal
import sys
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from etils import epath
from flax.traverse_util import flatten_dict
from jax.sharding import Mesh
from tqdm import tqdm

from satxlate_jax.atomic import PlainPath
from satxlate_jax.checkpoints import Checkpoints
from satxlate_jax.cli import InputError
from satxlate_jax.training import input as batches
from satxlate_jax.training import sharding
from satxlate_jax.training.build_step import build_train_step
from satxlate_jax.training.channels import training_sources
from satxlate_jax.training.config import load_config
from satxlate_jax.training.monitoring import Monitor
from satxlate_jax.training.starting_state import (
    finished_state,
    given_run,
    join_splits,
    open_workdir,
    run_metadata,
    starting_state,
)
from satxlate_jax.training.step import TrainState, TrainStep, jit_train_step, profile_options
from satxlate_jax.training.validation import Validation

# Steps that the host may be ahead of the losses it has seen: the devices never wait for it, nor does it run far ahead.
AHEAD = 2


# ---------------------------------------------------------------- how a run ends before its last step


class TrainingDivergedError(InputError):
    """A loss or a parameter, `what`, is infinite or not a number in a step; nothing of it was saved.

    `last` is the step of the newest checkpoint, None where there is none.
    """

    def __init__(self, what: str, step: int, last: int | None = None):
        self.what, self.step = what, step
        kept = "no checkpoint had been taken" if last is None else f"the checkpoint of step {last} is of before that"
        again = "start again" if last is None else "start in a new --workdir"
        super().__init__(
            f"{what} in step {step}; training stopped, {kept}. "
            f"Lower config.optimizer.learning_rate or the weights of config.objective and {again}"
        )


@jax.jit
def _all_finite(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.all(jnp.isfinite(leaf)), tree)


def check_finite(tree: Any, step: int) -> None:
    """Raise TrainingDivergedError naming the first array that is not finite: only good states become checkpoints.

    A step's losses can be finite although its update was not.
    """
    finite = flatten_dict(jax.device_get(_all_finite(tree)), sep="/")
    bad = [path for path, good in finite.items() if not good]
    if bad:
        raise TrainingDivergedError(f"{bad[0]} is not finite (with {len(bad) - 1} other arrays) after its update", step)


class StopRequest:
    """Inside this context SIGTERM (a preempted machine, a batch system's limit) only sets `requested`."""

    def __init__(self) -> None:
        self.requested = False
        self._before: Any = None

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():  # only there may handlers be set
            self._before = signal.signal(signal.SIGTERM, lambda *_: setattr(self, "requested", True))
        return self

    def __exit__(self, *error: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)


@contextmanager
def errors_reported_once() -> Iterator[None]:
    """Inside this context failures of background writes are reported only once.

    They come back to the caller as exceptions, which say in one line what to do; Orbax, clu, asyncio and TensorStore
    also print them, with tracebacks. After a failure they may do so until the process ends; `satxlate` silences that.
    """
    loggers = [logging.getLogger(name) for name in ("absl", "asyncio")]
    hook = sys.unraisablehook

    def is_not_duplicate(record: logging.LogRecord) -> bool:
        return record.exc_info is None or not any(name in record.pathname for name in ("orbax", "clu", "asyncio"))

    def ignore_closed_loops(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            hook(unraisable)

    for logger in loggers:
        logger.addFilter(is_not_duplicate)
    sys.unraisablehook = ignore_closed_loops
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for logger in loggers:
            logger.removeFilter(is_not_duplicate)


# ---------------------------------------------------------------- progress


class Progress:
    """Follows the losses without making the devices wait, and shows them and where the time goes.

    A step's metrics are fetched when later steps are under way; those of every `log_every`-th step and of the last go
    to the monitor. The first process shows a bar where there is a terminal, else a line now and then. `stop_agreed`
    tells if a process voted to stop in a step that was fetched.
    """

    APART = ("compile", "save", "look")  # not part of stepping; 'look' is evaluating, as tagged in TensorBoard

    def __init__(self, monitor: Monitor, start: int, steps: int, log_every: int, examples_per_step: int):
        self._monitor, self._steps, self._log_every = monitor, steps, log_every
        self._examples_per_step = examples_per_step
        self._under_way: deque[tuple[int, Mapping[str, jax.Array]]] = deque()
        self.stop_agreed = False
        self._speaks = jax.process_index() == 0
        self._bar = tqdm(total=steps, initial=start, unit="step", disable=None if self._speaks else True)
        self._spent: dict[str, float] = defaultdict(float)
        self._since, self._counted = time.monotonic(), 0

    @contextmanager
    def measure(self, what: str) -> Iterator[None]:
        """Add the time spent inside to `what`."""
        begin = time.monotonic()
        try:
            yield
        finally:
            self._spent[what] += time.monotonic() - begin

    def add(self, step: int, metrics: Mapping[str, jax.Array]) -> None:
        """Take the metrics of a step that was just begun; `step` counts it."""
        self._under_way.append((step, metrics))
        self.drain(AHEAD)

    def drain(self, ahead: int = 0) -> None:
        """Fetch the metrics of all but the newest `ahead` steps; TrainingDivergedError where one is not finite."""
        while len(self._under_way) > ahead:
            step, metrics = self._under_way.popleft()
            metrics = {name: float(value) for name, value in jax.device_get(metrics).items()}
            self.stop_agreed |= metrics.pop("stop") > 0
            for name, value in metrics.items():
                if not math.isfinite(value):
                    raise TrainingDivergedError(f"{name} is {value}", step)
            totals = {name[: -len("/total")]: value for name, value in metrics.items() if name.endswith("/total")}
            losses = ", ".join(f"{part} loss {value:.4g}" for part, value in totals.items())
            self._bar.set_postfix_str(losses, refresh=False)
            self._bar.update()
            self._counted += 1
            if step % self._log_every == 0 or step == self._steps:
                speed = self._speed()
                self._monitor.write_scalars(step, metrics | speed)
                if self._bar.disable:
                    rate = speed["speed/steps_per_second"]
                    self.log(f"step {step}/{self._steps}: {losses}, {rate:.3g} steps/s")

    def _speed(self) -> dict[str, float]:
        """Rates since the last report; seconds apart from stepping are totals, seconds of stepping per step."""
        now, count = time.monotonic(), self._counted
        stepping = max(now - self._since - sum(self._spent[what] for what in self.APART), 1e-9)
        values = {
            "speed/steps_per_second": count / stepping,
            "speed/examples_per_second": count / stepping * self._examples_per_step,
            "speed/step_seconds": stepping / max(count, 1),
            "speed/input_wait_seconds_per_step": self._spent["input_wait"] / max(count, 1),
        }
        values |= {f"speed/{what}_seconds": self._spent[what] for what in self.APART}
        self._spent.clear()
        self._since, self._counted = now, 0
        return values

    def log(self, line: str) -> None:
        """A line for the user, above the bar."""
        if self._speaks:
            tqdm.write(line, file=sys.stdout)
            sys.stdout.flush()

    def close(self) -> None:
        """End the bar."""
        self._bar.close()


# ---------------------------------------------------------------- the loop


@dataclass(frozen=True)
class _Run:
    """The parts of a run that stay the same from the first step to the last."""

    config: Any
    mesh: Mesh
    folder: epath.Path
    metadata: dict[str, Any]
    train_step: TrainStep
    checkpoints: Checkpoints
    monitor: Monitor
    progress: Progress
    validation: Validation
    profile: range
    trace: ExitStack


def train(config: Any, workdir: str, profile: range = range(0), allow_other_data: bool = False) -> int:
    """Train to config.steps, or until SIGTERM; every process of a run calls it. Returns the step reached.

    Args:
      config: a checked configuration, see configs/default.py.
      workdir: the run's folder; checkpoints/ and TensorBoard's events go there.
      profile: steps to write a profiler's trace of.
      allow_other_data: continue a run although its data are not those that it began with.

    Raises:
      InputError: the data, the workdir or the configuration cannot be used, or a loss is no longer finite.
    """
    with ExitStack() as stack:  # closed in reverse order, the checkpoints last
        stop = stack.enter_context(StopRequest())
        stack.enter_context(errors_reported_once())
        mesh, folder = sharding.make_mesh(), PlainPath(workdir)
        sharding.check_batch_size(config.batch_size, mesh)
        checkpoints = Checkpoints(folder / "checkpoints", config.keep_last, config.keep_every)
        stack.callback(checkpoints.close)
        if config.init_from and checkpoints.latest_step() is None:
            given_run(config)  # it must be fit to start from; told before data are read
        metadata = run_metadata(config)
        metadata |= {"data": batches.check_records(config), "splits": batches.read_splits(config)}
        saved = open_workdir(folder, metadata, checkpoints)
        if saved >= 0:
            metadata["splits"] = join_splits(checkpoints.metadata(saved), metadata)
        start = max(saved, 0)
        rows = batches.training_batches(config, start, **sharding.this_process())
        train_step = build_train_step(config, metadata["satellites"])
        state, origin = starting_state(config, train_step, mesh, checkpoints, saved, metadata, allow_other_data)
        monitor = Monitor(folder, saved, metadata)
        stack.callback(monitor.close)
        if saved < 0:
            monitor.write_run(state.tree())
            monitor.write_card(0, train_step.objective.translator, state.inference_params, {})
        examples = config.batch_size * len(training_sources(config))
        progress = Progress(monitor, start, config.steps, config.log_every, examples)
        stack.callback(progress.close)
        progress.log(f"{mesh.size} {jax.default_backend()} device(s) of {jax.process_count()} process(es); {origin}")
        validation = Validation(config, mesh, train_step.objective, metadata["satellites"])
        trace = stack.enter_context(ExitStack())
        batch_stream = stack.enter_context(closing(sharding.prefetch(rows, mesh)))
        run = _Run(
            config, mesh, folder, metadata, train_step, checkpoints, monitor, progress, validation, profile, trace
        )
        try:
            return _loop(run, state, batch_stream, start, saved, stop)
        except TrainingDivergedError as error:
            checkpoints.wait()
            raise TrainingDivergedError(error.what, error.step, checkpoints.latest_step()) from None


def _loop(run: _Run, state: TrainState, batch_stream: Iterator[Any], start: int, saved: int, stop: StopRequest) -> int:
    """Take the steps; returns how many are done. The order in here is what makes a resumed run exact."""
    config, progress = run.config, run.progress
    take_step = jit_train_step(run.train_step, run.mesh)
    key = sharding.create(run.mesh, lambda: jax.random.key(config.seed))
    votes = [sharding.stop_votes(run.mesh, answer) for answer in (False, True)]
    compiled = set()
    step = start
    while True:
        # 1. After the last step the calibration is fitted; then the state is evaluated, with it. What was seen at the
        # step that is resumed from is on record already.
        if step >= config.steps and step != saved:
            progress.drain()
            state = finished_state(config, run.train_step, run.mesh, state)
        if step > start:
            with progress.measure("look"):
                run.validation.evaluate(step, state.inference_params, run.monitor)

        # 2. It is saved when due, after all events up to its step: a checkpoint is never ahead of TensorBoard.
        last = step >= config.steps or progress.stop_agreed
        if step != saved and (last or (step > 0 and step % config.checkpoint_every == 0)):
            progress.drain()
            check_finite(state.tree(), step)
            with progress.measure("save"):
                run.monitor.flush()
                run.checkpoints.save(step, state.tree(), run.metadata | {"step": step})
            saved = step
        if last:
            return step

        # 3. Only then this step's batch is drawn. It may have been read ahead; the step alone says which one it is.
        with progress.measure("input_wait"):
            batch = next(batch_stream)

        # 4. And the step is taken. Nothing may move between host and devices in it.
        cycles = 1 + step // config.objective.cycle_step
        if step in (run.profile.start, run.profile.stop):
            progress.drain()  # so that the trace holds all of the chosen steps and nothing of others
            run.trace.close()
            if step in run.profile:
                run.trace.enter_context(jax.profiler.trace(str(run.folder), profiler_options=profile_options()))
        marked = jax.profiler.StepTraceAnnotation("train", step_num=step)
        with progress.measure("step" if cycles in compiled else "compile"), jax.transfer_guard("disallow"), marked:
            state, metrics = take_step(state, batch, key, votes[stop.requested], cycles)
        compiled.add(cycles)
        step += 1
        progress.add(step, metrics)


def main(options: argparse.Namespace) -> int:
    """Run the subcommand `train`."""
    config = load_config(options.config)
    sharding.start(options)
    with sharding.exiting_at_once():
        step = train(config, options.workdir, options.profile, options.allow_other_data)
    if jax.process_index() == 0:
        again = shlex.join(["python", "-m", "satxlate_jax", "train", *options.words])
        checkpoint = PlainPath(options.workdir) / "checkpoints" / str(step)
        if step < config.steps:
            print(f"stopped as asked after step {step} of {config.steps}, saved in {checkpoint}; to continue: {again}")
        else:
            most = max(reversed(list(config.data.satellites)), key=lambda name: len(config.data.satellites[name]))
            run = shlex.quote(options.workdir)
            print(f"the run has all its {step} steps; the checkpoint is {checkpoint}")
            print(f"next: python -m satxlate_jax translate --checkpoint {run} --to {most} INPUT... --output OUT")
    return 0
