"""The process in which `isolation` calls a function: it may crash, hang or run out of memory, and nothing else does.

Started as `python -m satxlate_jax.observations.isolated_worker FD`; FD is its end of a socket. It receives the
function, its limits and then one argument after the other, and answers each with ("done", result) or
("failed", reason, detail). It imports what the function needs and no more.
"""

import os
import resource
import signal
import socket
import sys
from pathlib import Path

from satxlate_jax.observations import messages

# Beyond its time limit a worker ends itself even where nobody is left to end it.
_GRACE_SECONDS = 5.0
# The HDF4 library keeps a damaged file open when it cannot close it, and it can have 32 open: a worker with this many
# says so and leaves, and a new one takes its place.
_FILES_LEFT_OPEN = 8


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


def _answer(function, argument) -> tuple:
    try:
        return "done", function(argument)
    except MemoryError:
        return "failed", "memory", "it needs more memory than a worker may use"
    except Exception as error:
        return "failed", "error", f"{type(error).__name__}: {' '.join(str(error).split())}"


def main(descriptor: int) -> None:
    """Serves until the other end closes, or until too many files were left open."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then closes the socket
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    connection = socket.socket(fileno=descriptor)
    function, timeout, memory = messages.receive(connection)
    _limit_memory(memory)
    files = _open_files()
    messages.send(connection, "ready")
    while True:
        try:
            argument = messages.receive(connection)
        except EOFError:
            return
        signal.setitimer(signal.ITIMER_REAL, timeout + _GRACE_SECONDS)
        answer = _answer(function, argument)
        leaves = _open_files() >= files + _FILES_LEFT_OPEN
        messages.send(connection, (*answer, leaves))
        signal.setitimer(signal.ITIMER_REAL, 0)
        if leaves:
            return


if __name__ == "__main__":
    main(int(sys.argv[1]))
