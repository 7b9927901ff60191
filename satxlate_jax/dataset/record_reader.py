"""Random access to the records of a prepared split: TFRecord or ArrayRecord files, on disk or in a bucket.

ArrayRecord files have a table of contents. For TFRecord files a build leaves one beside them (`write_ends`); where it
is not, each record still begins with its length, and when a shard is first asked for a record the lengths alone are
read, 12 bytes a record (of an object in a bucket all of it, in large parts: requests are what takes long there).
Nothing else is read but what is asked for, and damage is noticed by its checksum.

Source: the comment on the format in tensorflow/core/lib/io/record_writer.h (length, its masked CRC-32C, data, theirs).
"""

import io
import os
import struct
import weakref
import zipfile
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from etils import epath

from satxlate_jax import atomic

ENDS = "record_ends.npz"  # shard -> where each record ends, int64
FILE_FORMATS = ("tfrecord", "array_record")
OPEN_FILES = 128  # of one split at a time; systems allow a process 1,024
_BLOCK = 2**24  # bytes of a remote file at a time
_HEAD, _FOOT = struct.Struct("<QI"), struct.Struct("<I")


class DamagedRecordError(ValueError):
    """A shard does not hold what the data set's description says."""


def write_ends(folder: Path) -> None:
    """Writes the table of contents of a data set's TFRecord shards, where it has such, beside them.

    Raises:
      DamagedRecordError: one of them is no TFRecord file.
    """
    shards = sorted(path for path in folder.iterdir() if ".tfrecord" in path.name)
    ends = {path.name: _find_ends(_LocalFile(str(path)), str(path)) for path in shards}
    if ends:
        with atomic.replacing(folder / ENDS) as temporary, temporary.open("wb") as file:
            np.savez(file, **{name: np.array(places, np.int64) for name, places in ends.items()})


def _read_ends(folder: epath.Path) -> Mapping[str, np.ndarray]:
    """The table of `write_ends`; nothing where there is none, or where it cannot be read."""
    try:
        with (folder / ENDS).open("rb") as file, np.load(io.BytesIO(file.read()), allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, zipfile.BadZipFile):
        return {}


class RecordFiles:
    """The records of one split, numbered from 0 through its shards; several threads may read at once."""

    def __init__(self, paths: Sequence[str], lengths: Sequence[int], file_format: str):
        self._ends = list(accumulate(lengths))
        self._read: list[Callable[[int], memoryview]]
        opened: Any
        if file_format == "tfrecord":
            opened, tables = lru_cache(maxsize=OPEN_FILES)(_open_file), _read_ends(epath.Path(paths[0]).parent)
            found = [tables.get(epath.Path(path).name) for path in paths]
            self._read = [_TfrecordShard(*shard, opened).read for shard in zip(paths, lengths, found, strict=True)]
        else:
            opened = lru_cache(maxsize=OPEN_FILES)(_ArrayRecordShard)
            shards = zip(paths, lengths, strict=True)
            self._read = [partial(lambda shard, index: opened(*shard).read(index), shard) for shard in shards]

    def read(self, number: int) -> memoryview:
        """One serialised example.

        Raises:
          DamagedRecordError: its shard is damaged, or not as long as promised.
          OSError: the file cannot be read.
        """
        shard = bisect_right(self._ends, number)
        return self._read[shard](number - (self._ends[shard - 1] if shard else 0))


class _LocalFile:
    """A file that stays open until nobody needs it any more."""

    def __init__(self, path: str):
        self._descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor)
        if hasattr(os, "posix_fadvise"):  # what lies behind a record is not read ahead: it is not wanted next
            os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_RANDOM)

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def read(self, begin: int, size: int) -> bytes:
        return os.pread(self._descriptor, size, begin)

    def peek(self, begin: int, size: int) -> bytes:
        """A little, for one thread that goes through the whole file."""
        return self.read(begin, size)


class _RemoteFile(_LocalFile):
    """An object in a bucket. It is opened for each read: its handles are not for several threads."""

    def __init__(self, path: str):
        self._path = epath.Path(path)
        self._block, self._begin = b"", 0

    def size(self) -> int:
        return self._path.stat().length

    def read(self, begin: int, size: int) -> bytes:
        with self._path.open("rb") as file:
            file.seek(begin)
            return file.read(size)

    def peek(self, begin: int, size: int) -> bytes:
        place = begin - self._begin
        if not 0 <= place <= len(self._block) - size:
            self._block, self._begin, place = self.read(begin, _BLOCK), begin, 0
        return self._block[place : place + size]


def _open_file(path: str) -> _LocalFile:
    return _RemoteFile(path) if "://" in path else _LocalFile(path)


class _TfrecordShard:
    def __init__(self, path: str, length: int, stored: np.ndarray | None, opened: Callable[[str], _LocalFile]):
        self._path, self._length, self._stored, self._opened = path, length, stored, opened
        self._ends: list[int] = []
        self._lock = Lock()

    def read(self, index: int) -> memoryview:
        file = self._opened(self._path)
        with self._lock:
            self._ends = self._ends or self._all_ends(file)
        begin, end = self._ends[index - 1] if index else 0, self._ends[index]
        record = file.read(begin, end - begin)
        data = record[_HEAD.size : -_FOOT.size]
        if len(record) < end - begin or _FOOT.unpack(record[-_FOOT.size :])[0] != _masked_sum(data):
            raise DamagedRecordError(f"record {index} of {self._path} is damaged")
        return memoryview(data)

    def _all_ends(self, file: _LocalFile) -> list[int]:
        """The end of each record, by the table of contents, unless that is another file's."""
        is_ours = self._stored is not None and self._stored[-1:].tolist() == [file.size()]
        ends = self._stored.tolist() if self._stored is not None and is_ours else _find_ends(file, self._path)
        if len(ends) != self._length:
            raise DamagedRecordError(f"{self._path} has {len(ends)} records, not {self._length}")
        return ends


def _find_ends(file: _LocalFile, path: str) -> list[int]:
    """The end of each record, by their lengths."""
    ends: list[int] = []
    end, size = 0, file.size()
    while end < size:
        head = file.peek(end, _HEAD.size)
        if len(head) < _HEAD.size or _masked_sum(head[:8]) != _HEAD.unpack(head)[1]:
            raise DamagedRecordError(f"{path} is damaged after {len(ends)} records")
        end += _HEAD.size + _HEAD.unpack(head)[0] + _FOOT.size
        ends.append(end)
    if end != size:
        raise DamagedRecordError(f"{path} ends within a record")
    return ends


class _ArrayRecordShard:
    def __init__(self, path: str, length: int):
        from array_record.python.array_record_module import ArrayRecordReader  # where it is to be had, tfds brings it

        if not epath.Path(path).stat().length:
            raise DamagedRecordError(f"{path} is empty")  # the library would end the process
        self._path = path
        try:
            self._reader = ArrayRecordReader(path, options="readahead_buffer_size:0")
            found = self._reader.num_records()
        except RuntimeError as error:
            raise DamagedRecordError(f"{path}: {error}") from error
        weakref.finalize(self, self._reader.close)
        if found != length:
            raise DamagedRecordError(f"{path} has {found} records, not {length}")

    def read(self, index: int) -> memoryview:
        try:
            return memoryview(self._reader.read([index])[0])
        except (RuntimeError, ValueError, IndexError) as error:
            raise DamagedRecordError(f"record {index} of {self._path}: {error}") from error


def _masked_sum(content: bytes) -> int:
    import google_crc32c  # here, because the training step is taken without as well

    crc = google_crc32c.value(content)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
