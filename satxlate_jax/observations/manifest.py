"""What became of every file of an archive when a data set was built from it."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from satxlate_jax.errors import InputError
from satxlate_jax.observations.examples import BAD_REASONS, TileOutcome
from satxlate_jax.observations.selection import ChosenFiles, Selection

NAME = "manifest.json"


class TooManyBadFilesError(InputError):
    """More files cannot be used than the selection's max_bad_fraction allows."""


@dataclass
class SplitCount:
    """Counts of one split, filled file by file.

    Attributes:
      files: files looked at.
      files_with_examples: how many of them gave at least one example.
      examples: examples they gave.
      dropped_patches: reason -> patches left out of files, whether the file gave others or not.
      skipped: one entry per file that gave no example: file, split, reason, detail.
    """

    files: int = 0
    files_with_examples: int = 0
    examples: int = 0
    dropped_patches: Counter = field(default_factory=Counter)
    skipped: list[dict[str, str]] = field(default_factory=list)

    def add(self, split: str, outcome: TileOutcome) -> None:
        """Counts what became of one file."""
        self.files += 1
        self.examples += len(outcome.examples)
        self.dropped_patches.update(outcome.dropped_patches)
        if outcome.examples:
            self.files_with_examples += 1
        else:
            self.skipped.append(
                {"file": outcome.file, "split": split, "reason": outcome.reason, "detail": outcome.detail}
            )

    @property
    def bad_files(self) -> int:
        """Files that could not be used, as opposed to those that rightly gave nothing (night, no data)."""
        return sum(entry["reason"] in BAD_REASONS for entry in self.skipped)


class Manifest:
    """Counts a build's files as they are read and tells, at the end, what became of each."""

    def __init__(self, selection: Selection, chosen: ChosenFiles, root: Path):
        self._selection = selection
        self._chosen = chosen
        self._root = root
        self.splits = {split: SplitCount() for split in chosen.splits}

    def add(self, split: str, outcome: TileOutcome) -> None:
        """Counts one file, and stops the build as soon as too many are bad.

        Raises:
          TooManyBadFilesError: more files are bad than max_bad_fraction allows.
        """
        self.splits[split].add(split, outcome)
        if outcome.reason in BAD_REASONS:
            self.check()

    def check(self) -> None:
        """Raises TooManyBadFilesError where more files are bad than max_bad_fraction allows."""
        to_read = sum(len(files) for files in self._chosen.splits.values())
        bad = sum(count.bad_files for count in self.splits.values())
        if bad <= self._selection.max_bad_fraction * to_read:
            return
        entry = next(
            entry for count in self.splits.values() for entry in count.skipped if entry["reason"] in BAD_REASONS
        )
        raise TooManyBadFilesError(
            f"already {bad} of {to_read} files of {self._selection.satellite} cannot be used, more than max_bad_fraction "
            f"{self._selection.max_bad_fraction:g} allows ({_listed(self.reasons())}); the first is {entry['file']}: "
            f"{entry['detail']}; mend the files or raise max_bad_fraction"
        )

    def reasons(self) -> dict[str, int]:
        """Reason -> files that gave no example for it."""
        counts = Counter(entry["reason"] for count in self.splits.values() for entry in count.skipped)
        for reason, files in (("superseded", self._chosen.superseded), ("not drawn", self._chosen.not_drawn)):
            if files:
                counts[reason] += len(files)
        return dict(counts.most_common())

    def as_json(self) -> dict[str, Any]:
        """The whole manifest; `files` adds up: found = with_examples + without_examples."""
        skipped = [entry for count in self.splits.values() for entry in count.skipped]
        skipped += _left_out(self._chosen.superseded, "superseded", "a newer version or another copy was taken")
        skipped += _left_out(self._chosen.not_drawn, "not drawn", "left out by max_files")
        with_examples = sum(count.files_with_examples for count in self.splits.values())
        return {
            "format": 1,
            "selection": self._selection.as_json(),
            "files": {"found": self._chosen.total, "with_examples": with_examples, "without_examples": len(skipped)},
            "reasons": self.reasons(),
            "splits": {split: _split_json(count) for split, count in self.splits.items()},
            "root": str(self._root),
            "skipped": [entry | {"file": os.path.relpath(entry["file"], self._root)} for entry in skipped],
        }

    def summary(self) -> str:
        """One line for the end of a build."""
        counts = ", ".join(f"{split} {count.examples}" for split, count in self.splits.items())
        files = self.as_json()["files"]
        text = (
            f"{self._selection.satellite}: {files['with_examples']} of {files['found']} files gave examples ({counts})"
        )
        return text + (f"; without: {_listed(self.reasons())}" if files["without_examples"] else "")


def _split_json(count: SplitCount) -> dict[str, Any]:
    return {
        "files": count.files,
        "files_with_examples": count.files_with_examples,
        "examples": count.examples,
        "dropped_patches": dict(count.dropped_patches),
    }


def _left_out(files: Iterable, reason: str, detail: str) -> list[dict[str, str]]:
    return [{"file": str(file.path), "split": "", "reason": reason, "detail": detail} for file in files]


def _listed(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in reasons.items())


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest beside a prepared data set.

    Raises:
      InputError: there is none.
    """
    path = Path(folder, NAME)
    if not path.is_file():
        raise InputError(f"no {NAME} in {folder}; is it a data set that `tfds build datasets/geonex_l1g` made?")
    return json.loads(path.read_text())
