"""Objects over a socket between two of our own processes, arrays as they lie in memory.

A message is the number of parts, their sizes and the parts: first the pickled object (protocol 5), then the contents
of its arrays. Pickle can run code: only for a socket whose other end we started ourselves.
"""

import pickle
import socket
import struct
from typing import Any

import numpy as np

_SIZE = struct.Struct(">Q")
_BUFFER = 1024**2  # bytes on their way; fewer changes between the processes than with the system's default


def open_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected sockets."""
    pair = socket.socketpair()
    for one in pair:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
    return pair


def send(connection: socket.socket, message: Any) -> None:
    """Sends an object.

    Raises:
      OSError: the other end is gone, or does not take it within the socket's time limit.
    """
    arrays: list[pickle.PickleBuffer] = []
    parts = [memoryview(pickle.dumps(message, protocol=5, buffer_callback=arrays.append))]
    parts += [array.raw() for array in arrays]
    connection.sendall(b"".join(_SIZE.pack(size) for size in (len(parts), *(part.nbytes for part in parts))))
    for part in parts:
        connection.sendall(part)


def receive(connection: socket.socket) -> Any:
    """The next object.

    Raises:
      EOFError: the other end is gone.
      TimeoutError: nothing came within the socket's time limit.
      OSError: the connection broke.
    """
    (count,) = _SIZE.unpack(_read(connection, _SIZE.size))
    sizes = [_SIZE.unpack(_read(connection, _SIZE.size))[0] for _ in range(count)]
    content, *arrays = [_read(connection, size) for size in sizes]
    return pickle.loads(content, buffers=arrays)


def _read(connection: socket.socket, size: int) -> memoryview:
    content = memoryview(np.empty(size, np.uint8))
    done = 0
    while done < size:
        received = connection.recv_into(content[done:], 0, socket.MSG_WAITALL)
        if received == 0:
            raise EOFError
        done += received
    return content
