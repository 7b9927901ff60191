"""Records of prepared data sets: packed values, in serialised tf.train.Examples, in TFRecord or ArrayRecord files.

A step of the packed values is 0.01 K or 1e-4 reflectance (`packing.PACKING`), as in the L1G files that this project
writes, so that values which come straight from such a file survive unchanged.

Examples are written and read without tensorflow, with tfds' own copy of the message.

Files lie on disk or in a bucket. A build leaves an index beside TFRecord files (`write_record_index`; ArrayRecord files
have their own). Without it the records' lengths, and nothing else, are read when a shard is first asked for one (in a
bucket the whole shard, in large parts: requests are what takes long there). A record's checksum shows damage.

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
from satxlate_jax.instruments import Band
from satxlate_jax.l1g.packing import PACKING, PackedBand
from satxlate_jax.l1g.resampling import Method

MISSING = 65535
"""The packed value that stands for a missing one (NaN)."""
_TABLES = 64  # of 131 kB; an instrument's bands need a few, unless an archive changes its scales all the time

RECORD_INDEX = "record_ends.npz"  # shard -> where each record ends, int64
FILE_FORMATS = ("tfrecord", "array_record")
OPEN_FILES = 128  # of one split at a time; systems allow a process 1,024
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


def read_bytes_feature(record: bytes, name: str) -> bytes:
    """A feature of a serialised tf.train.Example that holds one value of raw bytes.

    Raises ValueError where there is no such feature, or this is no example.
    """
    return _read_feature(record, name, "bytes_list")


def read_number_feature(record: bytes, name: str) -> int:
    """A feature that holds one whole number; errors as of `read_bytes_feature`."""
    return _read_feature(record, name, "int64_list")


def _read_feature(record: bytes, name: str, kind: str) -> Any:
    from google.protobuf.message import DecodeError
    from tensorflow_datasets.proto import tf_example_pb2  # here, because the training step is taken without it

    try:
        return getattr(tf_example_pb2.Example.FromString(record).features.feature[name], kind).value[0]
    except (DecodeError, IndexError) as error:
        raise ValueError(f"no example with a feature '{name}'") from error


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
        self._read: list[Callable[[int], bytes]]
        opened: Any
        if file_format == "tfrecord":
            opened, tables = lru_cache(maxsize=OPEN_FILES)(_open_file), _read_record_index(epath.Path(paths[0]).parent)
            found = [tables.get(epath.Path(path).name, np.empty(0, int)) for path in paths]
            self._read = [_TfrecordShard(*shard, opened).read for shard in zip(paths, lengths, found, strict=True)]
        else:
            opened = lru_cache(maxsize=OPEN_FILES)(_ArrayRecordShard)
            shards = zip(paths, lengths, strict=True)
            self._read = [partial(lambda shard, index: opened(*shard).read(index), shard) for shard in shards]

    def read(self, number: int) -> bytes:
        """One serialised example; DamagedRecordError where its shard is damaged or not as long as promised."""
        shard = bisect_right(self._ends, number)
        return self._read[shard](number - (self._ends[shard - 1] if shard else 0))


class _LocalFile:
    block = _HEAD.size  # bytes to read at a time where only the records' heads are wanted

    def __init__(self, path: str):
        self._descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor)
        # what lies behind a record is not read ahead: it is not wanted next
        os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_RANDOM)

    def read(self, begin: int, size: int) -> bytes:
        return os.pread(self._descriptor, size, begin)


class _RemoteFile(_LocalFile):
    """An object in a bucket. It is opened for each read: its handles are not for several threads."""

    block = 2**24

    def __init__(self, path: str):
        self._path = epath.Path(path)

    def read(self, begin: int, size: int) -> bytes:
        with self._path.open("rb") as file:
            file.seek(begin)
            return file.read(size)


def _open_file(path: str) -> _LocalFile:
    return _RemoteFile(path) if "://" in path else _LocalFile(path)


class _TfrecordShard:
    def __init__(self, path: str, length: int, stored: np.ndarray, opened: Callable[[str], _LocalFile]):
        self._path, self._length, self._stored, self._opened = path, length, stored, opened
        self._ends: list[int] = []
        self._lock = Lock()

    def read(self, index: int) -> bytes:
        file = self._opened(self._path)
        with self._lock:
            self._ends = self._ends or self._load_index(file)
        begin, end = self._ends[index - 1] if index else 0, self._ends[index]
        record = file.read(begin, end - begin)
        data = record[_HEAD.size : -_FOOT.size]
        if len(record) < end - begin or _FOOT.unpack(record[-_FOOT.size :])[0] != _masked_sum(data):
            raise DamagedRecordError(f"record {index} of {self._path} is damaged")
        return data

    def _load_index(self, file: _LocalFile) -> list[int]:
        """The end of each record, from the stored index, or from the file itself where the index is of another file."""
        ends = self._stored.tolist()
        if ends[-1:] != [_size(self._path)]:
            ends = _find_ends(file, self._path)
        if len(ends) != self._length:
            raise DamagedRecordError(f"{self._path} has {len(ends)} records, not {self._length}")
        return ends


def _size(path: str) -> int:
    # of local files epath would also look up the owner's name
    return epath.Path(path).stat().length if "://" in path else os.path.getsize(path)


def _find_ends(file: _LocalFile, path: str) -> list[int]:
    ends: list[int] = []
    end, size, begin, block = 0, _size(path), 0, b""
    while end < size:
        if begin + len(block) < end + _HEAD.size:
            begin, block = end, file.read(end, file.block)
        head = block[end - begin : end - begin + _HEAD.size]
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

        if not _size(path):
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

    def read(self, index: int) -> bytes:
        try:
            return self._reader.read([index])[0]
        except (RuntimeError, ValueError, IndexError) as error:
            raise DamagedRecordError(f"record {index} of {self._path}: {error}") from error


def _masked_sum(content: bytes) -> int:
    import google_crc32c  # here, because the training step is taken without it

    crc = google_crc32c.value(content)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
