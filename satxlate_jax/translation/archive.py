"""Translate many files, restartably: read in processes of their own, computed side by side, written meanwhile."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import jax
import xarray as xr
from tqdm import tqdm

from satxlate_jax import atomic
from satxlate_jax.cli import InputError
from satxlate_jax.l1g.isolation import Failure, read_isolated
from satxlate_jax.translation.inputs import read_input
from satxlate_jax.translation.netcdf import is_complete, write_tile_netcdf
from satxlate_jax.translation.translate import TileTranslator

FAILURES = "failures.jsonl"
"""Beside the outputs: one JSON object (file, reason) per input that the last run could not translate."""


class Sink(Protocol):
    """Where translations go."""

    def plan(self, sources: Sequence[Path]) -> None:
        """Hears of all inputs before the first is translated; raises InputError where they cannot go together."""

    def is_complete(self, source: Path) -> bool:
        """Whether that input's translation by this checkpoint is there."""

    def write(self, source: Path, tile: xr.Dataset) -> None:
        """Writes one; it is complete only when this returns."""


@dataclass(frozen=True)
class NetcdfFolder:
    """One netCDF file per input, in one folder.

    Attributes:
      folder: where.
      to: the satellite that is made, part of the files' names.
      translator: whose checkpoint the files must be of.
      command: for the files' history.
      names: of the variables that a complete file must hold; one with fewer is made again.
      options: that the numbers depend on; a file made with others is made again.
    """

    folder: Path
    to: str
    translator: TileTranslator
    command: str = ""
    names: Collection[str] = ()
    options: str = ""

    def plan(self, sources: Sequence[Path]) -> None:
        """Nothing to prepare: each input has a file of its own."""

    def path(self, source: Path) -> Path:
        """Of an input's translation."""
        return self.folder / f"{source.stem}_{self.to}.nc"

    def is_complete(self, source: Path) -> bool:
        """Whether the file is there, of this checkpoint and these options."""
        run, step = self.translator.run, self.translator.step
        return is_complete(self.path(source), run, step, source.name, self.names, self.options)

    def write(self, source: Path, tile: xr.Dataset) -> None:
        """Writes the file under a temporary name and renames it."""
        facts = self.translator.facts
        write_tile_netcdf(tile, self.path(source), facts=facts, command=self.command, options=self.options)


@dataclass
class Outcome:
    """What became of the inputs of a run.

    Attributes:
      written: translations made.
      skipped: translations that were there.
      failures: file and reason of inputs that could not be translated.
    """

    written: int = 0
    skipped: int = 0
    failures: list[dict[str, str]] = field(default_factory=list)


def translate_archive(
    translator: TileTranslator,
    files: Sequence[Path],
    to: str,
    sink: Sink,
    *,
    overwrite: bool = False,
    resolution_km: float = 2.0,
    bands: Sequence[int] | None = None,
    samples: int = 0,
    seed: int = 0,
    workers: int = 1,
) -> Outcome:
    """Translates files; complete outputs are left alone, a bad input does not stop the rest.

    Memory: one block of the network (see `network.BLOCK`) per local device, and about ten tiles on their way.

    Args:
      translator: what to translate with.
      files: the inputs.
      to: the satellite to make.
      sink: where translations go.
      overwrite: make outputs again that are complete.
      resolution_km: of the grid, 2, 1 or 0.5.
      bands: which of the target's bands to write, 1-based; default all.
      samples: draws of the latent noise, for means and spreads; 0 is none.
      seed: of the draws.
      workers: processes that read.

    Returns:
      Counts, and a reason per failed file.

    Raises:
      InputError: an output cannot be written, or the target lacks a band asked for.
    """
    kept = set(made_variables(translator, to, bands, samples))
    sink.plan(files)
    waiting = [file for file in files if overwrite or not sink.is_complete(file)]
    read = partial(read_input, bands=_source_bands(translator, to), resolution_km=resolution_km)
    translate = partial(translator.translate_tiles, to=to, samples=samples, seed=seed)
    at_once = len(jax.local_devices())
    with tqdm(total=len(waiting), desc=f"translate to {to}", unit="file", disable=None) as bar:
        run = _Run(Outcome(skipped=len(files) - len(waiting)), bar)
        with ThreadPoolExecutor(1, "write") as writer:
            writing: list[Future] = []
            tiles = _read(waiting, read, max(min(workers, len(waiting)), 1), run)
            for group in _group(tiles, at_once):
                for file, output in _translate(translate, group, run):
                    output = output[[name for name in output if name in kept]]
                    writing.append(writer.submit(sink.write, file, output))
                    while len(writing) > at_once:
                        run.finish(writing.pop(0))
            while writing:
                run.finish(writing.pop(0))
    return run.outcome


@dataclass
class _Run:
    """What is counted while files go through."""

    outcome: Outcome
    bar: tqdm

    def fail(self, file: Path, reason: str) -> None:
        """Counts an input that could not be translated."""
        self.outcome.failures.append({"file": str(file), "reason": reason})
        if self.bar.total != 1:  # the reason that the only file fails for ends the command
            tqdm.write(f"skipped: {reason}")
        self.bar.update()

    def finish(self, writing: Future) -> None:
        """Waits for an output and counts it."""
        writing.result()
        self.outcome.written += 1
        self.bar.update()


def _source_bands(translator: TileTranslator, to: str) -> dict[str, tuple[int, ...]]:
    """Satellite -> the bands to read of its files, for every satellite but the target."""
    others = (name for name in translator.satellites if name != translator.domain(to))
    return {name.split("_", 1)[0]: tuple(band.number for band in translator.bands(name)) for name in others}


def _translate(
    translate: Callable[[list[xr.Dataset]], list[xr.Dataset]], group: list[tuple[Path, xr.Dataset]], run: _Run
) -> Iterator[tuple[Path, xr.Dataset]]:
    """Translates tiles together; when one of them is bad, one by one, so that the others do not suffer."""
    try:
        outputs = translate([tile for _, tile in group])
    except InputError as error:
        if len(group) == 1:
            run.fail(group[0][0], str(error))
            return
        for single in group:
            yield from _translate(translate, [single], run)
        return
    yield from zip((file for file, _ in group), outputs, strict=True)


def _read(
    files: Sequence[Path], read: Callable[[Path], xr.Dataset], workers: int, run: _Run
) -> Iterator[tuple[Path, xr.Dataset]]:
    for file, tile in read_isolated(files, read, workers=workers):
        if isinstance(tile, Failure):
            run.fail(file, str(tile.as_error(file)))
        else:
            yield file, tile


def _group(tiles: Iterable[tuple[Path, xr.Dataset]], size: int) -> Iterator[list[tuple[Path, xr.Dataset]]]:
    """Runs of up to `size` tiles of one satellite and one shape."""
    group: list[tuple[Path, xr.Dataset]] = []
    for file, tile in tiles:
        if group and (tile.attrs["satellite"], tile.sizes) != (group[0][1].attrs["satellite"], group[0][1].sizes):
            yield group
            group = []
        group.append((file, tile))
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def made_variables(
    translator: TileTranslator, to: str, bands: Sequence[int] | None = None, samples: int = 0
) -> list[str]:
    """Names of the variables that are written.

    Args:
      translator: what to translate with.
      to: the satellite to make.
      bands: which of its bands, 1-based; default all.
      samples: draws of the latent noise; with any there are spreads too.

    Raises:
      InputError: the target lacks a band asked for.
    """
    made = {band.number: band.name for band in translator.bands(to)}
    absent = [number for number in bands or () if number not in made]
    if absent:
        raise InputError(f"the run makes bands {', '.join(map(str, made))} of {to}, not band {absent[0]}")
    names = [made[number] for number in bands or made]
    return [*names, *(f"{name}_spread" for name in names if samples), "quality"]


def write_failures(failures: Sequence[dict[str, str]], folder: Path, name: str = FAILURES) -> None:
    """Writes FOLDER/failures.jsonl, or removes it where there are none."""
    path = folder / name
    if not failures:
        path.unlink(missing_ok=True)
        return
    atomic.write_text(path, "".join(json.dumps(failure) + "\n" for failure in failures))
