"""Select the files, bands and patches of an archive for a data set, assign files to splits, and name its build command.

Whole days or whole tiles go to one split, never parts of them.
"""

import dataclasses
import hashlib
import json
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from satxlate_jax.archive.catalog import TileFile, describe_inventory, find_tiles, newest_versions
from satxlate_jax.cli import InputError, parse_names, parse_numbers
from satxlate_jax.geometry import PIXELS, parse_tile
from satxlate_jax.instruments import SATELLITES, Band
from satxlate_jax.l1g.resampling import METHODS, Method
from satxlate_jax.shipped import BUILDER, typed_path

DATASET = "geonex_l1g"
SPLITS = ("train", "validation", "test")
VALIDATION_SHARE = 0.1
TEST_SHARE = 0.1

# The paper's coincident test sets: 2019, days 32 to 53. They never train, whatever the seed.
PAPER_TEST_YEAR = 2019
PAPER_TEST_DAYS = range(32, 54)
_RESERVED = frozenset(f"{PAPER_TEST_YEAR}-{day:03d}" for day in PAPER_TEST_DAYS)

_CHOICES = {"resampling": METHODS, "split_by": ("day", "tile"), "viewpoint": tuple(SATELLITES)}
# option -> smallest and largest number in it
_RANGES = {"bands": (1, 16), "years": (1970, 9999), "days": (1, 366), "hours": (0, 23)}


@dataclass(frozen=True)
class Selection:
    """The options of a data set, as datasets/geonex_l1g/README.md describes them; None is all, or no limit.

    Use `Selection.of` to check what a user wrote.
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
    viewpoint: str | None = None
    split_by: str = "day"
    seed: int = 0

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> "Selection":
        """Checks and completes options as a user writes them, in JSON for instance; InputError where one is wrong.

        Bands, years, days and hours may be a list, one number or a text such as '32-53,60'; tiles a list or
        'h09v03,h10v03'; bands default to all of the satellite.
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
        values = {name: value for name, value in dataclasses.asdict(self).items() if name != "viewpoint" or value}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def chosen_options(self) -> dict[str, Any]:
        """The options that differ from the defaults, and the satellite; `Selection.of` reads them back."""
        default = Selection.of({"satellite": self.satellite}).as_json() | {"satellite": None}
        return {name: value for name, value in self.as_json().items() if value != default.get(name)}


def patch_offsets(height: int, width: int, patch: int, stride: int | None = None) -> np.ndarray:
    """Row and column of the first pixel of each patch that covers an image, int64 [n, 2], row by row.

    The stride, pixels from one patch to the next, is `patch` by default, so that only the last row and column overlap.
    Raises InputError where the patch is larger than the image, or patch or stride is not positive.
    """
    stride = patch if stride is None else stride
    if patch < 1 or stride < 1:
        raise InputError(f"patch size {patch} and stride {stride} must be at least 1 pixel")
    if stride > patch:
        raise InputError(f"stride {stride} is larger than the patch size {patch}: pixels between patches would be lost")
    if patch > min(height, width):
        raise InputError(f"a patch of {patch} x {patch} does not fit into an image of {height} x {width} pixels")
    # The last patch ends at the edge instead of being dropped or padded, so nothing is lost and nothing invented.
    starts = [np.union1d(np.arange(0, size - patch + 1, stride), [size - patch]) for size in (height, width)]
    return np.stack(np.meshgrid(*starts, indexing="ij"), axis=-1).reshape(-1, 2)


def _checked(name: str, value: Any) -> Any:
    """An option's value in the type that `Selection` holds; InputError where it is wrong."""
    if name in _RANGES:
        return _numbers(name, value)
    if name == "tiles":
        tiles = parse_names(value) if isinstance(value, str) else value if isinstance(value, Sequence) else [value]
        for tile in tiles:
            parse_tile(str(tile))
        return tuple(dict.fromkeys(tiles))
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    smallest = 0 if name == "seed" else 1
    if name == "satellite":
        is_right, wanted = True, ""
    elif name in _CHOICES:
        is_right, wanted = value in _CHOICES[name], f"one of {', '.join(_CHOICES[name])}"
    elif name == "daylight_only":
        is_right, wanted = isinstance(value, bool), "true or false"
    elif name == "max_bad_fraction":
        is_right, wanted = is_number and 0 <= value <= 1, "a number from 0 to 1"
    else:
        is_right = is_number and isinstance(value, int) and value >= smallest
        wanted = f"a whole number, at least {smallest}"
    if not is_right:
        raise InputError(f"option '{name}' is '{value}'; it must be {wanted}")
    return float(value) if name == "max_bad_fraction" else value


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
class EmptySplits:
    """Splits that no file falls into, why, and options that fill what training needs, if there are such."""

    names: tuple[str, ...]
    reason: str
    instead: Mapping[str, str]


@dataclass(frozen=True)
class ChosenFiles:
    """The files of an archive that a selection chooses."""

    splits: dict[str, list[TileFile]]  # as `split_files` gives them
    superseded: list[TileFile]  # older versions and copies of the same tile and time
    not_drawn: list[TileFile]  # left out by `max_files`
    empty: EmptySplits | None = None

    @property
    def paths(self) -> list[Path]:
        """All files found, in no particular order."""
        parts = [*self.splits.values(), self.superseded, self.not_drawn]
        return [file.path for part in parts for file in part]


def choose_files(selection: Selection, root: Path) -> ChosenFiles:
    """Finds, draws and splits a selection's files below a root; InputError where that is no folder or holds none."""
    filters = {name: getattr(selection, name) for name in ("tiles", "years", "days", "hours")}
    found = find_tiles(root, satellites=[selection.satellite], **filters, all_versions=True)
    if not found:
        there = describe_inventory(find_tiles(root)) or "no L1G file at all"
        words = [selection.satellite]
        for name, values in filters.items():
            if values is not None:
                words.append(f"{name} {values[0]}" + (f" to {values[-1]} ({len(values)})" if len(values) > 1 else ""))
        raise InputError(f"no L1G file of {', '.join(words)} under the manual_dir {root}; it holds {there}")
    newest = newest_versions(found)
    drawn = draw_files(newest, selection.max_files, selection.seed) if selection.max_files else newest
    splits = split_files(drawn, selection.split_by, selection.seed)
    empty = _find_empty(splits, selection.split_by, selection.seed)
    return ChosenFiles(splits, _without(found, newest), _without(newest, drawn), empty)


def _without(files: list[TileFile], others: list[TileFile]) -> list[TileFile]:
    paths = {file.path for file in others}
    return [file for file in files if file.path not in paths]


def _fraction_of(name: str, seed: int) -> float:
    """A number in [0, 1) that depends on the name and the seed alone, the same on every machine."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


def draw_files(files: Sequence[TileFile], count: int, seed: int) -> list[TileFile]:
    """Draws at most `count` files without replacement, by the seed; they stay in order."""
    ranked = sorted(range(len(files)), key=lambda index: _fraction_of(files[index].path.name, seed))
    return [files[index] for index in sorted(ranked[:count])]


def _assign_groups(groups: set[str], seed: int, always_test: Iterable[str]) -> dict[str, str]:
    """Group (a day or a tile) -> split, by its name and the seed alone: a growing archive keeps its splits."""
    fractions = {name: _fraction_of(name, seed) for name in groups - set(always_test)}
    splits = dict.fromkeys(groups, "test")
    for name, fraction in fractions.items():
        in_test = VALIDATION_SHARE <= fraction < VALIDATION_SHARE + TEST_SHARE
        splits[name] = "validation" if fraction < VALIDATION_SHARE else "test" if in_test else "train"
    # where that leaves a split empty, as with a handful of groups, training gets one first, then validation, testing
    free = sorted(fractions, key=lambda name: (fractions[name], name))
    if free and "train" not in splits.values():
        splits[free[-1]] = "train"
    for split in ("validation", "test"):
        training = [name for name in free if splits[name] == "train"]
        testing = [name for name in free if splits[name] == "test"]
        if split not in splits.values() and (len(training) > 1 or testing):
            splits[training[0] if len(training) > 1 else testing[0]] = split
    return splits


def split_files(files: Iterable[TileFile], split_by: str, seed: int) -> dict[str, list[TileFile]]:
    """Splits files by 'day' (UTC; the paper's test period is always test) or by 'tile' (for sets of a single day).

    Returns 'train', 'validation', 'test' -> its files, sorted; a split without files is left out.
    """
    files = sorted(files)
    groups = {getattr(file, split_by) for file in files}
    splits = _assign_groups(groups, seed, _RESERVED if split_by == "day" else ())
    chosen: dict[str, list[TileFile]] = {split: [] for split in SPLITS}
    for file in files:
        chosen[splits[getattr(file, split_by)]].append(file)
    return {split: members for split, members in chosen.items() if members}


def _find_empty(splits: Mapping[str, Sequence[TileFile]], split_by: str, seed: int) -> EmptySplits | None:
    """The splits that no file falls into, and why; None where each has files."""
    empty = tuple(split for split in SPLITS if not splits.get(split))
    if not empty:
        return None
    files = [file for members in splits.values() for file in members]
    groups = {getattr(file, split_by) for file in files}
    outside = groups - _RESERVED
    period = f"{PAPER_TEST_YEAR} days {PAPER_TEST_DAYS[0]} to {PAPER_TEST_DAYS[-1]}, always test in a split by day"
    count = f"the files are of {len(groups)} {split_by}{'s' if len(groups) > 1 else ''}"
    if not outside:
        reason = f"{count} of {period}"
    elif outside < groups:
        reason = f"{count}, of which only {len(outside)} is not of {period}"
    else:
        reason = f"{count}, and no {split_by} is in two splits"
    if empty == ("test",):
        return EmptySplits(empty, f"{reason}; neither training nor evaluation reads it", {})
    other = "tile" if split_by == "day" else "day"
    if {"train", "validation"} <= set(split_files(files, other, seed)):
        return EmptySplits(empty, f"{reason}; split them by {other}", {"split_by": other})
    return EmptySplits(empty, f"{reason}; files of other days, or of more tiles, are needed", {})


def describe_build(
    name: str,
    options: Mapping[str, Any] | None,
    data_dir: str | os.PathLike,
    *,
    root: str | os.PathLike = "L1G_ROOT",
    domain: str | None = None,
    again: bool = False,
) -> str:
    """The command that builds a data set of a name, and how training finds it where that is not plain.

    Options are those of `Selection`, or None for a built-in configuration. `domain` is the satellite as training calls
    it, such as 'H8_15', if it is not the data set's; `again`, a data set of that name may be there, to be replaced.
    """
    use, config = "", name
    if options is not None:
        if name in SATELLITES:  # the built-in configuration's options are fixed
            name = f"{options['satellite']}_custom"
            use = f" and train with --config.data.datasets.{domain or options['satellite']}={name}"
        config = shlex.quote(json.dumps({"name": name, **options}))
    root, data_dir = shlex.quote(os.fspath(root)), shlex.quote(os.fspath(data_dir))
    command = (
        f"tfds build {shlex.quote(typed_path(BUILDER))} --config={config} --manual_dir={root} --data_dir={data_dir}"
    )
    return command + (" --overwrite" if again else "") + use
