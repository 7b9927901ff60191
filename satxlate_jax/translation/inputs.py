"""Find the files to translate, and read one; without jax, because processes that only read import this."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from satxlate_jax.archive.catalog import find_tiles, locate_pairs, parse_name, read_pairs
from satxlate_jax.cli import InputError
from satxlate_jax.geometry import parse_tile
from satxlate_jax.l1g.reader import MissingBandWarning, read_tile


def find_inputs(
    inputs: Iterable[str], satellites: Iterable[str], pairs: str | None = None, **filters: Any
) -> list[Path]:
    """The L1G files that the command line's inputs mean: files, and those of some satellites in folders.

    From folders come only files that the list `pairs` names and that the filters pass: tiles, years, days, hours as
    `find_tiles` takes them. InputError where an input does not exist, a folder holds no such file, or two share a name.
    """
    satellites = tuple(satellites)
    for tile in filters.get("tiles") or ():
        parse_tile(tile)
    listed = read_pairs(pairs) if pairs else None
    files: dict[str, Path] = {}
    for path in map(Path, inputs):
        if path.is_dir():
            found = find_tiles(path, satellites=None if pairs else satellites, **filters)
            if listed is not None:
                wanted = {name.split("_", 1)[0] for name in satellites}
                sides = {side.path for pair in locate_pairs(listed, found) for side in pair if side.satellite in wanted}
                found = [file for file in found if file.path in sides]
            if not found:
                where = f" that '{pairs}' lists" if pairs else ""
                names = ", ".join(satellites)
                raise InputError(
                    f"'{path}' holds no Level-1b granule, and no L1G file of {names} that passes the filters{where}"
                )
            paths = [file.path for file in found]
        elif path.exists():
            paths = [path]
        else:
            raise InputError(f"'{path}' does not exist; give L1G files or folders that hold them")
        for file in paths:
            if files.setdefault(file.name, file).resolve() != file.resolve():
                raise InputError(f"two inputs are called {file.name}; translate their folders one at a time")
    return list(files.values())


def take_part(files: Sequence[Path], part: tuple[int, int], *, whole_tiles: bool = False) -> list[Path]:
    """Part K of N of the files, where several processes work on the same archive; `whole_tiles` for stores of tiles."""
    number, count = part
    if not whole_tiles:
        return list(files[number - 1 :: count])
    tiles = {file: known.tile if (known := parse_name(file)) else "" for file in files}
    mine = sorted(set(tiles.values()))[number - 1 :: count]
    return [file for file in files if tiles[file] in mine]


def read_input(path: Path, bands: Mapping[str, Sequence[int]], resolution_km: float = 2.0) -> xr.Dataset:
    """Read the bands of one L1G file that the network needs, given as satellite -> its bands, 1-based.

    InputError where it cannot be read, or is of another satellite.
    """
    known = parse_name(path)
    if known:
        _check_satellite(path, known.satellite, bands)
    with warnings.catch_warnings(action="ignore", category=MissingBandWarning):  # an error where the band is used
        tile = read_tile(path, resolution_km, bands=bands[known.satellite] if known else None)
    _check_satellite(path, tile.attrs["satellite"], bands)
    return tile


def _check_satellite(path: Path, satellite: str, bands: Mapping[str, Sequence[int]]) -> None:
    if satellite not in bands:
        raise InputError(f"{path.name} is of {satellite}; what is asked for can be made from {', '.join(bands)}")
