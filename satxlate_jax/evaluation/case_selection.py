"""Choose the files and bands that an evaluation compares, and the other files its baselines are fitted on."""

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from satxlate_jax.archive.catalog import TileFile, coincident, describe_inventory, find_tiles
from satxlate_jax.cli import InputError
from satxlate_jax.instruments import get_satellite, shared_bands, shared_channels
from satxlate_jax.translation.translate import TileTranslator


@dataclass(frozen=True)
class Task:
    """The satellite whose bands are given, the one whose bands are wanted, and both bands in the arrays' order."""

    source: str
    source_bands: tuple[int, ...]
    target: str
    target_bands: tuple[int, ...]

    @property
    def shared(self) -> tuple[list[int], list[int]]:
        """Channels of the source's array and of the target's that are the same band by wavelength."""
        return shared_channels(self.source, self.source_bands, self.target, self.target_bands)

    @property
    def lacking(self) -> list[int]:
        """Channels of the target's array that the source's input has no band for."""
        return [channel for channel in range(len(self.target_bands)) if channel not in self.shared[1]]

    @property
    def inputs(self) -> list[int]:
        """The target's bands that the source's input shares."""
        return [self.target_bands[channel] for channel in self.shared[1]]


class Case(NamedTuple):
    """One translation to score: the file to translate and the file that holds the truth, which may be the same."""

    source: TileFile
    truth: TileFile


@dataclass(frozen=True)
class Comparison:
    """All that an evaluation compares.

    The truth is 'coincident' (the target's files of the same tile and time), 'same_view' (simulated files of the
    target's instrument in the source's place) or 'source' (withheld bands of the source).
    """

    task: Task
    truth: str
    truth_bands: Mapping[int, int]  # target's band -> the band of the truth file that it is compared with
    cases: Sequence[Case] = ()
    fit_files: Sequence[TileFile] = ()  # of the target, for the baselines
    fitted_apart: bool = True  # none of them is scored
    fit_sources: Sequence[TileFile] = ()  # for baselines that need both satellites' distributions
    fit_pairs: Sequence[tuple[TileFile, TileFile]] = ()  # coincident files that are not scored, for the paired baseline
    resolution_km: float = 2.0  # of the grid on which files are translated, compared and fitted on


def find_comparison(
    translator: TileTranslator,
    root: str | Path,
    source: str,
    target: str,
    *,
    truth: str = "coincident",
    truth_root: str | Path | None = None,
    tolerance: timedelta = timedelta(0),
    max_files: int | None = None,
    fit_files: int = 64,
    seed: int = 0,
    minutes: Collection[int] | None = None,
    resolution_km: float = 2.0,
    **filters,
) -> Comparison:
    """Search a tree of L1G files for what can be scored; where there is nothing, InputError says what was found.

    The truth lies under `truth_root` (default `root`); coincident files are at most `tolerance` apart. Scored are at
    most `max_files`, baselines are fitted on at most `fit_files`, both drawn with `seed`. The files to score can be
    chosen by the minutes of the hour and by `filters`, as `find_tiles` takes them.
    """
    source, target = translator.domain(source), translator.domain(target)
    if source == target:
        raise InputError(f"source and target are both {source}; name two of {', '.join(translator.satellites)}")
    bands = {name: tuple(band.number for band in translator.bands(name)) for name in (source, target)}
    task = Task(source, bands[source], target, bands[target])
    truth_bands = withheld_bands(task) if truth == "source" else {band: band for band in task.target_bands}
    cases = [Case(file, file) for file in find_tiles(root, satellites=[source], **filters)]
    missing = f"no file of {source} to score"
    if truth != "source":
        targets = find_tiles(truth_root or root, satellites=[target], **filters)
        cases = [Case(*pair) for pair in coincident([case.source for case in cases], targets, tolerance)]
        within = f"same tile, times within {tolerance.total_seconds() / 60:g} min"
        missing = f"no coincident files of {source} and {target} ({within})"
    if cases and minutes is not None:
        cases = [case for case in cases if case.source.time.minute in minutes]
        missing = f"no file at minute {', '.join(map(str, minutes))}"
    if not cases:
        raise InputError(f"{missing}: {_advice(truth_root or root, truth, filters)}")
    draw = random.Random(seed)
    if max_files is not None and len(cases) > max_files:
        cases = sorted(draw.sample(cases, max_files), key=lambda case: (case.source.time, case.source.tile))
    fitted = _find_fit_files(task, cases, root, tolerance, fit_files, draw)
    return Comparison(task, truth, truth_bands, cases, resolution_km=resolution_km, **fitted)


def _find_fit_files(
    task: Task, cases: Sequence[Case], root: str | Path, tolerance: timedelta, most: int, draw: random.Random
) -> dict[str, Any]:
    """Files to fit on: where there are others, none that is scored or the target's view of a scored scene."""
    targets, sources = (find_tiles(root, satellites=[name]) for name in (task.target, task.source))
    scored = {file.path for case in cases for file in case}
    scored |= {seen.path for _, seen in coincident([case.source for case in cases], targets, tolerance)}
    apart = [[file for file in files if file.path not in scored] for files in (targets, sources)]
    pairs = [pair for pair in coincident(sources, targets, tolerance) if not {pair[0].path, pair[1].path} & scored]

    def some(files: Sequence) -> list:
        return sorted(draw.sample(files, most)) if len(files) > most else list(files)

    return {
        "fit_files": some(apart[0] or targets),
        "fitted_apart": bool(apart[0]) or not targets,
        "fit_sources": some(apart[1] or sources),
        "fit_pairs": some(pairs),
    }


def withheld_bands(task: Task) -> dict[int, int]:
    """Target's bands that the source's instrument measures too but the network is not given -> the source's band."""
    source, target = get_satellite(task.source), get_satellite(task.target)
    if source.instrument != target.instrument:
        raise InputError(
            f"--truth source compares bands of one instrument, but {task.source} carries {source.instrument} and "
            f"{task.target} {target.instrument}; use --truth coincident"
        )
    pairs = shared_bands(task.target, task.source, task.target_bands)
    withheld = {ours: theirs for ours, theirs in pairs if theirs not in task.source_bands}
    if not withheld:
        raise InputError(
            f"--truth source needs bands of {task.target} that the network is not given from {task.source}; this run "
            f"gives it all of them ({', '.join(map(str, task.source_bands))}); use --truth coincident"
        )
    return withheld


def _advice(root: str | Path, truth: str, filters: Mapping) -> str:
    files = find_tiles(root)
    if not files:
        return f"'{root}' holds no L1G file at all; give the root of a tree of L1G files as --l1g"
    advice = "loosen the filters" if any(value is not None for value in filters.values()) else "look at tiles and times"
    return f"'{root}' holds {describe_inventory(files)}; {advice}" + ", or use --truth source" * (truth == "coincident")


def stack(tile: xr.Dataset, bands: Sequence[int]) -> np.ndarray:
    """A tile's bands as [h, w, band], in the order asked for."""
    return np.moveaxis(np.stack([tile[f"BAND{band:02d}"].values for band in bands]), 0, -1)
