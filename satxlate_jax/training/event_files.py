"""TensorBoard's event files when a run starts again.

A run that was killed has written events of steps after the checkpoint it continues from, and it will write them again.
So that every reader sees each step once, those events are taken out of the files before the first new one is written.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO

from etils import epath
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

from satxlate_jax import atomic
from satxlate_jax.atomic import PlainPath

PATTERN = "events.out.tfevents.*"


def trim_event_files(folder: epath.Path, last_step: int) -> None:
    """Takes out every event of a step after `last_step`, and what a kill left half-written; empty files go.

    Args:
      folder: of the run.
      last_step: the step of the checkpoint that is continued from; -1 to take out all.
    """
    for path in sorted(PlainPath(folder).glob(PATTERN)):
        # The temporary name must not look like an event file to a TensorBoard that watches the folder.
        with atomic.replacing(path, ".trimmed.part") as temporary:
            empty = True
            with path.open("rb") as source, temporary.open("wb") as target:
                for record, data in _records(source):
                    event = Event.FromString(data)
                    is_header = event.WhichOneof("what") == "file_version"
                    if is_header or event.step <= last_step:
                        target.write(record)
                        empty &= is_header
            if empty or temporary.stat().length == path.stat().length:
                temporary.unlink()
        if empty:
            path.unlink()


def _records(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """The whole records of a TFRecord file, each with its framing and without; ends where one is cut short.

    A record is its length (uint64), a checksum of that (uint32), the data, a checksum of the data (uint32).
    """
    while len(header := file.read(12)) == 12 and struct.unpack("<I", header[8:])[0] == masked_crc32c(header[:8]):
        (length,) = struct.unpack("<Q", header[:8])
        rest = file.read(length + 4)
        if len(rest) < length + 4:
            return
        yield header + rest, rest[:-4]
