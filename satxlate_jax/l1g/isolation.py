"""Call a function on many files so that a crash, a hang or too much memory costs one file and not the job.

A damaged HDF4 file can end the process inside the C library (SIGSEGV, SIGABRT), or leave the library broken for the
files that follow. So the function runs in a few processes that hold nothing else, no tensorflow and no jax. Each of
these servers imports the function once and forks a worker, which answers call after call over a socket. A worker that
may be broken is replaced by a fresh fork; one that dies takes its server with it, so that the parent sees how.

(pebble's ProcessPool was measured in its place: 14 % more CPU time for a tile; it imports the main program, such as
`tfds build`, into every process, and gives up where a process dies between two calls.)
"""

import os
import pickle
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal

from satxlate_jax.cli import InputError, one_line
from satxlate_jax.cpus import count_cpus

TIMEOUT = 60.0  # seconds for one file; a tile takes a twentieth of one
MEMORY = 2 * 1024**3  # bytes on top of a worker's own; a tile takes some tens of millions
_START_SECONDS = 300.0  # importing from a network file system on a busy machine
AHEAD = 4  # files per worker that may be done before they are asked for
_REPLACE = 75  # exit code of a worker that asks to be replaced
_SOCKET_BYTES = 1024**2  # fewer switches between the processes than with the system's default

_is_suspect = False


def mark_process_suspect() -> None:
    """Mark this process as one whose C libraries may be corrupt; if it is a worker, a fresh one replaces it."""
    global _is_suspect
    _is_suspect = True


@dataclass(frozen=True)
class Failure:
    """The reason why the function gave no result for a file ('error': it raised an exception), and a line of detail."""

    reason: Literal["crash", "timeout", "memory", "error"]
    detail: str

    def as_error(self, path: str | os.PathLike) -> InputError:
        """The same as an exception whose message names the file."""
        return InputError(self.detail if Path(path).name in self.detail else f"'{path}' {self.detail}")


class IsolatedCalls(AbstractContextManager):
    """Calls one function in processes of its own, started when needed; `call` may be used from several threads."""

    def __init__(
        self, function: Callable, *, workers: int | None = None, timeout: float = TIMEOUT, memory: int = MEMORY
    ):
        """Takes a function that can be imported, or a `functools.partial` of one (else TypeError), and limits.

        Of one call: seconds, and bytes that a process may grow by. Workers are one per CPU of the job by default.
        """
        try:
            pickle.dumps(function)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise TypeError(f"{function!r} must be a function that another process can import") from error
        self.workers = workers or count_cpus()
        self._start = partial(_Server, function, timeout, memory)
        self._idle: deque[_Server] = deque()
        self._all: set[_Server] = set()
        self._closed = False

    def call(self, argument: Any) -> Any:
        """The function's result, or a Failure. Raises RuntimeError where a process does not start."""
        while True:
            server = self._take()
            outcome, lives = server.call(argument)
            if lives:
                self._idle.append(server)
                return outcome
            self._all.discard(server)
            # An earlier file may have damaged the process' memory and this one only met the consequence: ask again.
            if server.is_fresh or self._closed or outcome.reason != "crash":
                return outcome

    def read(self, path: Any) -> Any:
        """The function's result for a file. Raises InputError, which names the file, where there is none."""
        outcome = self.call(path)
        if isinstance(outcome, Failure):
            raise outcome.as_error(path)
        return outcome

    def map(self, arguments: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        """(argument, result or Failure) for each argument, in their order, taken only a few ahead."""
        with ThreadPoolExecutor(self.workers, "isolated") as threads:
            try:
                yield from overlap(threads, self.call, arguments, self.workers * AHEAD)
            except BaseException:  # it is left early: what is being done is of no use
                self.close()
                raise

    def _take(self) -> "_Server":
        if self._closed:
            raise RuntimeError("these processes were closed")
        try:
            return self._idle.pop()
        except IndexError:
            server = self._start()
        self._all.add(server)
        if self._closed:  # meanwhile
            server.kill()
        return server

    def close(self) -> None:
        """Ends all processes; what writes has half a second to remove what it wrote in part."""
        self._closed = True
        for server in list(self._all):
            server.kill(signal.SIGTERM)
        deadline = time.monotonic() + 0.5
        while any(server.lives for server in list(self._all)) and time.monotonic() < deadline:
            time.sleep(0.01)
        for server in list(self._all):
            server.kill()
        while self._idle:
            self._idle.pop().end()

    def __exit__(self, *_: object) -> None:
        self.close()


def overlap(
    threads: ThreadPoolExecutor, function: Callable, arguments: Iterable[Any], ahead: int
) -> Generator[tuple[Any, Any], None, None]:
    """(argument, result) for each argument, in their order; at most `ahead` are begun before they are asked for."""
    waiting: deque[tuple[Any, Future]] = deque()
    try:
        for argument in arguments:
            waiting.append((argument, threads.submit(function, argument)))
            if len(waiting) > ahead:
                done, future = waiting.popleft()
                yield done, future.result()
        while waiting:
            done, future = waiting.popleft()
            yield done, future.result()
    finally:
        for _, future in waiting:
            future.cancel()


def read_isolated(paths: Iterable[Any], function: Callable, **limits: Any) -> Generator[tuple[Any, Any], None, None]:
    """(path, result or Failure) for each path, in their order; arguments are those of `IsolatedCalls`."""
    with IsolatedCalls(function, **limits) as calls:
        yield from calls.map(paths)


class _Server:
    def __init__(self, function: Callable, timeout: float, memory: int):
        self._timeout = timeout
        self._connection, theirs = socket.socketpair()
        for end in (self._connection, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BYTES)
        self._connection.settimeout(timeout + _START_SECONDS)  # a worker ends itself in time unless the system hinders
        self._answers = self._connection.makefile("rb")
        self._stderr = tempfile.TemporaryFile()  # for the reason of the process' end
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
            # each thread of a numeric library reserves address space, of which there is a limit
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            # glibc keeps the memory of one tile for the next, which halves the system's share of the time
            "MALLOC_MMAP_THRESHOLD_": str(32 * 1024**2),
            "MALLOC_TRIM_THRESHOLD_": str(256 * 1024**2),
        }
        program = f"from satxlate_jax.l1g import isolation; isolation.serve({theirs.fileno()})"
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", program],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._stderr,
                stderr=self._stderr,
                env=environment,
                start_new_session=True,  # a group of processes that can be ended together
            )
        self._last_words = ""
        self.is_fresh = True  # whether the worker that will do the next call has done none
        try:
            self._send((function, timeout, memory))
            pickle.load(self._answers)
        except (EOFError, OSError) as error:
            self.end(patience=5.0)
            raise RuntimeError(f"a process to read files in does not start: {self._last_words}") from error

    def _send(self, message: Any) -> None:
        self._connection.sendall(pickle.dumps(message, protocol=5))

    def call(self, argument: Any) -> tuple[Any, bool]:
        """The result or a Failure, and whether the server lives on."""
        answer = None
        try:
            while answer is None:  # a worker that may be broken asks for the argument once more, for a fresh one
                with suppress(BrokenPipeError, ConnectionResetError):  # it died after its last answer: see below
                    self._send(argument)
                answer, goes_on = pickle.load(self._answers)
                self.is_fresh = not goes_on
        except Exception as error:  # it hangs (TimeoutError), is gone, or what it says is no message
            is_late = isinstance(error, TimeoutError)
            self.end(patience=0.0 if is_late else 5.0)  # its own end says why
            code = self._process.returncode
            if is_late or code == -signal.SIGALRM:
                return Failure("timeout", f"took longer than {self._timeout:g} s"), False
            how = signal.Signals(-code).name if -code in set(signal.Signals) else f"exit code {code}"
            words = f": {self._last_words}" if self._last_words else ""
            return Failure("crash", f"ended the process that read it ({how}{words})"), False
        return answer[0], True

    def kill(self, how: int = signal.SIGKILL) -> None:
        """Ends the processes at once, from any thread; a `call` that waits for an answer gets a Failure."""
        with suppress(ProcessLookupError, PermissionError):
            if self.lives:
                os.killpg(self._process.pid, how)

    @property
    def lives(self) -> bool:
        return self._process.poll() is None

    def end(self, patience: float = 0.0) -> None:
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.wait()
        self._answers.close()
        self._connection.close()
        with self._stderr:
            self._stderr.seek(0)
            lines = self._stderr.read().decode(errors="replace").split("\n")
        self._last_words = next((line.strip() for line in reversed(lines) if line.strip()), "")


def serve(descriptor: int) -> None:
    """The server process: forks workers until the other end of the socket closes or a worker dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then closes the socket
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    connection = socket.socket(fileno=descriptor)
    calls = connection.makefile("rb")
    work = pickle.load(calls)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the worker answers it
    connection.sendall(pickle.dumps("ready"))
    while True:
        worker = os.fork()
        if worker == 0:
            os._exit(_work(connection, calls, *work))
        code = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
        if code < 0:
            if code != -signal.SIGKILL:
                signal.signal(-code, signal.SIG_DFL)
            os.kill(os.getpid(), -code)
        if code != _REPLACE:
            sys.exit(code)


def _work(connection: socket.socket, calls: BinaryIO, function: Callable, timeout: float, memory: int) -> int:
    """Answers calls until the other end closes or this worker is to be replaced; returns its exit code."""
    with suppress(OSError, ValueError):  # a system without /proc or such a limit; the time limit still holds
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit, hard = pages * resource.getpagesize() + memory, resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # by way of what cleans up
    files, is_fresh = len(os.listdir("/dev/fd")), True
    try:
        while True:
            argument = pickle.load(calls)
            signal.setitimer(signal.ITIMER_REAL, timeout)  # SIGALRM ends a process even inside a C library
            outcome = _answer(function, argument)
            # The HDF4 library can have 32 files open and keeps a damaged one open when it fails to close it.
            is_broken = _is_suspect or len(os.listdir("/dev/fd")) > files
            is_broken |= isinstance(outcome, Failure) and outcome.reason == "memory"
            answer = ((outcome,) if is_fresh or not is_broken else None, not is_broken)
            connection.sendall(pickle.dumps(answer, protocol=5))
            signal.setitimer(signal.ITIMER_REAL, 0)
            if is_broken:
                return _REPLACE
            is_fresh = False
    except (EOFError, OSError):  # the other end is gone
        return 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        return 1


def _answer(function: Callable, argument: Any) -> Any:
    try:
        return function(argument)
    except MemoryError:
        return Failure("memory", "needs more memory than a worker may use")
    except InputError as error:  # its message is one for the user
        return Failure("error", " ".join(str(error).split()))
    except Exception as error:
        return Failure("error", one_line(error))
