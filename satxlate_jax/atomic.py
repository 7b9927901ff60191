"""Write files and folders atomically: under a temporary name next to the output, then renamed.

The temporary name is hidden and always the same, so that the next writer of an output overwrites what a killed process
left. One process at a time writes an output.
"""

import glob
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import Any

from etils.epath.gpath import PosixGPath

from satxlate_jax.cli import InputError


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Any]:
    """Give a path to write a file or a folder to, which replaces `path` when the block ends without an exception.

    `path` may be of any type of path, such as epath's for a bucket; its folder exists. The temporary path is of the
    same type, a `pathlib.Path` for a string. Nothing is there yet; if nothing is there afterwards, `path` stays as it
    was.

    Raises:
      InputError: it cannot be written: a full disk, no permission, no such folder.
    """
    target: Any = path if isinstance(path, PurePath) else Path(path)
    temporary = target.with_name(f".{target.name}.part")
    _remove(temporary)
    try:
        yield temporary
        if temporary.is_dir() and target.is_dir():
            _remove(_aside(target))
            target.rename(_aside(target))
            temporary.rename(target)
        elif temporary.exists():
            temporary.replace(target)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"cannot write {target}: {reason}; check free space and permissions") from error
    finally:
        with suppress(OSError):
            recover(target)
        _remove(temporary)


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
    """Write a file as `replacing` does."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a text in UTF-8, its line ends as they are, as `replacing` does."""
    write_bytes(path, text.encode())


def recover(path: Any) -> None:
    """Put a folder back that a process killed between the two renamings of `replacing` had moved aside."""
    before = _aside(path)
    if before.exists():
        if path.exists():
            _remove(before)
        else:
            before.rename(path)


def _aside(path: Any) -> Any:
    return path.with_name(f".{path.name}.before")


def _remove(path: Any) -> None:
    with suppress(OSError):
        if path.is_dir():
            # a library that failed may still be at work in it, and files vanish meanwhile
            shutil.rmtree(path, ignore_errors=True) if isinstance(path, Path) else path.rmtree()
        else:
            path.unlink(missing_ok=True)


class PlainPath(PosixGPath):
    """etils' path, on disk or in a bucket, whose `glob` takes only the pattern as a pattern, not the folder too.

    Orbax, handed etils' own path, finds nothing in a folder called 'a[1]'. Paths made from this one are of its kind.
    """

    def glob(self, pattern: str) -> Iterator["PlainPath"]:
        """The files below this folder that match."""
        return PosixGPath.glob(type(self)(glob.escape(os.fspath(self))), pattern)
