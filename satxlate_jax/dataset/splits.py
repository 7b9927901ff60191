"""Which files of an archive train, which validate, which test: whole days or whole tiles, never parts of them."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from satxlate_jax.archive.catalog import TileFile

SPLITS = ("train", "validation", "test")
VALIDATION_SHARE = 0.1
TEST_SHARE = 0.1

# The paper's coincident test sets: 2019, days 32 to 53. They never train, whatever the seed.
PAPER_TEST_YEAR = 2019
PAPER_TEST_DAYS = range(32, 54)
_RESERVED = frozenset(f"{PAPER_TEST_YEAR}-{day:03d}" for day in PAPER_TEST_DAYS)


def fraction_of(name: str, seed: int) -> float:
    """A number in [0, 1) that depends on the name and the seed alone, the same on every machine."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


def draw_files(files: Sequence[TileFile], count: int, seed: int) -> list[TileFile]:
    """A seeded draw without replacement.

    Args:
      files: what to draw from.
      count: how many to draw at most.
      seed: another seed draws other files.

    Returns:
      The files drawn, in the order of `files`.
    """
    if count >= len(files):
        return list(files)
    ranked = sorted(range(len(files)), key=lambda index: fraction_of(files[index].path.name, seed))
    return [files[index] for index in sorted(ranked[:count])]


def assign_groups(groups: Iterable[str], seed: int, always_test: Iterable[str] = ()) -> dict[str, str]:
    """Splits whole groups (days or tiles) into train, validation and test.

    A group's split follows from its own name and the seed, so that a growing archive keeps its splits and a day
    falls into the same split for every satellite. Only where that leaves a split empty, as with a handful of groups,
    is a group moved: first training gets one, then validation, then testing.

    Args:
      groups: names of the groups, in any order.
      seed: another seed splits otherwise.
      always_test: groups that are test whatever the seed.

    Returns:
      Group -> 'train', 'validation' or 'test'.
    """
    always_test = set(always_test)
    names = set(groups)
    splits = {name: "test" for name in names & always_test}
    free = sorted(names - always_test, key=lambda name: (fraction_of(name, seed), name))
    for name in free:
        fraction = fraction_of(name, seed)
        in_test = VALIDATION_SHARE <= fraction < VALIDATION_SHARE + TEST_SHARE
        splits[name] = "validation" if fraction < VALIDATION_SHARE else "test" if in_test else "train"
    if free and "train" not in splits.values():
        splits[free[-1]] = "train"
    for split in ("validation", "test"):
        training = [name for name in free if splits[name] == "train"]
        testing = [name for name in free if splits[name] == "test"]
        if split not in splits.values() and (len(training) > 1 or testing):
            splits[training[0] if len(training) > 1 else testing[0]] = split
    return splits


def _group(file: TileFile, split_by: str) -> str:
    """The day or the tile whose files stay together."""
    return f"{file.year}-{file.day_of_year:03d}" if split_by == "day" else file.tile


def split_files(files: Iterable[TileFile], split_by: str, seed: int) -> dict[str, list[TileFile]]:
    """Splits files by their day or by their tile.

    Args:
      files: in any order.
      split_by: 'day' (UTC; the paper's test period is test) or 'tile' (for sets of a single day).
      seed: another seed splits otherwise.

    Returns:
      'train', 'validation', 'test' -> its files, sorted; a split without files is left out.
    """
    files = sorted(files)
    names = [_group(file, split_by) for file in files]
    splits = assign_groups(names, seed, _RESERVED if split_by == "day" else ())
    chosen: dict[str, list[TileFile]] = {split: [] for split in SPLITS}
    for name, file in zip(names, files, strict=True):
        chosen[splits[name]].append(file)
    return {split: members for split, members in chosen.items() if members}


@dataclass(frozen=True)
class EmptySplits:
    """Splits that no file falls into.

    Attributes:
      names: of the splits.
      reason: why they are empty and what fills them, in words.
      instead: options of the data set that fill what training needs of the same files; none where no option does.
    """

    names: tuple[str, ...]
    reason: str
    instead: Mapping[str, str]


def find_empty(splits: Mapping[str, Sequence[TileFile]], split_by: str, seed: int) -> EmptySplits | None:
    """The splits that no file falls into, and why; None where each has files.

    Args:
      splits: what `split_files` made.
      split_by: as it was given.
      seed: as it was given.
    """
    empty = tuple(split for split in SPLITS if not splits.get(split))
    if not empty:
        return None
    files = [file for members in splits.values() for file in members]
    groups = {_group(file, split_by) for file in files}
    outside = groups - _RESERVED
    period = f"{PAPER_TEST_YEAR} days {PAPER_TEST_DAYS[0]} to {PAPER_TEST_DAYS[-1]}, always test in a split by day"
    count = f"{len(groups)} {split_by}{'s' if len(groups) > 1 else ''}"
    if not outside:
        reason = f"the files are of {count} of {period}"
    elif outside < groups:
        reason = f"the files are of {count}, of which only {len(outside)} is not of {period}"
    else:
        reason = f"the files are of {count}, and no {split_by} is in two splits"
    if empty == ("test",):
        return EmptySplits(empty, f"{reason}; neither training nor evaluation reads it", {})
    other = "tile" if split_by == "day" else "day"
    if {"train", "validation"} <= set(split_files(files, other, seed)):
        return EmptySplits(empty, f"{reason}; split them by {other}", {"split_by": other})
    return EmptySplits(empty, f"{reason}; files of other days, or of more tiles, are needed", {})
