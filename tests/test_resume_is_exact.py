"""Killed anywhere and started again with the same command, a run ends as if it had never been killed, bit for bit."""

import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest

from satxlate_jax.checkpoints import Checkpoints
from tests import tiny_run


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    """Not the one of the run that is compared with: programs from a cache must compute the same as fresh ones."""
    return tmp_path_factory.mktemp("cache")


def _start(run: Path, data: Path, cache: Path, *words: str) -> subprocess.Popen:
    return subprocess.Popen(
        tiny_run.train_command(run, data, *tiny_run.WORDS, *words),
        cwd=tiny_run.PROJECT,
        env=tiny_run.environment(cache),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _wait_for_line(process: subprocess.Popen, start: str) -> str:
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith(start):
            return line
    raise AssertionError(f"ended without a line '{start}': {''.join(lines)}")


def _kill_when(process: subprocess.Popen, moment: Callable[[], bool]) -> bool:
    """Kills the process as soon as `moment` has come; False when it ended before."""
    while process.poll() is None:
        if moment():
            process.kill()
            process.communicate()
            return True
    process.communicate()
    return False


def _assert_same_run(run: Path, reference: Path) -> None:
    ours, theirs = (Checkpoints(folder / "checkpoints") for folder in (run, reference))
    assert ours.steps() == theirs.steps()
    ours, theirs = ours.restore(), theirs.restore()
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for mine, yours in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert np.asarray(mine).tobytes() == np.asarray(yours).tobytes()
    ours, theirs = tiny_run.learned_scalars(run), tiny_run.learned_scalars(reference)
    assert [step for step, _ in theirs["generator/total"]] == list(range(1, tiny_run.STEPS + 1))
    assert ours == theirs
    assert not list(run.glob("*.tmp"))


def _finish(run: Path, data: Path, cache: Path) -> str:
    result = tiny_run.run_training(tiny_run.train_command(run, data, *tiny_run.WORDS), tiny_run.environment(cache))
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_sigkill_at_chosen_moments(tmp_path, data, cache, finished):
    # right after the start, before anything is saved
    process = _start(tmp_path, data, cache)
    assert _kill_when(process, (tmp_path / "run.json").exists)
    # between two checkpoints, after steps that the next life must take again
    process = _start(tmp_path, data, cache)
    _wait_for_line(process, "step 10/")
    process.kill()
    process.communicate()
    reached = Checkpoints(tmp_path / "checkpoints").latest_step()
    assert reached is not None and reached < tiny_run.STEPS
    # while a checkpoint is being written in the background
    process = _start(tmp_path, data, cache)
    assert _kill_when(process, lambda: any((tmp_path / "checkpoints").glob("*.orbax-checkpoint-tmp")))
    assert f"continuing at step {Checkpoints(tmp_path / 'checkpoints').latest_step()}" in _finish(tmp_path, data, cache)
    _assert_same_run(tmp_path, finished)


@pytest.mark.slow
def test_sigkill_at_ten_random_moments(tmp_path, data, cache, finished):
    moments = random.Random(5)
    _start(tmp_path / "warm", data, cache).communicate()  # fills the cache, so that lives are of similar length
    begin = time.monotonic()
    _start(tmp_path / "timed", data, cache).communicate()
    life = time.monotonic() - begin
    run, kills = tmp_path / "run", 0
    while kills < 10:
        process = _start(run, data, cache)
        end = time.monotonic() + moments.uniform(0.05, 1.0) * life
        kills += _kill_when(process, lambda end=end: time.sleep(0.002) or time.monotonic() > end)
        if process.returncode == 0:  # got to the end: kill a run that begins again
            _assert_same_run(run, finished)
            run = tmp_path / f"run{kills}"
    _finish(run, data, cache)
    _assert_same_run(run, finished)


def test_sigterm_saves_and_says_how_to_continue(tmp_path, data, cache, finished):
    process = _start(tmp_path, data, cache)
    _wait_for_line(process, "step 3/")
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    step = Checkpoints(tmp_path / "checkpoints").latest_step()
    (line,) = [line for line in output.splitlines() if line.startswith("stopped as asked")]
    assert f"after step {step} of {tiny_run.STEPS}" in line
    assert f"to continue: python -m satxlate_jax train --config={tiny_run.__file__} --workdir={tmp_path}" in line
    assert 3 <= step < tiny_run.STEPS
    _finish(tmp_path, data, cache)
    expected = tiny_run.learned_scalars(finished)
    assert tiny_run.learned_scalars(tmp_path) == expected
    ours, theirs = (Checkpoints(run / "checkpoints").restore() for run in (tmp_path, finished))
    assert jax.tree.all(jax.tree.map(lambda mine, yours: mine.tobytes() == yours.tobytes(), ours, theirs))


def test_a_finished_run_is_left_as_it_is(data, cache, finished):
    before = tiny_run.read_scalars(finished)
    output = _finish(finished, data, cache)
    assert f"all its {tiny_run.STEPS} steps" in output
    assert tiny_run.read_scalars(finished) == before
