"""`tfds build` in a process of its own, one data set after the other, and the time each takes."""

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from satxlate_jax.cli import InputError
from satxlate_jax.dataset.manifest import NAME as MANIFEST

BUILDER = Path(__file__).resolve().parents[2] / "datasets" / "geonex_l1g"
_SAMPLING_SECONDS = 0.05
# It stops itself after each build, so that its time can be read in between.
_PROGRAM = """
import json, os, signal, sys
from tensorflow_datasets.scripts.cli.main import launch_cli
for words in json.loads(sys.argv[1]):
    sys.argv = ["tfds", *words]
    try:
        launch_cli()
    except SystemExit as end:
        if end.code:
            raise
    os.kill(os.getpid(), signal.SIGSTOP)
"""


@dataclass(frozen=True)
class BuildTime:
    """What one build took.

    Attributes:
      cpu: CPU seconds of all its processes.
      writer: of them, those of the process that shuffles and writes.
      wall: seconds by the clock.
      examples: that it wrote.
    """

    cpu: float
    writer: float
    wall: float
    examples: int


def run_builds(
    root: Path, data: Path, configs: Sequence[Mapping[str, Any]], cpus: Iterable[int] | None = None
) -> list[BuildTime]:
    """Runs `tfds build` for some configurations.

    Args:
      root: of the L1G archive.
      data: tfds' data_dir.
      configs: the builder's options, each with a name of its own.
      cpus: those it may use; default all that this process may use.

    Raises:
      InputError: it failed, or this is no checkout of the project.
    """
    if not BUILDER.is_dir():
        raise InputError("this benchmark needs the project's checkout (datasets/); clone it and run it there")
    folders = [f"--manual_dir={root}", f"--data_dir={data}"]
    commands = [["build", str(BUILDER), f"--config={json.dumps(config)}", *folders] for config in configs]
    with tempfile.TemporaryFile("w+") as log:
        command = [sys.executable, "-c", _PROGRAM, json.dumps(commands)]
        process = psutil.Popen(command, stdout=log, stderr=log, stdin=log)
        try:
            if cpus is not None:
                process.cpu_affinity(list(cpus))  # before it has threads or processes, which inherit it
            times = _measure(process)
        finally:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        if process.wait() or len(times) != len(configs):
            log.seek(0)
            raise InputError(f"tfds build failed: {(log.read().strip().splitlines() or ['it said nothing'])[-1]}")
    return [
        BuildTime(*time, _count_examples(data, config["name"])) for time, config in zip(times, configs, strict=True)
    ]


def _measure(process: psutil.Popen) -> list[tuple[float, float, float]]:
    """CPU seconds of all processes and of the first, and seconds by the clock, of each build until the last ends."""
    cpu: dict[int, float] = {}
    times, last, start = [], (0.0, 0.0), time.monotonic()
    while process.poll() is None:
        # Processes that read tiles are ended, not waited for, so that nobody sums up for us.
        with suppress(psutil.NoSuchProcess):
            is_stopped = process.status() == psutil.STATUS_STOPPED
            for member in (process, *process.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    used = member.cpu_times()
                    cpu[member.pid] = used.user + used.system
            if is_stopped:
                now = sum(cpu.values()), cpu[process.pid]
                times.append((now[0] - last[0], now[1] - last[1], time.monotonic() - start))
                last, start = now, time.monotonic()
                os.kill(process.pid, signal.SIGCONT)
        time.sleep(_SAMPLING_SECONDS)
    return times


def _count_examples(data: Path, name: str) -> int:
    (path,) = data.glob(f"*/{name}/*/{MANIFEST}")
    return sum(split["examples"] for split in json.loads(path.read_text())["splits"].values())
