"""The processes in which `isolation` calls a function: they may crash, hang or run out of memory, the job does not.

Started as `python -m satxlate_jax.l1g.isolated_worker FD`; FD is one end of a socket. The process receives the
function and its limits, imports what the function needs and no more, and forks a child that answers arguments with
("done", result), ("failed", reason, detail) or ("again",), which asks for the argument once more; and with whether
that child goes on. One that is no longer to be trusted ends, and another is forked from the clean process. When one
dies, the process ends the same way, so that the other end sees how.
"""

import os
import resource
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from satxlate_jax.cli import InputError
from satxlate_jax.l1g import messages
from satxlate_jax.l1g.process_trust import is_distrusted

_OTHER_END_CLOSED = 0
_DISTRUSTED = 75  # exit code; sysexits.h calls it a temporary failure


def _limit_memory(memory: int) -> None:
    """Lets the process grow by `memory` bytes of address space from where it is."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + memory
    except OSError:  # not Linux
        limit = memory
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    except (OSError, ValueError):  # a system without such a limit; the time limit still holds
        return


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"))


def _answer(function: Callable[[Any], Any], argument: Any) -> tuple:
    try:
        return "done", function(argument)
    except MemoryError:
        return "failed", "memory", "needs more memory than a worker may use"
    except InputError as error:  # its message is one for the user
        return "failed", "error", " ".join(str(error).split())
    except Exception as error:
        return "failed", "error", f"{type(error).__name__}: {' '.join(str(error).split())}"


def _serve(connection: socket.socket, function: Callable[[Any], Any], timeout: float, memory: int) -> int:
    """Answers until the other end closes or this process is distrusted; returns the exit code that says which."""
    _limit_memory(memory)
    files = _open_files()
    is_fresh = True
    while True:
        try:
            argument = messages.receive(connection)
        except (EOFError, OSError):
            return _OTHER_END_CLOSED
        signal.setitimer(signal.ITIMER_REAL, timeout)  # SIGALRM ends a process even inside a C library
        answer = _answer(function, argument)
        # The HDF4 library can have 32 files open and keeps a damaged one open when it fails to close it.
        suspicious = is_distrusted() or answer[:2] == ("failed", "memory") or _open_files() > files
        try:
            messages.send(connection, (answer if is_fresh or not suspicious else ("again",), not suspicious))
        except OSError:
            return _OTHER_END_CLOSED
        signal.setitimer(signal.ITIMER_REAL, 0)
        if suspicious:
            return _DISTRUSTED
        is_fresh = False


def main(descriptor: int) -> None:
    """Serves until the other end closes or a child dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then closes the socket
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    connection = socket.socket(fileno=descriptor)
    function, timeout, memory = messages.receive(connection)
    messages.send(connection, "ready")
    while True:
        child = os.fork()
        if child == 0:
            _run_child(connection, function, timeout, memory)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code < 0:
            _end_by(-code)
        if code != _DISTRUSTED:
            sys.exit(code)


def _run_child(connection: socket.socket, function: Callable[[Any], Any], timeout: float, memory: int) -> None:
    code = 1
    try:
        code = _serve(connection, function, timeout, memory)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _end_by(signal_number: int) -> None:
    if signal_number != signal.SIGKILL:  # which cannot be set
        signal.signal(signal_number, signal.SIG_DFL)
    os.kill(os.getpid(), signal_number)


if __name__ == "__main__":
    main(int(sys.argv[1]))
