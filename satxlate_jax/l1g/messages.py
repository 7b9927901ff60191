"""Objects over a socket between two of our own processes, arrays as they lie in memory.

A message is the number of parts, their sizes and the parts: first the pickled object (protocol 5), then the contents
of its arrays. A buffer that was read-only arrives as `bytes`, which costs no further copy; another can be written to.
Pickle can run code: only for a socket whose other end we started ourselves.
"""

import pickle
import socket
import struct
from typing import Any

import numpy as np

_COUNT = struct.Struct(">Q")
_PART = struct.Struct(">Q?")  # bytes, and whether it arrives as `bytes`
_SECONDS = struct.Struct("@ll")  # C's timeval
_BUFFER = 1024**2  # bytes on their way; fewer changes between the processes than with the system's default


def open_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected sockets."""
    pair = socket.socketpair()
    for one in pair:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
    return pair


def limit_wait(connection: socket.socket, seconds: float) -> None:
    """Ends the wait for the other end after some seconds with a TimeoutError.

    Unlike `settimeout` this leaves the socket blocking, so that one call of the system reads all of an array.
    """
    limit = _SECONDS.pack(int(seconds), int(seconds % 1 * 1e6))
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        connection.setsockopt(socket.SOL_SOCKET, option, limit)


def send(connection: socket.socket, message: Any) -> None:
    """Sends an object.

    Raises:
      OSError: the other end is gone, or does not take it within the socket's time limit.
    """
    arrays: list[pickle.PickleBuffer] = []
    parts = [memoryview(pickle.dumps(message, protocol=5, buffer_callback=arrays.append))]
    parts += [array.raw() for array in arrays]
    connection.sendall(_COUNT.pack(len(parts)) + b"".join(_PART.pack(part.nbytes, part.readonly) for part in parts))
    for part in parts:
        connection.sendall(part)


def receive(connection: socket.socket) -> Any:
    """The next object.

    Raises:
      EOFError: the other end is gone.
      TimeoutError: nothing came within the socket's time limit.
      OSError: the connection broke.
    """
    (count,) = _COUNT.unpack(_read_bytes(connection, _COUNT.size))
    kinds = [*_PART.iter_unpack(_read_bytes(connection, count * _PART.size))]
    content, *arrays = [(_read_bytes if fixed else _read_array)(connection, size) for size, fixed in kinds]
    return pickle.loads(content, buffers=arrays)


def _read_bytes(connection: socket.socket, size: int) -> bytes:
    pieces = []  # nearly always one
    while size:
        try:
            pieces.append(connection.recv(size, socket.MSG_WAITALL))
        except BlockingIOError as error:
            raise TimeoutError("nothing came in time") from error
        if not pieces[-1]:
            raise EOFError
        size -= len(pieces[-1])
    return b"".join(pieces) if len(pieces) != 1 else pieces[0]


def _read_array(connection: socket.socket, size: int) -> memoryview:
    content = memoryview(np.empty(size, np.uint8))
    done = 0
    while done < size:
        try:
            received = connection.recv_into(content[done:], 0, socket.MSG_WAITALL)
        except BlockingIOError as error:
            raise TimeoutError("nothing came in time") from error
        if received == 0:
            raise EOFError
        done += received
    return content
