"""What is compared with what: which files, which bands, and on which other files the baselines are fitted."""

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from satxlate_jax.archive.catalog import TileFile, coincident, find_tiles, list_holdings
from satxlate_jax.cli import InputError
from satxlate_jax.evaluation.baselines.simple import Task
from satxlate_jax.instruments import get_satellite, shared_bands
from satxlate_jax.translation.translate import TileTranslator


@dataclass(frozen=True)
class Case:
    """One translation to score.

    Attributes:
      source: the file that is translated.
      truth: the file that holds what the target's bands should be; the source itself under truth 'source'.
    """

    source: TileFile
    truth: TileFile


@dataclass(frozen=True)
class Comparison:
    """All that an evaluation compares.

    Attributes:
      task: source, target and their bands in the network's order.
      truth: 'coincident' (the target's files of the same tile and time) or 'source' (bands of the source's own
        instrument that its file holds and the network was not given).
      truth_bands: target's band -> the band of the truth file that it is compared with.
      cases: the files to score.
      fit_files: the target's files on which the baselines are fitted.
      fitted_apart: whether none of `fit_files` is scored.
      fit_sources: the source's files, for baselines that need both satellites' distributions.
      fit_pairs: coincident files that are not scored, for the paired baseline.
    """

    task: Task
    truth: str
    truth_bands: Mapping[int, int]
    cases: Sequence[Case]
    fit_files: Sequence[TileFile]
    fitted_apart: bool
    fit_sources: Sequence[TileFile] = ()
    fit_pairs: Sequence[tuple[TileFile, TileFile]] = ()


def find_comparison(
    translator: TileTranslator,
    root: str | Path,
    source: str,
    target: str,
    *,
    truth: str = "coincident",
    tolerance: timedelta = timedelta(0),
    max_files: int | None = None,
    fit_files: int = 64,
    seed: int = 0,
    minutes: Collection[int] | None = None,
    **filters,
) -> Comparison:
    """Looks through a tree of L1G files for what can be scored.

    Args:
      translator: whose bands to compare.
      root: of the tree.
      source: the satellite to translate from.
      target: the satellite to translate to.
      truth: 'coincident' or 'source'.
      tolerance: largest difference in time of coincident files.
      max_files: score only that many, drawn with `seed`.
      fit_files: fit baselines on at most that many, drawn with `seed`.
      seed: of the draws.
      minutes: score only files of these minutes of the hour; default all.
      filters: tiles, years, days, hours of the files to score, as `find_tiles` takes them.

    Raises:
      InputError: there is nothing to score; it says what was found.
    """
    source, target = translator.domain(source), translator.domain(target)
    if source == target:
        raise InputError(f"source and target are both {source}; name two of {', '.join(translator.satellites)}")
    bands = {name: tuple(band.number for band in translator.bands(name)) for name in (source, target)}
    task = Task(source, bands[source], target, bands[target])
    if truth == "source":
        cases, truth_bands = _held_out_cases(task, root, filters), held_out_bands(task)
    else:
        cases, truth_bands = _coincident_cases(task, root, tolerance, filters), {band: band for band in bands[target]}
    if minutes is not None:
        cases = [case for case in cases if case.source.time.minute in minutes]
        if not cases:
            raise InputError(f"no file at minute {', '.join(map(str, minutes))}: {_what_is_there(root, filters)}")
    draw = random.Random(seed)
    if max_files is not None and len(cases) > max_files:
        cases = sorted(draw.sample(cases, max_files), key=lambda case: (case.source.time, case.source.tile))
    return Comparison(task, truth, truth_bands, cases, **_files_to_fit(task, root, cases, tolerance, fit_files, draw))


def _files_to_fit(
    task: Task, root: str | Path, cases: Sequence[Case], tolerance: timedelta, most: int, draw: random.Random
) -> dict[str, Any]:
    """Files of both satellites that are not scored, where there are any; coincident ones never are.

    Nor do the baselines learn from the target's view of a scored scene, which no translation has seen.
    """
    scored = {case.truth.path for case in cases} | {case.source.path for case in cases}

    def some(files: Sequence) -> list:
        return sorted(draw.sample(files, most)) if len(files) > most else list(files)

    targets, sources = (find_tiles(root, satellites=[name]) for name in (task.target, task.source))
    scored |= {seen.path for _, seen in coincident([case.source for case in cases], targets, tolerance)}
    apart = [[file for file in files if file.path not in scored] for files in (targets, sources)]
    pairs = [pair for pair in coincident(sources, targets, tolerance) if not {pair[0].path, pair[1].path} & scored]
    return {
        "fit_files": some(apart[0] or targets),
        "fitted_apart": bool(apart[0]) or not targets,
        "fit_sources": some(apart[1] or sources),
        "fit_pairs": some(pairs),
    }


def held_out_bands(task: Task) -> dict[int, int]:
    """Target's bands that the source's instrument measures too but the network is not given -> the source's band.

    Raises:
      InputError: there is none, or the two satellites carry different instruments.
    """
    source, target = get_satellite(task.source), get_satellite(task.target)
    if source.instrument != target.instrument:
        raise InputError(
            f"--truth source compares bands of one instrument, but {task.source} carries {source.instrument} and "
            f"{task.target} {target.instrument}; use --truth coincident"
        )
    pairs = shared_bands(task.target, task.source, task.target_bands)
    held_out = {ours: theirs for ours, theirs in pairs if theirs not in task.source_bands}
    if not held_out:
        raise InputError(
            f"--truth source needs bands of {task.target} that the network is not given from {task.source}; this run "
            f"gives it all of them ({', '.join(map(str, task.source_bands))}); use --truth coincident"
        )
    return held_out


def _held_out_cases(task: Task, root: str | Path, filters: Mapping) -> list[Case]:
    files = find_tiles(root, satellites=[task.source], **filters)
    if not files:
        raise InputError(f"no file of {task.source} to score: {_what_is_there(root, filters)}")
    return [Case(file, file) for file in files]


def _coincident_cases(task: Task, root: str | Path, tolerance: timedelta, filters: Mapping) -> list[Case]:
    sources = find_tiles(root, satellites=[task.source], **filters)
    targets = find_tiles(root, satellites=[task.target], **filters)
    pairs = coincident(sources, targets, tolerance)
    if not pairs:
        raise InputError(
            f"no coincident files of {task.source} and {task.target} (same tile, times within "
            f"{tolerance.total_seconds() / 60:g} min): {_what_is_there(root, filters)}, or use --truth source"
        )
    return [Case(*pair) for pair in pairs]


def _what_is_there(root: str | Path, filters: Mapping) -> str:
    files = find_tiles(root)
    if not files:
        return f"'{root}' holds no L1G file at all; give the root of a tree of L1G files as --l1g"
    active = {name: value for name, value in filters.items() if value is not None}
    advice = "loosen the filters" if active else "look at tiles and times"
    return f"'{root}' holds {list_holdings(files)}; {advice}"


def stack(tile: xr.Dataset, bands: Sequence[int]) -> np.ndarray:
    """A tile's bands as [h, w, band], in the order asked for."""
    return np.stack([tile[f"BAND{band:02d}"].values for band in bands], axis=-1)
