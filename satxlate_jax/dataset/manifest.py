"""What became of every file of an archive when a data set was built from it."""

import io
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from satxlate_jax.archive.catalog import TileFile
from satxlate_jax.cli import InputError
from satxlate_jax.dataset.examples import BAD_REASONS, DAMAGED_ANGLES, TileOutcome
from satxlate_jax.dataset.selection import ChosenFiles, Selection
from satxlate_jax.dataset.statistics import BandCounts
from satxlate_jax.l1g.packing import POSSIBLE_KELVIN

NAME = "manifest.json"
FILES = "files.txt"
"""The names of all files found, one a line, so that a later build can tell what is new."""


class TooManyBadFilesError(InputError):
    """More files cannot be used than the selection's max_bad_fraction allows."""


@dataclass
class SplitCount:
    """What became of one split's files, counted file by file; parts of a split add up.

    Attributes:
      bands: counts of the stored codes.
      files: files looked at.
      files_with_examples: how many of them gave at least one example.
      examples: examples they gave.
      dropped_patches: reason -> patches left out of files, whether the file gave others or not.
      skipped: file, reason and detail of each file that gave no example.
      faulty: file and fault of each file with damage that did not matter, whether it gave examples or not.
      impossible: name of a band -> pixels whose temperature cannot be, which count as missing.
      files_with_impossible: files that hold such pixels.
    """

    bands: BandCounts
    files: int = 0
    files_with_examples: int = 0
    examples: int = 0
    dropped_patches: Counter = field(default_factory=Counter)
    skipped: list[tuple[str, str, str]] = field(default_factory=list)
    faulty: list[tuple[str, str]] = field(default_factory=list)
    impossible: Counter = field(default_factory=Counter)
    files_with_impossible: int = 0

    def add(self, outcome: TileOutcome) -> None:
        """Counts one file."""
        self.files += 1
        self.examples += len(outcome)
        self.dropped_patches.update(outcome.dropped_patches)
        self.impossible.update(outcome.impossible)
        self.files_with_impossible += bool(outcome.impossible)
        if outcome.counts is not None:
            self.bands.add(outcome.counts)
        if outcome.fault:
            self.faulty.append((str(outcome.file.path), outcome.fault))
        if len(outcome):
            self.files_with_examples += 1
        else:
            self.skipped.append((str(outcome.file.path), outcome.reason, outcome.detail))

    def merge(self, other: "SplitCount") -> None:
        """Adds another part of the same split."""
        self.bands.merge(other.bands)
        self.files += other.files
        self.files_with_examples += other.files_with_examples
        self.examples += other.examples
        self.dropped_patches.update(other.dropped_patches)
        self.skipped += other.skipped
        self.faulty += other.faulty
        self.impossible.update(other.impossible)
        self.files_with_impossible += other.files_with_impossible

    @property
    def bad_files(self) -> int:
        """Files that could not be used, as opposed to those that rightly gave nothing (night, no data)."""
        return sum(reason in BAD_REASONS for _, reason, _ in self.skipped)

    def to_bytes(self) -> bytes:
        """What another process can read with `from_bytes`."""
        facts = {name: value for name, value in vars(self).items() if name != "bands"}
        content = io.BytesIO()
        np.savez(
            content,
            facts=np.array(json.dumps(facts)),
            counts=self.bands.counts,
            finite=self.bands.finite,
            pixels=np.array(self.bands.pixels),
        )
        return content.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "SplitCount":
        """Reads what `to_bytes` made."""
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            facts = json.loads(str(file["facts"]))
            bands = BandCounts(len(file["counts"]))
            bands.counts, bands.finite, bands.pixels = file["counts"], file["finite"], int(file["pixels"])
        for name in ("dropped_patches", "impossible"):
            facts[name] = Counter(facts[name])
        for name in ("skipped", "faulty"):
            facts[name] = [tuple(entry) for entry in facts[name]]
        return cls(bands, **facts)


class Manifest:
    """Counts a build's files as they are read and tells, at the end, what became of each."""

    def __init__(self, selection: Selection, chosen: ChosenFiles, root: Path):
        self._selection = selection
        self._chosen = chosen
        self._root = root
        self.splits = {split: SplitCount(BandCounts(len(selection.bands))) for split in chosen.splits}

    def add(self, split: str, outcome: TileOutcome) -> None:
        """Counts one file, and stops the build as soon as too many are bad.

        Raises:
          TooManyBadFilesError: more files are bad than max_bad_fraction allows.
        """
        self.splits[split].add(outcome)
        if outcome.reason in BAD_REASONS:
            self.check()

    def check(self) -> None:
        """Raises TooManyBadFilesError where more files are bad than max_bad_fraction allows."""
        to_read = sum(len(files) for files in self._chosen.splits.values())
        bad = sum(count.bad_files for count in self.splits.values())
        if bad <= self._selection.max_bad_fraction * to_read:
            return
        skipped = [entry for count in self.splits.values() for entry in count.skipped]
        file, _, detail = next(entry for entry in skipped if entry[1] in BAD_REASONS)
        raise TooManyBadFilesError(
            f"already {bad} of {to_read} files of {self._selection.satellite} cannot be used, more than "
            f"max_bad_fraction {self._selection.max_bad_fraction:g} allows ({_listed(self.reasons())}); the first is "
            f"{file} ({detail}); mend the files or raise max_bad_fraction"
        )

    def reasons(self) -> dict[str, int]:
        """Reason -> files that gave no example for it."""
        counts = Counter(reason for count in self.splits.values() for _, reason, _ in count.skipped)
        counts.update({"superseded": len(self._chosen.superseded), "not drawn": len(self._chosen.not_drawn)})
        return dict((+counts).most_common())

    def as_json(self) -> dict[str, Any]:
        """The whole manifest; `files` adds up: found = with_examples + without_examples.

        `faulty` files are among either: what is damaged in them was not needed.
        """
        skipped = [
            self._entry(split, *entry) for split, count in self.splits.items() for entry in sorted(count.skipped)
        ]
        skipped += self._left_out(self._chosen.superseded, "superseded", "a newer version or another copy was taken")
        skipped += self._left_out(self._chosen.not_drawn, "not drawn", "left out by max_files")
        faulty = [
            {"file": os.path.relpath(file, self._root), "split": split, "fault": fault}
            for split, count in self.splits.items()
            for file, fault in sorted(count.faulty)
        ]
        with_examples = sum(count.files_with_examples for count in self.splits.values())
        return {
            "format": 1,
            "selection": self._selection.as_json(),
            "root": os.path.abspath(self._root),
            "files": {"found": self._chosen.total, "with_examples": with_examples, "without_examples": len(skipped)},
            "reasons": self.reasons(),
            "faults": {DAMAGED_ANGLES: len(faulty)} if faulty else {},
            "impossible_temperatures": self._impossible(),
            "splits": {split: _split_json(count) for split, count in self.splits.items()},
            "empty_splits": self._empty_splits(),
            "skipped": skipped,
            "faulty": faulty,
        }

    def why_empty(self, split: str) -> str:
        """Why none of a split's files gave an example."""
        count = self.splits[split]
        reasons = Counter(reason for _, reason, _ in count.skipped)
        return f"none of its {count.files} files gave an example ({_listed(dict(reasons.most_common()))})"

    def _empty_splits(self) -> dict[str, dict[str, Any]]:
        """Split without examples -> the reason, and the options that would fill it, if there are such."""
        empty = self._chosen.empty
        without = {name: {"reason": empty.reason, "instead": empty.instead} for name in empty.names} if empty else {}
        for split, count in self.splits.items():
            if not count.examples:
                without[split] = {"reason": self.why_empty(split), "instead": {}}
        return without

    def statistics(self) -> dict[str, Any]:
        """Statistics per split and band, see `statistics.read_statistics`."""
        splits = {split: count.bands.as_json(self._selection.channels) for split, count in self.splits.items()}
        return {"format": 1, "satellite": self._selection.satellite, "splits": splits}

    def summary(self) -> str:
        """One line for the end of a build."""
        examples = ", ".join(f"{split} {count.examples}" for split, count in self.splits.items())
        useful = sum(count.files_with_examples for count in self.splits.values())
        text = f"{self._selection.satellite}: {useful} of {self._chosen.total} files gave examples ({examples})"
        reasons = self.reasons()
        text += f"; without: {_listed(reasons)}" if reasons else ""
        faulty = sum(len(count.faulty) for count in self.splits.values())
        text += f"; with {DAMAGED_ANGLES}, not needed: {faulty}" if faulty else ""
        impossible = self._impossible()
        if not impossible["files"]:
            return text
        kelvin = "below {:g} K or above {:g} K".format(*POSSIBLE_KELVIN)
        pixels, files = sum(impossible["pixels"].values()), impossible["files"]
        return f"{text}; {pixels} pixels {kelvin}, taken as missing, in {files} file{'s' if files > 1 else ''}"

    def _impossible(self) -> dict[str, Any]:
        """Files that hold temperatures that cannot be, and name of a band -> how many pixels."""
        pixels: Counter = sum((count.impossible for count in self.splits.values()), Counter())
        files = sum(count.files_with_impossible for count in self.splits.values())
        return {"files": files, "pixels": dict(sorted(pixels.items()))}

    def _entry(self, split: str, file: str, reason: str, detail: str) -> dict[str, str]:
        return {"file": os.path.relpath(file, self._root), "split": split, "reason": reason, "detail": detail}

    def _left_out(self, files: Iterable[TileFile], reason: str, detail: str) -> list[dict[str, str]]:
        return [self._entry("", str(file.path), reason, detail) for file in files]


def read_manifest(folder: Any) -> dict[str, Any]:
    """The manifest of a data set; {} where there is none.

    Args:
      folder: of the data set, a path of any file system.
    """
    path = folder / NAME
    try:
        return json.loads(path.read_text()) if path.exists() else {}
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}); build the data set again with --overwrite") from error


def count_new_files(folder: Any, chosen: ChosenFiles) -> int:
    """How many of an archive's files were not there when the data set in that folder was built.

    A data set from before files were named is judged by their number.
    """
    path, found = folder / FILES, [file.name for file in chosen.paths]
    if path.exists():
        return len(set(found) - set(path.read_text().splitlines()))
    before = read_manifest(folder).get("files", {}).get("found", len(found))
    return max(0, len(found) - before)


def _split_json(count: SplitCount) -> dict[str, Any]:
    return {
        "files": count.files,
        "files_with_examples": count.files_with_examples,
        "examples": count.examples,
        "dropped_patches": dict(count.dropped_patches),
    }


def _listed(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in reasons.items())
