"""Find the tiles, days and times that a directory tree of L1G files holds, and the coincident files of two satellites.

Layout: ROOT/SATELLITE FOLDER/GEONEX-L1G/TILE/YEAR/DAY OF YEAR/CODE_YYYYMMDD_HHMM_GLBG_TILE_VERSION.hdf.
Only a file's name counts; what the folders above are called does not (archives differ). No file is opened or
even looked at: a million names take seconds.

Lists of coincident files are CSV in the format of the paper's published lists. One row per pair: timestamp, tile, then
year1, dayofyear1, hour1, minute1, file1 of the first satellite's file and the same with 2 of the second's. Only the
files' names count; their folders may be another machine's, Windows included.
"""

import csv
import json
import os
import re
import warnings
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import chain
from operator import attrgetter
from pathlib import Path, PureWindowsPath
from time import time_ns
from typing import Any, NamedTuple

from satxlate_jax import atomic, geometry
from satxlate_jax.cli import InputError
from satxlate_jax.instruments import SATELLITES, get_satellite

VERSION = "02"
"""The product version that this project writes."""

_SATELLITE_OF_CODE = {satellite.file_code: name for name, satellite in SATELLITES.items()}
_NAME = re.compile(
    rf"({'|'.join(_SATELLITE_OF_CODE)})_(\d{{4}})(\d\d)(\d\d)_(\d\d)(\d\d)_GLBG_(h[0-5]\dv[01]\d)_([0-9A-Za-z]+)\.hdf",
    re.ASCII,
)
_TILE_FOLDER = re.compile(r"h\d\dv\d\d", re.ASCII)

_PAIR_SIDE = ("year", "dayofyear", "hour", "minute", "file")
PAIR_COLUMNS = ("timestamp", "tile", *(f"{name}{side}" for side in (1, 2) for name in _PAIR_SIDE))
_PAIR_NEEDED = ("timestamp", "tile", "file1", "file2")


@dataclass(frozen=True, slots=True)
class TileFile:
    """One L1G file, known by its name."""

    path: Path
    satellite: str  # such as 'G16'
    tile: str  # such as 'h09v03'
    time: datetime  # start of the scan, UTC, without a time zone
    version: str  # of the product, such as '02'; compared as a number

    def __lt__(self, other: "TileFile") -> bool:
        return _order(self) < _order(other)

    @property
    def year(self) -> int:
        """Calendar year, UTC."""
        return self.time.year

    @property
    def day_of_year(self) -> int:
        """Day of the year in [1, 366], UTC."""
        return self.time.timetuple().tm_yday

    @property
    def day(self) -> str:
        """Year and day of the year, UTC, such as '2019-032'."""
        return f"{self.year}-{self.day_of_year:03d}"

    @property
    def hour(self) -> int:
        """Hour of the day in [0, 23], UTC."""
        return self.time.hour


Pair = tuple[TileFile, TileFile]


def _order(file: TileFile) -> tuple:
    return file.satellite, file.time, file.tile, _version_order(file.version), file.version, file.path


@lru_cache(maxsize=256)
def _version_order(version: str) -> tuple[tuple[int, str], ...]:
    """By its numbers, however many zeros lead them, then by its letters: 02 < 003 < 3b < v10."""
    parts = re.findall(r"([A-Za-z]*)(\d*)", version)[:-1]  # the last is empty
    return tuple((int(digits or -1), letters) for letters, digits in parts)


def _parse(name: str, folder: str) -> TileFile | None:
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    code, *numbers, tile, version = match.groups()
    try:
        time = datetime(*map(int, numbers))  # type: ignore[arg-type]
    except ValueError:
        return None
    return TileFile(Path(folder, name), _SATELLITE_OF_CODE[code], tile, time, version)


def parse_name(name: str | os.PathLike) -> TileFile | None:
    """Parses a file's name, whose folders are only kept in the path; None where it is no L1G file's name."""
    return _parse(*reversed(os.path.split(name)))


def file_name(satellite: str, tile: str, time: datetime, version: str = VERSION) -> str:
    """An L1G file's name, such as 'GO16_ABI05_20190201_0000_GLBG_h09v03_02.hdf'; InputError for a wrong tile."""
    geometry.parse_tile(tile)
    return f"{get_satellite(satellite).file_code}_{time:%Y%m%d_%H%M}_GLBG_{tile}_{version}.hdf"


def relative_path(satellite: str, tile: str, time: datetime, version: str = VERSION) -> Path:
    """The path of that file under an L1G root, in GeoNEX' layout."""
    folder = Path(get_satellite(satellite).folder, "GEONEX-L1G", tile, f"{time:%Y}", f"{time:%j}")
    return folder / file_name(satellite, tile, time, version)


# A folder that changed this recently may change again without a new time stamp, so it is not remembered.
_SETTLED_NANOSECONDS = 2_000_000_000


class Listing(NamedTuple):
    """The content of a folder: L1G files, folders, and links to folders, by name."""

    files: list[str]
    folders: list[str]
    links: list[str]


class FolderIndex(AbstractContextManager):
    """Remembers folders' listings in a file of JSON lines, so that an interrupted or repeated search is short.

    A folder is read again when its time stamp changed.
    """

    def __init__(self, path: str | os.PathLike):
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

    def read(self, folder: str) -> Listing:
        """A folder's listing, from memory where it has not changed."""
        key = os.path.abspath(folder)
        changed = os.stat(folder).st_mtime_ns
        known = self._known.get(key)
        if known is not None and known[0] == changed:
            return known[1]
        listing = _list_folder(folder)
        if time_ns() - changed > _SETTLED_NANOSECONDS:
            self._known[key] = (changed, listing)
            self._file.write(json.dumps({"folder": key, "changed": changed, **listing._asdict()}) + "\n")
        return listing

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _list_folder(folder: str) -> Listing:
    listing = Listing([], [], [])
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                is_folder = entry.is_dir()
            except OSError:  # a link to itself
                continue
            if is_folder:
                (listing.links if entry.is_symlink() else listing.folders).append(entry.name)
            elif _NAME.fullmatch(entry.name):
                listing.files.append(entry.name)
    return listing


def _walk(root: str, enters: Callable[[tuple[str, ...]], bool], index: FolderIndex | None) -> Iterator[tuple[str, str]]:
    """Folder and name of each L1G file in a folder and all folders in it, links followed, in no particular order.

    `enters` says whether to read a folder, given the last names of its path, at most three.
    """
    waiting: list[tuple[str, tuple[str, ...]]] = [(root, Path(os.path.abspath(root)).parts[-3:])]
    linked: set[tuple[int, int]] = set()
    while waiting:
        folder, names = waiting.pop()
        try:
            listing = _list_folder(folder) if index is None else index.read(folder)
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


def _enters(folders: Sequence[str], wanted: Mapping[str, frozenset | None]) -> bool:
    """True where a folder may hold wanted files, judged by tile/year/day at the end of its path."""
    name = folders[-1]
    if _TILE_FOLDER.fullmatch(name):
        return wanted["tile"] is None or name in wanted["tile"]
    for above, field in ((2, "year"), (3, "day_of_year")):
        numbers = wanted[field]
        if len(folders) >= above and _TILE_FOLDER.fullmatch(folders[-above]) and numbers is not None:
            return not (name.isascii() and name.isdecimal()) or int(name) in numbers
    return True


def find_tiles(
    root: str | os.PathLike,
    *,
    satellites: Iterable[str] | None = None,
    tiles: Iterable[str] | None = None,
    years: Iterable[int] | None = None,
    days: Iterable[int] | None = None,
    hours: Iterable[int] | None = None,
    all_versions: bool = False,
    index: FolderIndex | None = None,
    progress: bool = False,
) -> list[TileFile]:
    """The L1G files in a folder and all folders in it, sorted by satellite, time and tile; others are passed over.

    The folder may be an archive's root, a satellite's folder, GEONEX-L1G itself, or any above or between. Filters, by
    default all, are names of satellites (a domain such as 'H8_15' is its satellite) and of tiles, years, days of the
    year (1 to 366) and hours (UTC). `all_versions` lists every version and copy of a tile, not only the one of the
    highest version; `index` holds listings of earlier searches; `progress` shows a bar, on a terminal.

    Raises:
      InputError: root is no folder, or there is no such satellite, tile, day or hour.
    """
    if not os.path.isdir(root):
        raise InputError(f"'{os.fspath(root)}' is not a folder; name the root of a tree of L1G files")
    choices: dict[str, Iterable[Any] | None] = {
        "satellite": None if satellites is None else [get_satellite(name).name for name in satellites],
        "tile": tiles,
        "year": years,
        "day_of_year": days,
        "hour": hours,
    }
    wanted = {field: None if values is None else frozenset(values) for field, values in choices.items()}
    for tile in wanted["tile"] or ():
        geometry.parse_tile(tile)
    for field, name, low, high in (("day_of_year", "day", 1, 366), ("hour", "hour", 0, 23)):
        for number in sorted(wanted[field] or ()):
            if not low <= number <= high:
                raise InputError(f"there is no {name} {number}; {name}s go from {low} to {high}")
    filters = [(attrgetter(field), values) for field, values in wanted.items() if values is not None]
    names = _walk(os.fspath(root), lambda inner: _enters(inner, wanted), index)
    from tqdm import tqdm  # here: the training step is taken without it, too

    found = (_parse(name, folder) for folder, name in tqdm(names, "files", disable=None if progress else True))
    kept = [file for file in found if file is not None and all(get(file) in values for get, values in filters)]
    files = sorted(kept, key=_order)
    return files if all_versions else newest_versions(files)


def newest_versions(files: Iterable[TileFile]) -> list[TileFile]:
    """One file per satellite, time and tile, that of the highest version, sorted."""
    chosen: dict[tuple, TileFile] = {}
    for file in sorted(files, key=_order):
        key = (file.satellite, file.time, file.tile)
        if key not in chosen or _version_order(file.version) > _version_order(chosen[key].version):
            chosen[key] = file
    return list(chosen.values())


def coincident(
    first: Iterable[TileFile], second: Iterable[TileFile], tolerance: timedelta = timedelta(0)
) -> list[Pair]:
    """Pairs of files of two satellites that show the same tile at the same time, by the first's time and tile.

    Their times may differ by the tolerance. Each file is used at most once; the closest in time go together.
    """
    candidates = defaultdict(list)
    for file in newest_versions(second):
        candidates[file.tile].append(file)
    options = []
    for file in newest_versions(first):
        others = candidates[file.tile]  # sorted by time
        begin = bisect_left(others, file.time - tolerance, key=lambda other: other.time)
        end = bisect_right(others, file.time + tolerance, key=lambda other: other.time)
        options += [(abs(file.time - other.time), file, other) for other in others[begin:end]]
    pairs: list[Pair] = []
    taken: set[Path] = set()
    options.sort(key=lambda option: (option[0], _order(option[1]), _order(option[2])))
    for _, file, other in options:
        if file.path not in taken and other.path not in taken:
            taken.update((file.path, other.path))
            pairs.append((file, other))
    return sorted(pairs, key=lambda pair: _order(pair[0]))


def describe_inventory(files: Sequence[TileFile]) -> str:
    """The number of files of each satellite, in words, with tiles and days; '' of none."""
    parts = []
    for name in sorted({file.satellite for file in files}):
        own = [file for file in files if file.satellite == name]
        tiles = sorted({file.tile for file in own})
        days = sorted({f"{file.year}/{file.day_of_year:03d}" for file in own})
        span = days[0] + (f" to {days[-1]}" if len(days) > 1 else "")
        parts.append(
            f"{len(own)} of {name} ({len(tiles)} tile{'s' * (len(tiles) > 1)} such as {tiles[0]}, days {span})"
        )
    return ", ".join(parts)


# ---------------------------------------------------------------- lists of coincident files


def write_pairs(pairs: Iterable[Pair], path: str | os.PathLike) -> None:
    """Writes a list; the timestamp is the first file's, UTC."""
    with (
        atomic.replacing(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(PAIR_COLUMNS)
        for first, second in pairs:
            sides = ((one.year, one.day_of_year, one.hour, one.time.minute, one.path) for one in (first, second))
            writer.writerow([first.time.isoformat(" "), first.tile, *chain(*sides)])


def read_pairs(path: str | os.PathLike) -> list[Pair]:
    """Reads a list's pairs, in its order and with the paths as they stand there; InputError where it is no such list.

    Columns other than timestamp, tile, file1 and file2 may be there or not.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            rows = csv.DictReader(file)
            lacking = [name for name in _PAIR_NEEDED if name not in (rows.fieldnames or ())]
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


# ---------------------------------------------------------------- inputs of commands


def find_inputs(
    inputs: Iterable[str], satellites: Iterable[str], pairs: str | None = None, **filters: Any
) -> list[Path]:
    """The L1G files that the command line's inputs mean: files, and those of some satellites in folders.

    From folders come only files that the list `pairs` names and that the filters pass: tiles, years, days, hours as
    `find_tiles` takes them. InputError where an input does not exist, a folder holds no such file, or two share a name.
    """
    satellites = tuple(satellites)
    for tile in filters.get("tiles") or ():
        geometry.parse_tile(tile)
    listed = read_pairs(pairs) if pairs else None
    files: dict[str, Path] = {}
    for path in map(Path, inputs):
        if path.is_dir():
            found = find_tiles(path, satellites=None if pairs else satellites, **filters)
            if listed is not None:
                wanted = {get_satellite(name).name for name in satellites}
                sides = {side.path for pair in locate_pairs(listed, found) for side in pair if side.satellite in wanted}
                found = [file for file in found if file.path in sides]
            if not found:
                where = f" that '{pairs}' lists" if pairs else ""
                inventory = describe_inventory(find_tiles(path))
                held = f"; it holds {inventory}" if inventory else ""
                missing = f"no L1G file of {', '.join(satellites)} that passes the filters{where}{held}"
                raise InputError(f"'{path}' holds no Level-1b granule, and {missing}")
            paths = [file.path for file in found]
        elif path.exists():
            paths = [path]
        else:
            raise InputError(f"'{path}' does not exist; give L1G files or folders that hold them")
        for file in paths:
            if files.setdefault(file.name, file).resolve() != file.resolve():
                raise InputError(f"two inputs are called {file.name}; translate their folders one at a time")
    return list(files.values())


def select_part(files: Sequence[Path], part: tuple[int, int], *, whole_tiles: bool = False) -> list[Path]:
    """Part K of N of the files, for several processes that share an archive; `whole_tiles` keeps a tile in one part."""
    number, count = part
    if not whole_tiles:
        return list(files[number - 1 :: count])
    tiles = {file: known.tile if (known := parse_name(file)) else "" for file in files}
    mine = sorted(set(tiles.values()))[number - 1 :: count]
    return [file for file in files if tiles[file] in mine]
