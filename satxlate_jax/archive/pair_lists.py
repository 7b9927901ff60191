"""Read and write lists of coincident files as CSV, in the format of the paper's published lists.

One row per pair: timestamp, tile, then year1, dayofyear1, hour1, minute1, file1 of the first satellite's file and the
same with 2 of the second's. Only the files' names count; their folders may be another machine's, Windows included.
"""

import csv
import os
from collections.abc import Iterable
from dataclasses import replace
from itertools import chain
from pathlib import Path, PureWindowsPath

from satxlate_jax import atomic
from satxlate_jax.archive.catalog import TileFile, newest_versions, parse_name
from satxlate_jax.cli import InputError

_SIDE = ("year", "dayofyear", "hour", "minute", "file")
COLUMNS = ("timestamp", "tile", *(f"{name}{side}" for side in (1, 2) for name in _SIDE))
_NEEDED = ("timestamp", "tile", "file1", "file2")

Pair = tuple[TileFile, TileFile]


def write_pairs(pairs: Iterable[Pair], path: str | os.PathLike) -> None:
    """Writes a list; the timestamp is the first file's, UTC."""
    with (
        atomic.replacing(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for first, second in pairs:
            sides = ((one.year, one.day_of_year, one.hour, one.time.minute, one.path) for one in (first, second))
            writer.writerow([first.time.isoformat(" "), first.tile, *chain(*sides)])


def read_pairs(path: str | os.PathLike) -> list[Pair]:
    """Reads a list; columns other than timestamp, tile, file1 and file2 may be there or not.

    Returns:
      Pairs in the list's order, with the paths as they stand there.

    Raises:
      InputError: the file cannot be read or is no such list.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            rows = csv.DictReader(file)
            lacking = [name for name in _NEEDED if name not in (rows.fieldnames or ())]
            if lacking:
                raise InputError(
                    f"'{path}' is not a list of pairs: it lacks the column {lacking[0]}; "
                    "such a list has timestamp, tile, year1 ... file1 ... year2 ... file2 ..."
                )
            return [_pair(row, f"'{path}' line {rows.line_num}") for row in rows]
    except (OSError, csv.Error) as error:
        raise InputError(f"the list of pairs '{path}' cannot be read ({error})") from error


def _pair(row: dict[str, str | None], where: str) -> Pair:
    files, tile = [], (row["tile"] or "").strip()
    for column in ("file1", "file2"):
        path = (row[column] or "").strip()
        file = parse_name(PureWindowsPath(path).name)  # the last name after a slash, a backslash or a drive's colon
        if file is None:
            raise InputError(f"{where}: {column} is '{path}', which does not name an L1G file")
        if file.tile != tile:
            raise InputError(f"{where}: {column} shows tile {file.tile}, the row says '{tile}'")
        files.append(replace(file, path=Path(path)))
    return files[0], files[1]


def locate_pairs(pairs: Iterable[Pair], files: Iterable[TileFile]) -> list[Pair]:
    """Those of the pairs whose two files are among `files`, wherever these lie, in their newest version there."""
    present = {(file.satellite, file.tile, file.time): file for file in newest_versions(files)}
    keys = ([(side.satellite, side.tile, side.time) for side in pair] for pair in pairs)
    return [(present[first], present[second]) for first, second in keys if first in present and second in present]
