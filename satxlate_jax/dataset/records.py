"""Records of prepared data sets: packed values, in serialised tf.train.Examples, in TFRecord or ArrayRecord files.

A step of the packed values is 0.01 K or 1e-4 reflectance (`packing.PACKING`), as in the L1G files that this project
writes, so that values which come straight from such a file survive unchanged.

Examples are written and read without tensorflow: a patch is copied once, from its tile to its record, in the processes
that read tiles. A record parses to the same as what `tfds` makes of the same example.

Files lie on disk or in a bucket. A build leaves an index beside TFRecord files (`write_record_index`; ArrayRecord files
have their own). Without it the records' lengths, and nothing else, are read when a shard is first asked for one (in a
bucket the whole shard, in large parts: requests are what takes long there). A record's checksum shows damage.

Sources: Protocol Buffers' encoding, and tensorflow/core/example/{example,feature}.proto; the comment on the format in
tensorflow/core/lib/io/record_writer.h (length, its masked CRC-32C, data, theirs).
"""

import io
import os
import struct
import weakref
import zipfile
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from etils import epath

from satxlate_jax import atomic
from satxlate_jax.instruments import Band
from satxlate_jax.l1g.packing import PACKING, PackedBand
from satxlate_jax.l1g.resampling import Method

MISSING = 65535
"""The packed value that stands for a missing one (NaN)."""
_TABLES = 64  # of 131 kB; an instrument's bands need a few, unless an archive changes its scales all the time

_LENGTH_DELIMITED = 2  # wire type
_BYTES_LIST, _INT64_LIST = 1, 3  # fields of Feature

RECORD_INDEX = "record_ends.npz"  # shard -> where each record ends, int64
FILE_FORMATS = ("tfrecord", "array_record")
OPEN_FILES = 128  # of one split at a time; systems allow a process 1,024
_BLOCK = 2**24  # bytes of a remote file at a time
_HEAD, _FOOT = struct.Struct("<QI"), struct.Struct("<I")


def scale_and_offset(bands: Sequence[Band]) -> tuple[np.ndarray, np.ndarray]:
    """Scale and offset of each band, float64 [band], in its unit: value = packed value * scale + offset."""
    packing = np.array([PACKING["dataset"][band.unit] for band in bands], np.float64).reshape(-1, 2)
    return packing[:, 0], packing[:, 1]


def quantize(values: np.ndarray, bands: Sequence[Band]) -> np.ndarray:
    """Packs physical values [..., band] in each band's unit, not finite where missing, to uint16 [..., band].

    They are rounded to the nearest step; what uint16 cannot reach (far outside anything an imager sees) becomes the
    smallest or the largest value.
    """
    scale, offset = scale_and_offset(bands)
    packed = np.asarray(values, np.float32) - offset.astype(np.float32)
    packed *= (1.0 / scale).astype(np.float32)
    np.rint(packed, out=packed)
    missing = ~np.isfinite(packed)
    np.clip(packed, 0, MISSING - 1, out=packed)
    packed[missing] = MISSING
    return packed.astype(np.uint16)


def quantize_band(band: PackedBand, kind: Band, size: int, resampling: Method) -> np.ndarray:
    """`quantize` of a file's band on a grid of `size` pixels a side, uint16 [size, size].

    Where no pixel is resampled, a table of all 65,536 counts says the same in a tenth of the time.
    """
    if len(band.counts) != size:
        return quantize(band.values(size, resampling)[..., None], [kind])[..., 0]
    table = _table(band.counts.dtype.str, band.scale, band.offset, band.fill, band.possible, kind)
    return table.take(band.counts.view(np.uint16))


@lru_cache(maxsize=_TABLES)
def _table(
    dtype: str, scale: float, offset: float, fill: float, possible: tuple[float, float] | None, kind: Band
) -> np.ndarray:
    """uint16 [65536]: the packed value of each count, by the count's bits."""
    counts = np.arange(65536, dtype=np.uint16).view(dtype).reshape(256, 256)
    return quantize(PackedBand(counts, scale, offset, fill, possible).values(256, "area")[..., None], [kind]).ravel()


def serialize_patches(
    packed: np.ndarray, offsets: Sequence[Sequence[int]], size: int, place: Mapping[str, int | str]
) -> list[memoryview]:
    """The patches of one tile, [h, w, band] and contiguous, as read-only tf.train.Examples, one per offset.

    Features are those of `place` (numbers are at least 0), row, column, and patch, as raw bytes [size, size, band].
    """
    same = b"".join(_feature(name, value) for name, value in place.items())
    pixel = packed[0, 0].nbytes
    lines = packed.reshape(len(packed), -1).view(np.uint8)
    patch_bytes = size * size * pixel
    heads = [_head(same + _feature("row", row) + _feature("column", column), patch_bytes) for row, column in offsets]
    block = np.empty(sum(len(head) + patch_bytes for head in heads), np.uint8)
    records, end = [], 0
    for head, (row, column) in zip(heads, offsets, strict=True):
        begin, body, end = end, end + len(head), end + len(head) + patch_bytes
        block[begin:body] = np.frombuffer(head, np.uint8)
        block[body:end].reshape(size, -1)[:] = lines[row : row + size, column * pixel : (column + size) * pixel]
        records.append(memoryview(block)[begin:end].toreadonly())
    return records


def _head(features: bytes, patch_bytes: int) -> bytes:
    """All of a record but the bytes of its patch, with which it ends."""
    head = b""
    for field in (1, _BYTES_LIST, 2):  # from the inside: the bytes in their list, the list in a Feature, that in a map
        head = _key(field, len(head) + patch_bytes) + head
    head = _field(1, b"patch") + head
    head = features + _key(1, len(head) + patch_bytes) + head
    return _key(1, len(head) + patch_bytes) + head


def _feature(name: str, value: int | str) -> bytes:
    kind, content = (_BYTES_LIST, value.encode()) if isinstance(value, str) else (_INT64_LIST, _varint(value))
    return _field(1, _field(1, name.encode()) + _field(2, _field(kind, _field(1, content))))


def _field(number: int, content: bytes) -> bytes:
    return _key(number, len(content)) + content


def _key(number: int, length: int) -> bytes:
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(length)


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; all bytes but the last have the high bit."""
    if number < 0:
        raise ValueError(f"{number} is negative")
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    return bytes(encoded) + bytes([number])


def read_bytes_feature(record: memoryview, name: str) -> memoryview:
    """A feature of a serialised tf.train.Example that holds one value of raw bytes, as a view of the record.

    Raises ValueError where there is no such feature, or this is no example.
    """
    return _read_feature(record, name, _BYTES_LIST)


def read_number_feature(record: memoryview, name: str) -> int:
    """A feature that holds one number, at least 0; errors as of `read_bytes_feature`."""
    return _read_varint(_read_feature(record, name, _INT64_LIST), 0)[0]


def _read_feature(record: memoryview, name: str, kind: int) -> memoryview:
    """The content of the one value of a feature: the bytes, or the number's varint."""
    try:
        for features in _contents(record, 1):
            for entry in _contents(features, 1):
                if next(_contents(entry, 1)) == name.encode():
                    return next(_contents(next(_contents(next(_contents(entry, 2)), kind)), 1))
    except (IndexError, StopIteration) as error:
        raise ValueError(f"no example with a feature '{name}'") from error
    raise ValueError(f"no example with a feature '{name}'")


def _contents(message: memoryview, number: int) -> Iterator[memoryview]:
    """The contents of a message's fields of one number; all fields must be length-delimited."""
    place = 0
    while place < len(message):
        key, place = _read_varint(message, place)
        length, place = _read_varint(message, place)
        if key & 7 != _LENGTH_DELIMITED or place + length > len(message):
            raise IndexError
        if key >> 3 == number:
            yield message[place : place + length]
        place += length


def _read_varint(message: memoryview, place: int) -> tuple[int, int]:
    number, shift = message[place] & 127, 7
    while message[place] > 127:
        place += 1
        number |= (message[place] & 127) << shift
        shift += 7
    return number, place + 1


class DamagedRecordError(ValueError):
    """A shard does not hold what the data set's description says."""


def write_record_index(folder: Path) -> None:
    """Write the index of a folder's TFRecord shards beside them; DamagedRecordError where a file is not a shard."""
    shards = sorted(path for path in folder.iterdir() if ".tfrecord" in path.name)
    ends = {path.name: _find_ends(_LocalFile(str(path)), str(path)) for path in shards}
    if ends:
        with atomic.replacing(folder / RECORD_INDEX) as temporary, temporary.open("wb") as file:
            np.savez(file, **{name: np.array(places, np.int64) for name, places in ends.items()})


def _read_record_index(folder: epath.Path) -> Mapping[str, np.ndarray]:
    """What `write_record_index` wrote: shard -> ends; empty where there is none, or it cannot be read."""
    try:
        with (folder / RECORD_INDEX).open("rb") as file, np.load(io.BytesIO(file.read()), allow_pickle=False) as arrays:
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
            opened, tables = lru_cache(maxsize=OPEN_FILES)(_open_file), _read_record_index(epath.Path(paths[0]).parent)
            found = [tables.get(epath.Path(path).name) for path in paths]
            self._read = [_TfrecordShard(*shard, opened).read for shard in zip(paths, lengths, found, strict=True)]
        else:
            opened = lru_cache(maxsize=OPEN_FILES)(_ArrayRecordShard)
            shards = zip(paths, lengths, strict=True)
            self._read = [partial(lambda shard, index: opened(*shard).read(index), shard) for shard in shards]

    def read(self, number: int) -> memoryview:
        """One serialised example; DamagedRecordError where its shard is damaged or not as long as promised."""
        shard = bisect_right(self._ends, number)
        return self._read[shard](number - (self._ends[shard - 1] if shard else 0))


class _LocalFile:
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
            self._ends = self._ends or self._load_index(file)
        begin, end = self._ends[index - 1] if index else 0, self._ends[index]
        record = file.read(begin, end - begin)
        data = record[_HEAD.size : -_FOOT.size]
        if len(record) < end - begin or _FOOT.unpack(record[-_FOOT.size :])[0] != _masked_sum(data):
            raise DamagedRecordError(f"record {index} of {self._path} is damaged")
        return memoryview(data)

    def _load_index(self, file: _LocalFile) -> list[int]:
        """The end of each record, from the stored index, or from the file itself where the index is of another file."""
        is_ours = self._stored is not None and self._stored[-1:].tolist() == [file.size()]
        ends = self._stored.tolist() if self._stored is not None and is_ours else _find_ends(file, self._path)
        if len(ends) != self._length:
            raise DamagedRecordError(f"{self._path} has {len(ends)} records, not {self._length}")
        return ends


def _find_ends(file: _LocalFile, path: str) -> list[int]:
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
