"""`satxlate train`: train a translator, or continue a run.

    python -m satxlate_jax train --config=configs/base_g16g17.py --workdir=RUN [--config.data.dir=DATA ...]

Where the state comes from, in order of precedence: the newest complete checkpoint of the workdir; the run that
config.init_from names; scratch. So the same command starts a run and continues it. The step number is the whole state
of the input and of the noise: batch `step` and fold_in(key, step) belong to step `step`, whenever it is taken.
"""

import argparse
import shlex
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import jax
from jax.sharding import Mesh

from satxlate_jax.atomic import PlainPath
from satxlate_jax.checkpoints import Checkpoints
from satxlate_jax.cli import CommandParser, user_path
from satxlate_jax.training import input as batches
from satxlate_jax.training import run as runs
from satxlate_jax.training import sharding
from satxlate_jax.training.assembly import build_objective, build_train_step
from satxlate_jax.training.channels import streams
from satxlate_jax.training.config import load_config
from satxlate_jax.training.monitoring import Monitor
from satxlate_jax.training.objective import Objective
from satxlate_jax.training.progress import Clock, LossLog, Progress, Trace
from satxlate_jax.training.step_program import jit_train_step
from satxlate_jax.training.stopping import StopRequest, TrainingDivergedError, check_finite, without_echoes
from satxlate_jax.training.train_state import TrainState
from satxlate_jax.training.validation import Validation


def _plain_objective(config: Any, satellites: Any) -> Objective:
    """What looks at single images."""
    config = config.copy_and_resolve_references()
    config.abreast = 1
    return build_objective(config, satellites)


@dataclass(frozen=True)
class _Run:
    """What stays the same from the first step to the last."""

    config: Any
    mesh: Mesh
    facts: dict[str, Any]
    checkpoints: Checkpoints
    monitor: Monitor
    clock: Clock
    losses: LossLog
    validation: Validation
    trace: Trace
    take_step: Any


def train(config: Any, workdir: str, profile: range = range(0), allow_other_data: bool = False) -> int:
    """Trains to config.steps, or until SIGTERM; every process of a run calls it.

    Args:
      config: a checked configuration, see configs/default.py.
      workdir: the run's folder; checkpoints/ and TensorBoard's events go there.
      profile: steps to write a profiler's trace of.
      allow_other_data: a run is continued although its data are not those that it began with.

    Returns:
      The step reached; the newest checkpoint holds it.

    Raises:
      InputError: the data, the workdir or the configuration cannot be used, or a loss is no longer finite.
    """
    with ExitStack() as stack:  # closed in reverse order, the checkpoints last
        stop = stack.enter_context(StopRequest())
        stack.enter_context(without_echoes())
        mesh, folder = sharding.make_mesh(), PlainPath(workdir)
        sharding.check_batch_size(config.batch_size, mesh, config.abreast)
        checkpoints = Checkpoints(folder / "checkpoints", config.keep_last, config.keep_every)
        stack.callback(checkpoints.close)
        runs.check_origin(config, checkpoints)
        facts = runs.run_facts(config)
        facts["data"] = batches.check_records(config)
        saved = runs.open_workdir(folder, facts, checkpoints)
        start = max(saved, 0)
        rows = batches.training_batches(config, start, **sharding.this_process())
        train_step = build_train_step(config, facts["satellites"])
        state, origin = runs.starting_state(config, train_step, mesh, checkpoints, saved, facts, allow_other_data)
        monitor = Monitor(folder, saved, facts)
        stack.callback(monitor.close)
        if saved < 0:
            monitor.write_run(facts, runs.state_tree(state))
        progress = stack.enter_context(Progress(start, config.steps))
        progress.say(f"{mesh.size} {jax.default_backend()} device(s) of {jax.process_count()} process(es); {origin}")
        clock = Clock(config.batch_size * len(streams(config)))
        losses = LossLog(monitor, progress, clock, config.log_every, config.steps)
        validation = Validation(config, mesh, _plain_objective(config, facts["satellites"]), facts["satellites"])
        trace = stack.enter_context(Trace(folder, profile, losses.settle))
        take_step = jit_train_step(train_step, mesh)
        batch_stream = stack.enter_context(sharding.Prefetch(rows, mesh))
        run = _Run(config, mesh, facts, checkpoints, monitor, clock, losses, validation, trace, take_step)
        try:
            return _loop(run, state, batch_stream, start, saved, stop)
        except TrainingDivergedError as error:
            checkpoints.wait()
            raise error.with_checkpoint(checkpoints.latest_step()) from None


def _loop(
    run: _Run, state: TrainState, batch_stream: sharding.Prefetch, start: int, saved: int, stop: StopRequest
) -> int:
    """Takes the steps; returns how many are done. The order in here is what makes a resumed run exact."""
    config, clock = run.config, run.clock
    key = sharding.create(run.mesh, lambda: jax.random.key(config.seed))
    votes = [sharding.stop_votes(run.mesh, answer) for answer in (False, True)]
    compiled = set()
    step = start
    while True:
        # 1. The old state is looked at. What was seen at the step that is resumed from is on record already.
        if step > start:
            with clock.measure("look"):
                run.validation.look(step, state.translating, run.monitor)

        # 2. It is saved when due, after all events up to its step: a checkpoint is never ahead of TensorBoard.
        last = step >= config.steps or run.losses.stop_agreed
        if step != saved and (last or (step > 0 and step % config.checkpoint_every == 0)):
            run.losses.settle()
            check_finite(runs.state_tree(state), step)
            with clock.measure("save"):
                run.monitor.flush()
                run.checkpoints.save(step, runs.state_tree(state), run.facts | {"step": step})
            saved = step
        if last:
            return step

        # 3. Only then this step's batch is drawn. It may have been read ahead; the step alone says which one it is.
        with clock.measure("input_wait"):
            batch = next(batch_stream)

        # 4. And the step is taken. Nothing may move between host and devices in it.
        cycles = 1 + step // config.objective.cycle_step
        run.trace.reach(step)
        marked = jax.profiler.StepTraceAnnotation("train", step_num=step)
        with clock.measure("step" if cycles in compiled else "compile"), jax.transfer_guard("disallow"), marked:
            state, metrics = run.take_step(state, batch, key, votes[stop.requested], cycles)
        compiled.add(cycles)
        step += 1
        run.losses.add(step, metrics)


def _parse_steps(text: str) -> range:
    first, _, end = text.partition("-")
    if not (first.isdecimal() and end.isdecimal() and int(first) < int(end)):
        raise argparse.ArgumentTypeError(f"'{text}' is no range of steps such as 100-105")
    return range(int(first), int(end))


def main(argv: Sequence[str]) -> int:
    """Runs the verb `train`."""
    parser = CommandParser(
        prog="satxlate train",
        description="Train a translator, or continue a run: the same command does both.",
        epilog="--config=FILE.py names the configuration; --config.FIELD=VALUE overrides any field of it, for example "
        "--config.data.dir=DATA --config.steps=1000 (configs/default.py lists and explains them all).",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--workdir",
        type=user_path,
        required=True,
        metavar="RUN",
        help="folder for checkpoints and TensorBoard's events",
    )
    parser.add_argument(
        "--profile", type=_parse_steps, default=range(0), metavar="A-B", help="write a profiler's trace of steps A to B"
    )
    parser.add_argument(
        "--allow_other_data", action="store_true", help="continue a run on other data than those it began with"
    )
    sharding.add_distributed_arguments(parser)
    arguments, words = parser.parse_known_args(argv)
    config = load_config(words)
    sharding.start(arguments)
    with sharding.leaving_at_once():
        step = train(config, arguments.workdir, arguments.profile, arguments.allow_other_data)
    if jax.process_index() == 0:
        again = shlex.join(["python", "-m", "satxlate_jax", "train", *argv])
        checkpoint = PlainPath(arguments.workdir) / "checkpoints" / str(step)
        if step < config.steps:
            print(f"stopped as asked after step {step} of {config.steps}, saved in {checkpoint}; to continue: {again}")
        else:
            most = max(reversed(list(config.data.satellites)), key=lambda name: len(config.data.satellites[name]))
            run = shlex.quote(arguments.workdir)
            print(f"the run has all its {step} steps; the checkpoint is {checkpoint}")
            print(f"next: python -m satxlate_jax translate --checkpoint {run} --to {most} INPUT... --output OUT")
    return 0
