"""Call a function on many files where a crash, a hang or a memory blow-up costs one file and not the job.

A damaged HDF4 file can end the process inside the C library (SIGSEGV, SIGABRT). Here the function runs in a few
long-lived processes that hold nothing else: they import what the function needs, no tensorflow and no jax, and are
replaced when they die.
"""

import os
import pickle
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from satxlate_jax.cli import InputError
from satxlate_jax.cpus import count_cpus
from satxlate_jax.l1g import messages

TIMEOUT = 60.0  # seconds for one file; a tile takes a twentieth of one
MEMORY = 2 * 1024**3  # bytes on top of a worker's own; a tile takes some tens of millions
_START_SECONDS = 300.0  # importing from a network file system on a busy machine
_GRACE_SECONDS = 10.0
_AHEAD = 4  # files per worker that may be done before they are asked for


@dataclass(frozen=True)
class Failure:
    """Why the function gave no result for a file.

    Attributes:
      reason: 'crash', 'timeout', 'memory', or 'error' (the function raised an exception).
      detail: one line.
    """

    reason: Literal["crash", "timeout", "memory", "error"]
    detail: str

    def as_error(self, path: str | os.PathLike) -> InputError:
        """The same as an exception whose message names the file."""
        return InputError(self.detail if Path(path).name in self.detail else f"'{path}' {self.detail}")


class _Worker:
    """One process that forks the ones that do the work (see `isolated_worker`), and the socket to them."""

    def __init__(self, work: tuple[Callable[[Any], Any], float, int]):
        _, self._timeout, _ = work
        self._connection, theirs = messages.open_pair()
        self._words = tempfile.TemporaryFile()  # what the process says on stderr, for the reason of its end
        environment = dict(
            os.environ,
            PYTHONPATH=os.pathsep.join(path or os.getcwd() for path in sys.path),
            # each thread of a numeric library reserves address space, of which there is a limit
            OPENBLAS_NUM_THREADS="1",
            OMP_NUM_THREADS="1",
            # glibc keeps the memory of one tile for the next instead of returning it, which halves the system's share
            # of a process' time (2.4 to 1.1 ms of 54 ms a tile)
            MALLOC_MMAP_THRESHOLD_=str(32 * 1024**2),
            MALLOC_TRIM_THRESHOLD_=str(256 * 1024**2),
        )
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "satxlate_jax.l1g.isolated_worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._words,
                stderr=self._words,
                env=environment,
                start_new_session=True,  # a group of processes that can be ended together
            )
        self._last_words = ""
        self.is_fresh = True  # whether the process that will do the next call has done none
        messages.limit_wait(self._connection, _START_SECONDS)
        try:
            messages.send(self._connection, work)
            messages.receive(self._connection)
        except (EOFError, OSError) as error:
            self.end(patience=5.0)
            raise RuntimeError(f"a process to read files in does not start: {self._last_words}") from error
        # It ends itself in time unless the system does not let it.
        messages.limit_wait(self._connection, self._timeout + _GRACE_SECONDS)

    def call(self, argument: Any) -> tuple[Any, bool]:
        """The result or a Failure, and whether the process lives on."""
        answer: tuple = ("again",)
        try:
            while answer[0] == "again":
                with suppress(BrokenPipeError, ConnectionResetError):  # it died after its last answer: see below
                    messages.send(self._connection, argument)
                answer, goes_on = messages.receive(self._connection)
                self.is_fresh = not goes_on
        except TimeoutError:
            self.end()
            return self._late(), False
        except Exception:  # it is gone (EOFError, OSError), or what it says is no message
            self.end(patience=5.0)  # its own end says why
            return self._failure(), False
        return answer[1] if answer[0] == "done" else Failure(answer[1], answer[2]), True

    def _late(self) -> Failure:
        return Failure("timeout", f"took longer than {self._timeout:g} s")

    def _failure(self) -> Failure:
        code = self._process.returncode
        if code == -signal.SIGALRM:
            return self._late()
        how = signal.Signals(-code).name if -code in set(signal.Signals) else f"exit code {code}"
        words = self._last_words
        return Failure("crash", f"ended the process that read it ({how}{': ' + words if words else ''})")

    def _read_last_words(self) -> str:
        with self._words:
            self._words.seek(0)
            lines = self._words.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def kill(self) -> None:
        """Ends the processes at once. Safe from any thread; who waits for their answer gets a Failure."""
        with suppress(ProcessLookupError, PermissionError):
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)

    def end(self, patience: float = 0.0) -> None:
        """Ends the processes, giving them `patience` seconds to end by themselves."""
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.wait()
        self._connection.close()
        if not self._words.closed:
            self._last_words = self._read_last_words()


class IsolatedCalls:
    """Calls one function in processes of its own. A context manager; `call` may be used from several threads.

    Attributes:
      workers: how many processes there are at most.
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        *,
        workers: int | None = None,
        timeout: float = TIMEOUT,
        memory: int = MEMORY,
    ):
        """Prepares; processes start when they are first needed.

        Args:
          function: of a module that can be imported (not of a script), or a `functools.partial` of one. Its arguments
            and results go through pickle between our own processes. Warnings in it are lost.
          workers: processes; default one per CPU that this process may use.
          timeout: seconds for one call.
          memory: bytes a process may grow by.

        Raises:
          TypeError: the function cannot be imported.
        """
        try:
            pickle.dumps(function)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise TypeError(f"{function!r} must be a function that another process can import") from error
        self.workers = workers or count_cpus()
        self._work = (function, timeout, memory)
        self._idle: deque[_Worker] = deque()
        self._all: set[_Worker] = set()
        self._closed = False

    def call(self, argument: Any) -> Any:
        """The function's result, or a Failure.

        Raises:
          RuntimeError: a process does not start, for example because the function cannot be imported.
        """
        while True:
            worker = self._worker()
            outcome, lives = worker.call(argument)
            if lives:
                self._idle.append(worker)
                return outcome
            self._all.discard(worker)
            # An earlier file may have damaged the process' memory and this one only met the consequence: ask again.
            if worker.is_fresh or self._closed or not (isinstance(outcome, Failure) and outcome.reason == "crash"):
                return outcome

    def read(self, path: Any) -> Any:
        """The function's result for a file.

        Raises:
          InputError: there is none; the message names the file.
          RuntimeError: as for `call`.
        """
        outcome = self.call(path)
        if isinstance(outcome, Failure):
            raise outcome.as_error(path)
        return outcome

    def _worker(self) -> _Worker:
        if self._closed:
            raise RuntimeError("these processes were closed")
        try:
            return self._idle.pop()
        except IndexError:
            worker = _Worker(self._work)
        self._all.add(worker)
        if self._closed:  # meanwhile
            worker.kill()
        return worker

    def map(self, arguments: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        """(argument, result or Failure) for each argument, in their order, taken only a few ahead."""
        waiting: deque = deque()
        threads = ThreadPoolExecutor(self.workers, "isolated")
        try:
            for argument in arguments:
                waiting.append((argument, threads.submit(self.call, argument)))
                if len(waiting) > self.workers * _AHEAD:
                    yield self._next(waiting)
            while waiting:
                yield self._next(waiting)
        finally:
            for _, future in waiting:
                future.cancel()
            if waiting:  # left early: what is being done is of no use
                self.close()
            threads.shutdown()

    @staticmethod
    def _next(waiting: deque) -> tuple[Any, Any]:
        argument, future = waiting.popleft()
        return argument, future.result()

    def close(self) -> None:
        """Ends all processes."""
        self._closed = True
        for worker in list(self._all):
            worker.kill()
        while self._idle:
            self._idle.pop().end()

    def __enter__(self) -> "IsolatedCalls":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_isolated(
    paths: Iterable[Any],
    function: Callable[[Any], Any],
    *,
    workers: int | None = None,
    timeout: float = TIMEOUT,
    memory: int = MEMORY,
) -> Iterator[tuple[Any, Any]]:
    """Calls a function on many files, each in a process that it cannot take the job with.

    Args:
      paths: files, or whatever the function takes; taken only a few ahead.
      function: as for `IsolatedCalls`.
      workers: processes; default one per CPU.
      timeout: seconds for one file.
      memory: bytes a process may grow by.

    Yields:
      (path, result or Failure), in the order of the paths.

    Raises:
      RuntimeError: the processes do not start.
    """
    with IsolatedCalls(function, workers=workers, timeout=timeout, memory=memory) as calls:
        yield from calls.map(paths)
