"""Walk a directory tree by names alone; the listing of an unchanged directory is not read again."""

import json
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

# A folder that changed this recently may change again without a new time stamp, so it is not remembered.
_SETTLED_NANOSECONDS = 2_000_000_000


@dataclass(frozen=True)
class Listing:
    """The content of a folder: wanted files, folders, and links to folders, by name."""

    files: list[str]
    folders: list[str]
    links: list[str]


class FolderIndex(AbstractContextManager):
    """Remembers folders' listings in a file of JSON lines, so that an interrupted or repeated walk is short.

    A folder is read again when its time stamp changed. The file grows while a walk runs; what an interruption leaves
    incomplete at its end is ignored.
    """

    def __init__(self, path: str | os.PathLike):
        """Reads the file at that path; it and its folder are made when needed."""
        self._known: dict[str, tuple[int, Listing]] = {}
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "a+", encoding="utf-8", errors="replace")
        self._file.seek(0)
        for line in self._file:
            with suppress(ValueError, KeyError, TypeError):  # the line that was being written
                entry = json.loads(line)
                listing = Listing(entry["files"], entry["folders"], entry["links"])
                self._known[entry["folder"]] = (entry["changed"], listing)
        self._file.write("\n")  # ends such a line

    def read(self, folder: str, is_wanted: Callable[[str], bool]) -> Listing:
        """The folder's listing, from memory where it has not changed."""
        key = os.path.abspath(folder)
        changed = os.stat(folder).st_mtime_ns
        known = self._known.get(key)
        if known is not None and known[0] == changed:
            return known[1]
        listing = list_folder(folder, is_wanted)
        if time.time_ns() - changed > _SETTLED_NANOSECONDS:
            self._known[key] = (changed, listing)
            self._file.write(json.dumps({"folder": key, "changed": changed, **vars(listing)}) + "\n")
        return listing

    def __exit__(self, *_: object) -> None:
        self._file.close()


def list_folder(folder: str, is_wanted: Callable[[str], bool]) -> Listing:
    """Reads one folder. Raises OSError where it cannot be read."""
    listing = Listing([], [], [])
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                is_folder = entry.is_dir()
            except OSError:  # a link to itself
                continue
            if is_folder:
                (listing.links if entry.is_symlink() else listing.folders).append(entry.name)
            elif is_wanted(entry.name):
                listing.files.append(entry.name)
    return listing


def walk(
    root: str,
    is_wanted: Callable[[str], bool],
    enters: Callable[[tuple[str, ...]], bool],
    index: FolderIndex | None = None,
) -> Iterator[tuple[str, str]]:
    """Folder and name of each wanted file in a folder and all folders in it, links followed, in no particular order.

    A folder that cannot be read is left out with a warning; `enters` says whether to read one, given the last names of
    its path, at most three.
    """
    # Folders still to read, each with the last names of its path.
    waiting: list[tuple[str, tuple[str, ...]]] = [(root, Path(os.path.abspath(root)).parts[-3:])]
    linked: set[tuple[int, int]] = set()
    while waiting:
        folder, names = waiting.pop()
        try:
            listing = list_folder(folder, is_wanted) if index is None else index.read(folder, is_wanted)
        except OSError as error:
            warnings.warn(f"{folder} cannot be read and is left out: {error.strerror}", stacklevel=2)
            continue
        for name in listing.files:
            yield folder, name
        for name in listing.folders + [link for link in listing.links if _is_new(os.path.join(folder, link), linked)]:
            inner = (*names, name)[-3:]
            if enters(inner):
                waiting.append((os.path.join(folder, name), inner))


def _is_new(link: str, linked: set[tuple[int, int]]) -> bool:
    """True where a link is to be followed. It may lead back above itself: the second time through it ends here."""
    with suppress(OSError):
        status = os.stat(link)
        identity = (status.st_dev, status.st_ino)
        if identity not in linked:
            linked.add(identity)
            return True
    return False
