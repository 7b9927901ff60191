"""A training that ends, well or not, leaves the process as it found it."""

import asyncio
import faulthandler
import gc
import logging
import os
import signal
import sys
import threading
import warnings

import jax
import pytest

from satxlate_jax.cli import InputError
from satxlate_jax.training.config import load_config
from satxlate_jax.training.loop import StopRequest, errors_reported_once, train
from tests import tiny_run

QUIET = ("--config.steps=3", "--config.image_every=0", "--config.histogram_every=0", "--config.validate_every=0")


def state_of_the_process():
    """The settings that a library call may change and must put back."""
    mask = os.umask(0o022)
    os.umask(mask)
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    loggers = [logger for logger in loggers if isinstance(logger, logging.Logger)]
    numbers = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
    return {
        "signals": {number: signal.getsignal(number) for number in numbers},
        "hooks": (sys.excepthook, sys.unraisablehook, threading.excepthook, sys.displayhook),
        "traces": (sys.gettrace(), sys.getprofile(), gc.isenabled(), list(gc.callbacks), faulthandler.is_enabled()),
        "logs": {log.name: (list(log.filters), list(log.handlers), log.level, log.disabled) for log in loggers},
        "logging": (logging.root.manager.disable, logging.getLoggerClass(), logging.lastResort),
        "streams": (sys.stdout, sys.stderr, sys.stdin),
        "warnings": (list(warnings.filters), warnings.showwarning),
        "place": (dict(os.environ), os.getcwd(), mask, asyncio.get_event_loop_policy()),
        "jax": dict(jax.config.values),
        "threads": [thread.name for thread in threading.enumerate() if thread.name == "prefetch"],
    }


def test_train_leaves_the_process_as_it_was(data, tmp_path):
    """Of all these ends, the first imports and sets up what is set up only once."""

    def end(name, *words):
        given = [f"--config={tiny_run.__file__}", f"--config.data.dir={data}", *QUIET, *words]
        train(load_config(given), str(tmp_path / name))

    diverges = "--config.optimizer.learning_rate=1.0"
    with pytest.raises(InputError, match="not finite|is inf|is nan"):
        end("first", diverges)
    (tmp_path / "file").write_text("in the way")
    before = state_of_the_process()
    for name, *words in (("diverged", diverges), ("data", "--config.data.dir=nowhere"), ("file",)):
        with pytest.raises(InputError):
            end(name, *words)
        after = state_of_the_process()
        for what in before:
            assert after[what] == before[what], (name, what)
    end("good")
    assert state_of_the_process() == before


@pytest.mark.parametrize("error", [InputError, KeyboardInterrupt, SystemExit])
def test_what_is_silenced_speaks_again(error):
    before = state_of_the_process()
    with pytest.raises(error), StopRequest(), errors_reported_once():
        assert state_of_the_process() != before
        raise error("on purpose")
    assert state_of_the_process() == before
