"""Whether an HDF4 file is whole, from its directory alone, in Python.

The HDF4 library trusts what it reads: a truncated or altered file can end the process inside it. The directory (a
chain of blocks of data descriptors: tag, reference, offset, length) says where every element lies; an element that
lies beyond the end of the file shows the damage before the library sees the file. What is altered inside an element
is not found here.

Source: HDF4 Specification and Developer's Guide, chapter 2 (physical layout).
"""

import os
import stat
import struct
from pathlib import Path
from typing import BinaryIO

from satxlate_jax.l1g.file_kinds import HDF4_MAGIC, HEAD, identify_kind

_BLOCK = struct.Struct(">HI")  # number of descriptors, offset of the next block
_DESCRIPTOR = struct.Struct(">HHII")  # tag, reference, offset, length
_NULL_TAG = 1
_UNDEFINED = 0xFFFFFFFF  # an element that was declared and never written


def find_damage(path: str | os.PathLike) -> str | None:
    """What makes a path unreadable as an HDF4 file.

    Args:
      path: of the file.

    Returns:
      A few words such as 'is cut short: ...', or None where the file may be opened.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode  # first, because opening a pipe would wait for its other end
        if stat.S_ISDIR(mode):
            return "is a folder, not a file"
        if not stat.S_ISREG(mode):
            return "is not a regular file"
        with path.open("rb") as file:
            return _damage(file, os.fstat(file.fileno()).st_size)
    except FileNotFoundError:
        return "does not exist"
    except PermissionError:
        return "may not be read (permission denied)"
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        return f"cannot be read ({getattr(error, 'strerror', None) or error})"


def _not_hdf4(head: bytes) -> str:
    kind, advice = identify_kind(head)
    if not kind:
        return "is not an HDF4 file, and of no kind that is known here"
    return f"is not an HDF4 file but {kind}" + (f"; {advice}" if advice else "")


def _damage(file: BinaryIO, size: int) -> str | None:
    if size == 0:
        return "is empty"
    head = file.read(HEAD)
    if not head.startswith(HDF4_MAGIC):
        return "is cut short; fetch it again" if HDF4_MAGIC.startswith(head) else _not_hdf4(head)
    block, seen = len(HDF4_MAGIC), set()
    while block:
        if block in seen:
            return "is damaged: its directory runs in a circle"
        seen.add(block)
        file.seek(block)
        head = file.read(_BLOCK.size)
        if len(head) < _BLOCK.size:
            return f"is cut short: its directory goes on at byte {block:,}, the file ends at {size:,}; fetch it again"
        count, next_block = _BLOCK.unpack(head)
        descriptors = file.read(count * _DESCRIPTOR.size)
        if len(descriptors) < count * _DESCRIPTOR.size:
            return f"is cut short: its directory goes beyond the file's end at {size:,} bytes; fetch it again"
        for tag, _, offset, length in _DESCRIPTOR.iter_unpack(descriptors):
            if tag != _NULL_TAG and _UNDEFINED not in (offset, length) and offset + length > size:
                end = f"the file ends at {size:,} bytes, before data that its directory names"
                return f"is cut short or damaged: {end}; fetch it again"
        block = next_block
    return None
