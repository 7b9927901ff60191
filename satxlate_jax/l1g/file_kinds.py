"""What kind of file another one is, from its first bytes: what downloads and mix-ups leave under an L1G file's name."""

import re
from codecs import getincrementaldecoder

HEAD = 512  # bytes that tell

HDF4_MAGIC = b"\x0e\x03\x13\x01"
_PACKED = "unpack it"
_MAGICS = {
    HDF4_MAGIC: ("HDF4", ""),
    b"\x89HDF\r\n\x1a\n": ("netCDF-4 or HDF5", "`satxlate translate` writes such files, L1G is HDF4"),
    b"CDF\x01": ("netCDF-3", "L1G is HDF4"),
    b"CDF\x02": ("netCDF-3", "L1G is HDF4"),
    b"CDF\x05": ("netCDF-3", "L1G is HDF4"),
    b"\x1f\x8b": ("packed by gzip", f"{_PACKED} (gunzip)"),
    b"\x1f\x9d": ("packed by compress", f"{_PACKED} (uncompress)"),
    b"BZh": ("packed by bzip2", f"{_PACKED} (bunzip2)"),
    b"\xfd7zXZ\x00": ("packed by xz", f"{_PACKED} (unxz)"),
    b"\x28\xb5\x2f\xfd": ("packed by Zstandard", f"{_PACKED} (unzstd)"),
    b"PK\x03\x04": ("a zip archive", f"{_PACKED} (unzip)"),
    b"%PDF": ("a PDF document", ""),
    b"\x89PNG": ("a PNG picture", ""),
    b"\xff\xd8\xff": ("a JPEG picture", ""),
    b"GIF8": ("a GIF picture", ""),
    b"version https://git-lfs": ("a pointer of Git LFS", "fetch what it points to (git lfs pull)"),
}
_HTML = re.compile(rb"<(!doctype\s+html|html|head|body)\b", re.IGNORECASE)


def identify_kind(head: bytes) -> tuple[str, str]:
    """The kind of a file.

    Args:
      head: its first `HEAD` bytes, or all it has.

    Returns:
      The kind in words, '' where it is unknown, and what to do, '' where nothing is to be said.
    """
    for magic, answer in _MAGICS.items():
        if head.startswith(magic):
            return answer
    if head[257:262] == b"ustar":
        return "a tar archive", f"{_PACKED} (tar -xf)"
    if not head.strip(b"\0"):
        return "nothing but zero bytes", "fetch it again"
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"<"):
        if _HTML.search(start):
            return "an HTML page", "a server's page in place of the file: log in there and fetch it again"
        return "XML", "a server's answer in place of the file: fetch it again"
    text = _as_text(head)
    return ("text", f"it begins with {text!r}") if text else ("", "")


def _as_text(head: bytes) -> str:
    """The first words; '' where this is no text."""
    try:
        text = getincrementaldecoder("utf-8")().decode(head, final=len(head) < HEAD)  # may cut a letter
    except UnicodeDecodeError:
        return ""
    return " ".join(text.split())[:40] if all(letter.isprintable() or letter.isspace() for letter in text) else ""
