"""Check in pure Python whether a file is complete HDF4, and if not, what it is, before the HDF4 library opens it.

The library trusts what it reads: a truncated or altered file can end the process inside it. The directory (a chain of
blocks of data descriptors: tag, reference, offset, length) says where every element lies; one that lies beyond the end
of the file shows the damage. What is altered inside an element is not found here.

Source: HDF4 Specification and Developer's Guide, chapter 2 (physical layout).
"""

import os
import re
import stat
import struct
from codecs import getincrementaldecoder
from pathlib import Path
from typing import BinaryIO

HEAD = 512  # bytes that tell the kind of a file

_HDF4_MAGIC = b"\x0e\x03\x13\x01"
_MAGICS = {
    b"\x89HDF\r\n\x1a\n": ("netCDF-4 or HDF5", "`satxlate translate` writes such files, L1G is HDF4"),
    **dict.fromkeys((b"CDF\x01", b"CDF\x02", b"CDF\x05"), ("netCDF-3", "L1G is HDF4")),
    b"\x1f\x8b": ("packed by gzip", "unpack it (gunzip)"),
    b"\x1f\x9d": ("packed by compress", "unpack it (uncompress)"),
    b"BZh": ("packed by bzip2", "unpack it (bunzip2)"),
    b"\xfd7zXZ\x00": ("packed by xz", "unpack it (unxz)"),
    b"\x28\xb5\x2f\xfd": ("packed by Zstandard", "unpack it (unzstd)"),
    b"PK\x03\x04": ("a zip archive", "unpack it (unzip)"),
    b"%PDF": ("a PDF document", ""),
    b"\x89PNG": ("a PNG picture", ""),
    b"\xff\xd8\xff": ("a JPEG picture", ""),
    b"GIF8": ("a GIF picture", ""),
    b"version https://git-lfs": ("a pointer of Git LFS", "fetch what it points to (git lfs pull)"),
    _HDF4_MAGIC: ("HDF4", ""),
}
_HTML = re.compile(rb"<(!doctype\s+html|html|head|body)\b", re.IGNORECASE)

_BLOCK = struct.Struct(">HI")  # number of descriptors, offset of the next block
_DESCRIPTOR = struct.Struct(">HHII")  # tag, reference, offset, length
_NULL_TAG = 1
_UNDEFINED = 0xFFFFFFFF  # an element that was declared and never written


def identify_kind(head: bytes) -> tuple[str, str]:
    """The kind of a file by its first `HEAD` bytes, '' where it is unknown; and advice, '' where there is none."""
    for magic, answer in _MAGICS.items():
        if head.startswith(magic):
            return answer
    if head[257:262] == b"ustar":
        return "a tar archive", "unpack it (tar -xf)"
    if not head.strip(b"\0"):
        return "nothing but zero bytes", "fetch it again"
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<"):
        if _HTML.search(head):
            return "an HTML page", "a server's page in place of the file: log in there and fetch it again"
        return "XML", "a server's answer in place of the file: fetch it again"
    try:
        text = getincrementaldecoder("utf-8")().decode(head, final=len(head) < HEAD)  # may cut a letter
    except UnicodeDecodeError:
        return "", ""
    if all(letter.isprintable() or letter.isspace() for letter in text):
        return "text", f"it begins with {' '.join(text.split())[:40]!r}"
    return "", ""


def find_damage(path: str | os.PathLike) -> str | None:
    """The fault that makes a path unreadable as HDF4, such as 'is cut short: ...'; None where it may be opened."""
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


def _damage(file: BinaryIO, size: int) -> str | None:
    if size == 0:
        return "is empty"
    head = file.read(HEAD)
    if not head.startswith(_HDF4_MAGIC):
        if _HDF4_MAGIC.startswith(head):
            return "is cut short; fetch it again"
        kind, advice = identify_kind(head)
        what = f"but {kind}" if kind else "and of no kind that is known here"
        return f"is not an HDF4 file{'' if kind else ','} {what}" + (f"; {advice}" if advice else "")
    block, seen = len(_HDF4_MAGIC), set()
    while block:
        if block in seen:
            return "is damaged: its directory runs in a circle"
        seen.add(block)
        file.seek(block)
        head = file.read(_BLOCK.size)
        count, next_block = _BLOCK.unpack(head) if len(head) == _BLOCK.size else (0, 0)
        descriptors = file.read(count * _DESCRIPTOR.size)
        if len(head) < _BLOCK.size or len(descriptors) < count * _DESCRIPTOR.size:
            return f"is cut short: its directory goes beyond the file's end at {size:,} bytes; fetch it again"
        for tag, _, offset, length in _DESCRIPTOR.iter_unpack(descriptors):
            if tag != _NULL_TAG and _UNDEFINED not in (offset, length) and offset + length > size:
                end = f"the file ends at {size:,} bytes, before data that its directory names"
                return f"is cut short or damaged: {end}; fetch it again"
        block = next_block
    return None
