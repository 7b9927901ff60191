"""Files and folders that are there whole or not at all: written under a temporary name, then renamed.

The temporary lies beside the output, is hidden, and has one name: what a killed process left is overwritten by the next
that writes the same output. One process at a time writes an output. Permissions are those that the umask gives.
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
def replacing(path: str | os.PathLike, temporary_name: str = "") -> Iterator[Any]:
    """Gives a path to write a file or a folder to, which takes the place of `path` when the block ends.

    A block that fails, by whatever exception, leaves `path` as it was and nothing beside it; so does one that leaves
    nothing at the temporary path.

    Args:
      path: to make or to replace, of any path type, such as epath's for a bucket; its folder exists.
      temporary_name: for a folder that is watched by programs to which '.NAME.part' looks like NAME.

    Yields:
      The temporary path, of the type of `path` (a `pathlib.Path` for a string), where nothing is yet.

    Raises:
      InputError: it cannot be written: a full disk, no permission, no such folder.
    """
    target: Any = path if isinstance(path, PurePath) else Path(path)
    temporary = target.with_name(temporary_name or f".{target.name}.part")
    _remove(temporary)
    try:
        yield temporary
        if temporary.is_dir() and target.is_dir():
            _swap(temporary, target)
        elif temporary.exists():
            temporary.replace(target)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"cannot write {target}: {reason}; check free space and permissions") from error
    finally:
        _remove(temporary)


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
    """Writes a file as `replacing` does."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a text in UTF-8, its line ends as they are, as `replacing` does."""
    write_bytes(path, text.encode())


def recover(path: Path) -> None:
    """Mends what a process left that was killed while `replacing` exchanged a folder, which takes two renamings."""
    before = _aside(path)
    if before.exists():
        if path.exists():
            _remove(before)
        else:
            before.rename(path)


def _swap(temporary: Any, target: Any) -> None:
    before = _aside(target)
    _remove(before)
    target.rename(before)
    try:
        temporary.rename(target)
    except BaseException:
        before.rename(target)
        raise
    _remove(before)


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
    """etils' path, on disk or in a bucket, whose `glob` takes only the pattern for one.

    etils' own looks for `path / pattern` as a whole, and so does every library that is handed such a path: Orbax then
    finds nothing in a folder called 'a[1]'. Paths made from this one are of its kind.
    """

    def glob(self, pattern: str) -> Iterator["PlainPath"]:
        """The files below this folder that match."""
        return PosixGPath.glob(type(self)(glob.escape(os.fspath(self))), pattern)
