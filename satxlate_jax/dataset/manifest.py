"""Record the outcome of every archive file in a data set's build."""

import io
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from satxlate_jax.cli import InputError
from satxlate_jax.dataset.selection import ChosenFiles, Selection
from satxlate_jax.dataset.statistics import BandCounts
from satxlate_jax.dataset.tile_patches import BAD_REASONS, DAMAGED_ANGLES, NOT_FINITE, TileOutcome
from satxlate_jax.l1g.packing import POSSIBLE_KELVIN

NAME = "manifest.json"
FILES = "files.txt"
"""The names of all files found, one a line, so that a later build can tell what is new."""


@dataclass
class SplitCount:
    """Counts of one split's files; parts of a split add up."""

    bands: BandCounts
    files: int = 0
    files_with_examples: int = 0
    examples: int = 0
    dropped_patches: Counter = field(default_factory=Counter)  # reason -> patches, whether the file gave others or not
    skipped: list[tuple[str, str, str]] = field(default_factory=list)  # file, reason, detail: files without example
    faulty: list[tuple[str, str]] = field(default_factory=list)  # file and damage that did not matter
    impossible: Counter = field(default_factory=Counter)  # band -> pixels whose temperature cannot be
    files_with_impossible: int = 0

    def add(self, outcome: TileOutcome) -> None:
        """Counts one file."""
        path = str(outcome.file.path)
        self.files += 1
        self.examples += outcome.patches
        self.dropped_patches.update(outcome.dropped_patches)
        self.impossible.update(outcome.impossible)
        self.files_with_impossible += bool(outcome.impossible)
        if outcome.counts is not None:
            self.bands.add(outcome.counts)
        if outcome.fault:
            self.faulty.append((path, outcome.fault))
        if outcome.patches:
            self.files_with_examples += 1
        else:
            self.skipped.append((path, outcome.reason, outcome.detail))

    def merge(self, other: "SplitCount") -> None:
        """Adds another part of the same split."""
        self.bands.merge(other.bands)
        for one in fields(self)[1:]:
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))

    def to_bytes(self) -> bytes:
        """The counts as another process can read them with `from_bytes`."""
        content = io.BytesIO()
        rest = {one.name: getattr(self, one.name) for one in fields(self)[1:]}
        np.savez(content, rest=np.array(json.dumps(rest)), **vars(self.bands))
        return content.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "SplitCount":
        """Reads what `to_bytes` made."""
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            rest = json.loads(str(file["rest"]))
            bands = BandCounts(int(file["bands"]))
            bands.counts, bands.finite, bands.pixels = file["counts"], file["finite"], int(file["pixels"])
        for name in ("dropped_patches", "impossible"):
            rest[name] = Counter(rest[name])
        for name in ("skipped", "faulty"):
            rest[name] = [tuple(entry) for entry in rest[name]]
        return cls(bands, **rest)


class Manifest:
    """Counts a build's files as they are read and, at the end, accounts for each."""

    def __init__(self, selection: Selection, chosen: ChosenFiles, root: Path):
        self._selection = selection
        self._chosen = chosen
        self._root = root
        self.splits = {split: SplitCount(BandCounts(len(selection.bands))) for split in chosen.splits}

    def add(self, split: str, outcome: TileOutcome) -> None:
        """Counts one file, and stops the build as soon as too many are bad, as `check` does."""
        self.splits[split].add(outcome)
        if outcome.reason in BAD_REASONS:
            self.check()

    def check(self) -> None:
        """Raises InputError where more files are bad than max_bad_fraction allows."""
        to_read = sum(len(files) for files in self._chosen.splits.values())
        bad = [entry for count in self.splits.values() for entry in count.skipped if entry[1] in BAD_REASONS]
        if len(bad) <= self._selection.max_bad_fraction * to_read:
            return
        file, _, detail = bad[0]
        raise InputError(
            f"already {len(bad)} of {to_read} files of {self._selection.satellite} cannot be used, more than "
            f"max_bad_fraction {self._selection.max_bad_fraction:g} allows ({_listed(self._reasons())}); the first is "
            f"{file} ({detail}); mend the files or raise max_bad_fraction"
        )

    def _reasons(self) -> dict[str, int]:
        counts = Counter(reason for count in self.splits.values() for _, reason, _ in count.skipped)
        counts.update({"superseded": len(self._chosen.superseded), "not drawn": len(self._chosen.not_drawn)})
        return dict((+counts).most_common())

    def as_json(self) -> dict[str, Any]:
        """The whole manifest; found files are those with and those without examples, and faulty ones are among both."""
        skipped = [(split, *entry) for split, count in self.splits.items() for entry in sorted(count.skipped)]
        for files, reason, detail in (
            (self._chosen.superseded, "superseded", "a newer version or another copy was taken"),
            (self._chosen.not_drawn, "not drawn", "left out by max_files"),
        ):
            skipped += [("", str(file.path), reason, detail) for file in files]
        faulty = [(split, *entry) for split, count in self.splits.items() for entry in sorted(count.faulty)]
        with_examples = sum(count.files_with_examples for count in self.splits.values())
        found = len(self._chosen.paths)
        split_counts = ("files", "files_with_examples", "examples", "dropped_patches")
        return {
            "format": 1,
            "selection": self._selection.as_json(),
            "root": os.path.abspath(self._root),
            "files": {"found": found, "with_examples": with_examples, "without_examples": len(skipped)},
            "reasons": self._reasons(),
            "faults": {DAMAGED_ANGLES: len(faulty)} if faulty else {},
            "impossible_temperatures": self._impossible(),
            "splits": {
                split: {name: getattr(count, name) for name in split_counts} | self._split_groups(split)
                for split, count in self.splits.items()
            },
            "empty_splits": self._empty_splits(),
            "skipped": [self._entry(*entry, names=("reason", "detail")) for entry in skipped],
            "faulty": [self._entry(*entry, names=("fault",)) for entry in faulty],
        }

    def _entry(self, split: str, file: str, *words: str, names: Sequence[str]) -> dict[str, str]:
        return {"file": os.path.relpath(file, self._root), "split": split, **dict(zip(names, words, strict=True))}

    def _split_groups(self, split: str) -> dict[str, list[str]]:
        """The days or tiles of a split's files, under the name of what they are."""
        by = self._selection.split_by
        return {f"{by}s": sorted({getattr(file, by) for file in self._chosen.splits.get(split, ())})}

    def why_empty(self, split: str) -> str:
        """The reasons why none of a split's files gave an example."""
        count = self.splits[split]
        reasons = Counter(reason for _, reason, _ in count.skipped)
        return f"none of its {count.files} files gave an example ({_listed(dict(reasons.most_common()))})"

    def _empty_splits(self) -> dict[str, dict[str, Any]]:
        """Split without examples -> the reason, and the options that would fill it, if there are such."""
        empty, bands = self._chosen.empty, self.held_bands()
        instead = {**empty.instead, **bands} if empty and empty.instead else {}
        without = {name: {"reason": empty.reason, "instead": instead} for name in empty.names} if empty else {}
        for split, count in self.splits.items():
            if not count.examples:
                without[split] = {"reason": self.why_empty(split), "instead": bands}
        return without

    def held_bands(self) -> dict[str, list[int]]:
        """The option `bands` with those alone that files mostly hold; {} where these are all, or files lack no band."""
        if not any(reason == NOT_FINITE for count in self.splits.values() for _, reason, _ in count.skipped):
            return {}
        pixels = sum(count.bands.finite for count in self.splits.values())
        held = np.asarray(self._selection.bands)[pixels > pixels.max() / 2].tolist()
        return {"bands": held} if 0 < len(held) < len(pixels) else {}

    def statistics(self) -> dict[str, Any]:
        """Statistics per split and band, see `statistics.read_statistics`."""
        splits = {split: count.bands.as_json(self._selection.channels) for split, count in self.splits.items()}
        return {"format": 1, "satellite": self._selection.satellite, "splits": splits}

    def summary(self) -> str:
        """One line for the end of a build."""
        counts, found = self.splits.values(), len(self._chosen.paths)
        examples = ", ".join(f"{split} {count.examples}" for split, count in self.splits.items())
        useful = sum(count.files_with_examples for count in counts)
        parts = [f"{self._selection.satellite}: {useful} of {found} files gave examples ({examples})"]
        if reasons := self._reasons():
            parts.append(f"without: {_listed(reasons)}")
        if faulty := sum(len(count.faulty) for count in counts):
            parts.append(f"with {DAMAGED_ANGLES}, not needed: {faulty}")
        impossible = self._impossible()
        if files := impossible["files"]:
            kelvin = "below {:g} K or above {:g} K".format(*POSSIBLE_KELVIN)
            where = f"in {files} file{'s' if files > 1 else ''}"
            parts.append(f"{sum(impossible['pixels'].values())} pixels {kelvin}, taken as missing, {where}")
        return "; ".join(parts)

    def _impossible(self) -> dict[str, Any]:
        """Files that hold temperatures that cannot be, and name of a band -> number of such pixels."""
        pixels: Counter = sum((count.impossible for count in self.splits.values()), Counter())
        files = sum(count.files_with_impossible for count in self.splits.values())
        return {"files": files, "pixels": dict(sorted(pixels.items()))}


def read_manifest(folder: Any) -> dict[str, Any]:
    """The manifest of a data set in a folder, a path of any file system; {} where there is none."""
    path = folder / NAME
    try:
        return json.loads(path.read_text()) if path.exists() else {}
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}); build the data set again with --overwrite") from error


def count_new_files(folder: Any, chosen: ChosenFiles) -> int:
    """Counts the archive's files that were not there when the data set was built (by number, if it names none)."""
    path, found = folder / FILES, [file.name for file in chosen.paths]
    if path.exists():
        return len(set(found) - set(path.read_text().splitlines()))
    before = read_manifest(folder).get("files", {}).get("found", len(found))
    return max(0, len(found) - before)


def _listed(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in reasons.items())
