"""Cut a tile into patches, and write these as serialised tf.train.Example records, without tensorflow.

A patch is copied once, from its tile to its record, in the processes that read tiles. The record parses to the same as
what `tfds` makes of the same example.

Source: Protocol Buffers' encoding, and tensorflow/core/example/{example,feature}.proto.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from satxlate_jax.cli import InputError

_LENGTH_DELIMITED = 2  # wire type
_BYTES_LIST, _INT64_LIST = 1, 3  # fields of Feature


def patch_offsets(height: int, width: int, patch: int, stride: int | None = None) -> np.ndarray:
    """Row and column of the first pixel of each patch that covers an image, int64 [n, 2], row by row.

    The stride, pixels from one patch to the next, is `patch` by default, so that only the last row and column overlap.
    Raises InputError where the patch is larger than the image, or patch or stride is not positive.
    """
    stride = patch if stride is None else stride
    if patch < 1 or stride < 1:
        raise InputError(f"patch size {patch} and stride {stride} must be at least 1 pixel")
    if stride > patch:
        raise InputError(f"stride {stride} is larger than the patch size {patch}: pixels between patches would be lost")
    if patch > min(height, width):
        raise InputError(f"a patch of {patch} x {patch} does not fit into an image of {height} x {width} pixels")
    # The last patch ends at the edge instead of being dropped or padded, so nothing is lost and nothing invented.
    starts = [np.union1d(np.arange(0, size - patch + 1, stride), [size - patch]) for size in (height, width)]
    return np.stack(np.meshgrid(*starts, indexing="ij"), axis=-1).reshape(-1, 2)


def cut_patches(x: np.ndarray, patch: int, stride: int | None = None) -> np.ndarray:
    """Cuts an image [height, width, band] into patches [n, patch, patch, band], in the order of `patch_offsets`."""
    offsets = patch_offsets(x.shape[0], x.shape[1], patch, stride)
    return np.stack([x[row : row + patch, column : column + patch] for row, column in offsets])


def serialize_patches(
    packed: np.ndarray, offsets: Sequence[Sequence[int]], size: int, place: Mapping[str, int | str]
) -> list[memoryview]:
    """The patches of one tile, [h, w, band] and contiguous, as records.

    Returns:
      Per offset a read-only tf.train.Example with the features of `place` (numbers are at least 0), `row`, `column`,
      and `patch` as raw bytes [size, size, band].
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
    """All of a record but the patch's own bytes, with which it ends."""
    head = b""
    for field in (1, _BYTES_LIST, 2):  # from the inside: the bytes in their list, the list in a Feature, that in a map
        head = _key(field, len(head) + patch_bytes) + head
    head = _field(1, b"patch") + head
    head = features + _key(1, len(head) + patch_bytes) + head
    return _key(1, len(head) + patch_bytes) + head


def _feature(name: str, value: int | str) -> bytes:
    """One entry of the map from names to features."""
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
    """A number, and the place behind it."""
    number, shift = message[place] & 127, 7
    while message[place] > 127:
        place += 1
        number |= (message[place] & 127) << shift
        shift += 7
    return number, place + 1
