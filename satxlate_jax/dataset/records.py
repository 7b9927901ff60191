"""Examples as serialised tf.train.Example records, without tensorflow, for the processes that read tiles.

A patch is copied once, from its tile to its record. What `tfds` makes of the same example parses to the same.

Source: Protocol Buffers' encoding, and tensorflow/core/example/{example,feature}.proto.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

_LENGTH_DELIMITED = 2  # wire type
_BYTES_LIST, _INT64_LIST = 1, 3  # fields of Feature


def serialize_patches(
    codes: np.ndarray, offsets: Sequence[Sequence[int]], size: int, place: Mapping[str, int | str]
) -> list[memoryview]:
    """The patches of one tile as records.

    Args:
      codes: [h, w, band], contiguous.
      offsets: [n, 2], row and column of each patch.
      size: pixels along a side of a patch.
      place: what is the same for all patches; numbers are at least 0.

    Returns:
      Per patch a read-only tf.train.Example with the features of `place`, `row`, `column`, and `patch` as raw bytes
      [size, size, band].
    """
    same = b"".join(_feature(name, value) for name, value in place.items())
    pixel = codes[0, 0].nbytes
    lines = codes.reshape(len(codes), -1).view(np.uint8)
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
    if isinstance(value, str):
        content = _field(_BYTES_LIST, _field(1, value.encode()))
    else:
        content = _field(_INT64_LIST, _field(1, _varint(value)))
    return _field(1, _field(1, name.encode()) + _field(2, content))


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
    encoded.append(number)
    return bytes(encoded)


def read_bytes_feature(record: memoryview, name: str) -> memoryview:
    """One feature of a serialised tf.train.Example, whoever wrote it, as a view of the record.

    Args:
      record: the example.
      name: of a feature that holds one value of raw bytes.

    Raises:
      ValueError: there is no such feature, or this is no example.
    """
    try:
        for features in _contents(record, 1):
            for entry in _contents(features, 1):
                if next(_contents(entry, 1)) == name.encode():
                    return next(_contents(next(_contents(next(_contents(entry, 2)), _BYTES_LIST)), 1))
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
    number = message[place]
    if number < 128:
        return number, place + 1
    number, shift = number & 127, 7
    while True:
        place += 1
        number |= (message[place] & 127) << shift
        if message[place] < 128:
            return number, place + 1
        shift += 7
