"""What of an archive of L1G files makes a data set: which files, which bands, which patches, which splits."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from satxlate_jax.archive.catalog import TileFile, find_tiles, list_holdings, newest_versions, parse_numbers
from satxlate_jax.cli import InputError
from satxlate_jax.dataset.patches import patch_offsets
from satxlate_jax.dataset.splits import EmptySplits, draw_files, find_empty, split_files
from satxlate_jax.geometry import PIXELS, parse_tile, parse_tiles
from satxlate_jax.instruments import SATELLITES, Band
from satxlate_jax.l1g.resampling import Method

# option -> the choices it has
_CHOICES = {"resampling": ("area", "bilinear"), "split_by": ("day", "tile")}
# option -> smallest and largest number in it
_RANGES = {"bands": (1, 16), "years": (1970, 9999), "days": (1, 366), "hours": (0, 23)}


@dataclass(frozen=True)
class Selection:
    """What of an archive makes a data set. Use `Selection.of` to check what a user wrote.

    Attributes:
      satellite: its name, such as 'G16'.
      bands: 1-based bands in the order of the channels; a patch is kept when all of them are finite.
      years: years to take; None is all. The same holds of days (of the year, 1 to 366), hours (UTC) and tiles.
      days: days of the year.
      hours: hours, UTC.
      tiles: tiles, such as 'h09v03'.
      max_files: draw at most so many files (seeded, without replacement); None is all.
      max_bad_fraction: the build fails when more than this fraction of the files cannot be used.
      patch_size: side of a patch, pixels of 2 km.
      stride: pixels from one patch to the next; None is the patch size.
      daylight_only: keep only patches over which the sun is up.
      resampling: to 2 km, 'area' or 'bilinear'.
      split_by: 'day' or 'tile'.
      seed: of the draw and the splits.
    """

    satellite: str
    bands: tuple[int, ...]
    years: tuple[int, ...] | None = None
    days: tuple[int, ...] | None = None
    hours: tuple[int, ...] | None = None
    tiles: tuple[str, ...] | None = None
    max_files: int | None = None
    max_bad_fraction: float = 0.1
    patch_size: int = 64
    stride: int | None = None
    daylight_only: bool = False
    resampling: Method = "area"
    split_by: str = "day"
    seed: int = 0

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> "Selection":
        """Checks and completes options as a user writes them, in JSON for instance.

        Args:
          options: the attributes' names and values. Bands, years, days and hours may be a list, one number or a text
            such as '32-53,60'; tiles a list or 'h09v03,h10v03'; bands default to all of the satellite.

        Raises:
          InputError: an unknown option, or a value that cannot be.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        for name in options:
            if name not in known:
                raise InputError(f"unknown option '{name}' of a data set; there are name, {', '.join(known)}")
        satellite = options.get("satellite", "")
        if satellite not in SATELLITES:
            raise InputError(f"option 'satellite' is '{satellite}'; it must be one of {', '.join(SATELLITES)}")
        checked = {name: _checked(name, value) for name, value in options.items() if value is not None}
        checked.setdefault("bands", tuple(band.number for band in SATELLITES[satellite].bands))
        selection = cls(**checked)
        patch_offsets(PIXELS[2.0], PIXELS[2.0], selection.patch_size, selection.stride)
        return selection

    @property
    def channels(self) -> list[Band]:
        """The bands as frozen data, in the order of the channels."""
        return [SATELLITES[self.satellite].band(number) for number in self.bands]

    def as_json(self) -> dict[str, Any]:
        """The options as JSON can hold them; `Selection.of` reads them back."""
        values = dataclasses.asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def chosen_options(self) -> dict[str, Any]:
        """The options that differ from the defaults, and the satellite; `Selection.of` reads them back."""
        default = Selection.of({"satellite": self.satellite}).as_json()
        return {name: value for name, value in self.as_json().items() if name == "satellite" or value != default[name]}


def _checked(name: str, value: Any) -> Any:
    """One option's value in the type that `Selection` holds, or an InputError."""
    if name == "satellite":
        return value
    if name in _RANGES:
        return _numbers(name, value)
    if name == "tiles":
        if isinstance(value, str):
            return parse_tiles(value)
        tiles = value if isinstance(value, Sequence) else [value]
        for tile in tiles:
            parse_tile(str(tile))
        return tuple(tiles)
    if name in _CHOICES:
        if value not in _CHOICES[name]:
            raise InputError(f"option '{name}' is '{value}'; it must be one of {', '.join(_CHOICES[name])}")
        return value
    if name == "daylight_only":
        if not isinstance(value, bool):
            raise InputError(f"option 'daylight_only' is '{value}'; it must be true or false")
        return value
    if name == "max_bad_fraction":
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise InputError(f"option 'max_bad_fraction' is '{value}'; it must be a number from 0 to 1")
        return float(value)
    return _whole_number(name, value)


def _whole_number(name: str, value: Any) -> int:
    smallest = 0 if name == "seed" else 1
    if isinstance(value, bool) or not isinstance(value, int) or value < smallest:
        raise InputError(f"option '{name}' is '{value}'; it must be a whole number, at least {smallest}")
    return value


def _numbers(name: str, value: Any) -> tuple[int, ...]:
    values = parse_numbers(value) if isinstance(value, str) else value if isinstance(value, Sequence) else [value]
    low, high = _RANGES[name]
    for number in values:
        if isinstance(number, bool) or not isinstance(number, int) or not low <= number <= high:
            raise InputError(f"option '{name}' has '{number}' in it; it must hold whole numbers from {low} to {high}")
    if not values or len(set(values)) != len(values):
        raise InputError(f"option '{name}' is '{value}'; it must name at least one, and none twice")
    return tuple(values)


@dataclass(frozen=True)
class ChosenFiles:
    """The files of an archive that a selection chooses.

    Attributes:
      splits: 'train', 'validation', 'test' -> its files, sorted; a split without files is left out.
      superseded: older versions and copies of the same tile and time.
      not_drawn: files that `max_files` left out.
      empty: the splits that no file falls into, where there are any.
    """

    splits: dict[str, list[TileFile]]
    superseded: list[TileFile]
    not_drawn: list[TileFile]
    empty: EmptySplits | None = None

    @property
    def paths(self) -> list[Path]:
        """All files found, in no particular order."""
        parts = [*self.splits.values(), self.superseded, self.not_drawn]
        return [file.path for part in parts for file in part]

    @property
    def total(self) -> int:
        """How many files the catalog found for the selection."""
        return len(self.paths)


def choose_files(selection: Selection, root: Path) -> ChosenFiles:
    """Finds, draws and splits a selection's files.

    Args:
      selection: which files.
      root: an L1G archive, see `catalog.find_tiles`.

    Raises:
      InputError: the root is no folder, or holds no file of the selection.
    """
    found = find_tiles(
        root,
        satellites=[selection.satellite],
        tiles=selection.tiles,
        years=selection.years,
        days=selection.days,
        hours=selection.hours,
        all_versions=True,
    )
    if not found:
        there = list_holdings(find_tiles(root)) or "no L1G file at all"
        raise InputError(f"no L1G file of {_described(selection)} under the manual_dir {root}; it holds {there}")
    newest = newest_versions(found)
    drawn = draw_files(newest, selection.max_files, selection.seed) if selection.max_files else newest
    splits = split_files(drawn, selection.split_by, selection.seed)
    empty = find_empty(splits, selection.split_by, selection.seed)
    return ChosenFiles(splits, _without(found, newest), _without(newest, drawn), empty)


def _without(files: list[TileFile], others: list[TileFile]) -> list[TileFile]:
    paths = {file.path for file in others}
    return [file for file in files if file.path not in paths]


def _described(selection: Selection) -> str:
    words = [selection.satellite]
    for name in ("tiles", "years", "days", "hours"):
        values = getattr(selection, name)
        if values is not None:
            words.append(f"{name} {values[0]}" + (f" to {values[-1]} ({len(values)})" if len(values) > 1 else ""))
    return ", ".join(words)
