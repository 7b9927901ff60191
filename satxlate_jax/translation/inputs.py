"""Which files to translate, and reading one of them; no jax here, so that it also runs in processes that only read."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import xarray as xr

from satxlate_jax.archive.catalog import find_tiles, parse_name
from satxlate_jax.archive.pairs import locate_pairs, read_pairs
from satxlate_jax.cli import InputError
from satxlate_jax.l1g.reader import MissingBandWarning, read_tile


def find_inputs(inputs: Iterable[str], satellites: Iterable[str], pairs: str | None = None, **filters) -> list[Path]:
    """The L1G files that the command line's inputs mean.

    Args:
      inputs: files, taken as they are, and folders, searched for files of those satellites.
      satellites: whose files to take from folders.
      pairs: a list of coincident files; from folders only files that it names.
      filters: tiles, years, days, hours as `find_tiles` takes them, for folders.

    Raises:
      InputError: an input does not exist, a folder holds no such file, or two inputs share a name.
    """
    satellites = tuple(satellites)
    listed = read_pairs(pairs) if pairs else None
    files: dict[str, Path] = {}
    for text in inputs:
        path = Path(text)
        if path.is_dir():
            found = _in_folder(path, satellites, listed, filters)
            if not found:
                where = f" that '{pairs}' lists" if pairs else ""
                raise InputError(
                    f"'{text}' holds no L1G file of {', '.join(satellites)} that passes the filters{where}"
                )
        elif path.exists():
            found = [path]
        else:
            raise InputError(f"'{text}' does not exist; give L1G files or folders that hold them")
        for file in found:
            if files.setdefault(file.name, file).resolve() != file.resolve():
                raise InputError(f"two inputs are called {file.name}; translate their folders one at a time")
    return list(files.values())


def _in_folder(folder: Path, satellites: Sequence[str], listed: list | None, filters: Mapping) -> list[Path]:
    if listed is None:
        return [file.path for file in find_tiles(folder, satellites=satellites, **filters)]
    found = find_tiles(folder, **filters)
    wanted = {name.split("_", 1)[0] for name in satellites}
    sides = {side.path for pair in locate_pairs(listed, found) for side in pair if side.satellite in wanted}
    return [file.path for file in found if file.path in sides]


def take_share(files: Sequence[Path], share: str, *, whole_tiles: bool = False) -> list[Path]:
    """One process's part of the files, where several work on the same archive.

    Args:
      files: all of them, the same in every process.
      share: 'INDEX/COUNT', such as '0/4' to '3/4'.
      whole_tiles: whether all files of a tile go to one process (they go into one store).

    Raises:
      InputError: share is something else.
    """
    index, _, count = share.partition("/")
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise InputError(f"--share is '{share}'; write INDEX/COUNT with INDEX from 0 to COUNT - 1, such as 0/4")
    if not whole_tiles:
        return list(files)[int(index) :: int(count)]
    tiles = sorted({_tile(file) for file in files})
    mine = set(tiles[int(index) :: int(count)])
    return [file for file in files if _tile(file) in mine]


def _tile(file: Path) -> str:
    known = parse_name(file)
    return known.tile if known else ""


def read_input(path: Path, bands: Mapping[str, Sequence[int]], resolution_km: float = 2.0) -> xr.Dataset:
    """Reads the bands of one L1G file that the network needs.

    Args:
      path: of the file.
      bands: satellite -> its bands, 1-based.
      resolution_km: of the grid.

    Raises:
      InputError: the file cannot be read, or is of another satellite.
    """
    known = parse_name(path)
    if known is not None:
        _check_satellite(path, known.satellite, bands)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MissingBandWarning)  # a band the network needs is an error when it is used
        tile = read_tile(path, resolution_km, bands=bands[known.satellite] if known else None)
    _check_satellite(path, tile.attrs["satellite"], bands)
    return tile


def _check_satellite(path: Path, satellite: str, bands: Mapping[str, Sequence[int]]) -> None:
    if satellite not in bands:
        raise InputError(f"{path.name} is of {satellite}; what is asked for can be made from {', '.join(bands)}")
