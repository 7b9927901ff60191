"""Translate many files, restartably: one netCDF per input, a line per file that could not be used."""

import argparse
import json
import os
import shlex
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import xarray as xr
from tqdm import tqdm

from satxlate_jax.errors import InputError
from satxlate_jax.observations.catalog import find_tiles, parse_name, parse_numbers
from satxlate_jax.observations.l1g import MissingBandWarning, read_tile
from satxlate_jax.translation.netcdf import is_complete, write_tile_netcdf
from satxlate_jax.translation.translate import TileTranslator, load

FAILURES = "failures.jsonl"
"""Beside the outputs: one JSON object (file, reason) per input that the last run could not translate."""


@dataclass(frozen=True)
class Job:
    """One input and where its translation goes."""

    source: Path
    output: Path


@dataclass
class Outcome:
    """What became of the inputs of a run."""

    written: int = 0
    skipped: int = 0
    failures: list[dict[str, str]] | None = None


def find_inputs(inputs: Iterable[str], satellites: Iterable[str], **filters) -> list[Path]:
    """The L1G files that the command line's inputs mean.

    Args:
      inputs: files, taken as they are, and folders, searched for files of those satellites.
      satellites: whose files to take from folders.
      filters: tiles, years, days, hours as `find_tiles` takes them, for folders.

    Raises:
      InputError: an input does not exist, a folder holds no such file, or two inputs share a name.
    """
    satellites = tuple(satellites)
    files: dict[str, Path] = {}
    for text in inputs:
        path = Path(text)
        if path.is_dir():
            found = [file.path for file in find_tiles(path, satellites=satellites, **filters)]
            if not found:
                raise InputError(f"'{text}' holds no L1G file of {', '.join(satellites)} that passes the filters")
        elif path.exists():
            found = [path]
        else:
            raise InputError(f"'{text}' does not exist; give L1G files or folders that hold them")
        for file in found:
            if files.setdefault(file.name, file).resolve() != file.resolve():
                raise InputError(f"two inputs are called {file.name}; translate their folders one at a time")
    return list(files.values())


def translate_file(translator: TileTranslator, path: Path, to: str, resolution_km: float = 2.0) -> xr.Dataset:
    """Reads one L1G file and translates it.

    Raises:
      InputError: it cannot be read, or lacks a band that the network needs.
    """
    known = parse_name(path)
    bands = [band.number for band in translator.bands(known.satellite)] if known else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MissingBandWarning)  # a band the network needs is an error below
        tile = read_tile(path, resolution_km, bands=bands)
    if translator.domain(tile.attrs["satellite"]) == translator.domain(to):
        raise InputError(f"{path.name} is already {to}; give another satellite's file, or another --to")
    return translator.translate(tile, to)


def translate_archive(
    translator: TileTranslator,
    jobs: Sequence[Job],
    to: str,
    *,
    resolution_km: float = 2.0,
    overwrite: bool = False,
    command: str = "",
) -> Outcome:
    """Translates files one after the other; complete outputs are left alone, a bad input does not stop the rest.

    Args:
      translator: what to translate with.
      jobs: inputs and outputs.
      to: the satellite to make.
      resolution_km: of the grid, 2, 1 or 0.5.
      overwrite: make outputs again that are complete.
      command: for the files' history.

    Returns:
      Counts, and a reason per failed file.
    """
    outcome = Outcome(failures=[])
    for job in tqdm(jobs, desc=f"translate to {to}", unit="file", disable=None):
        if not overwrite and is_complete(job.output, translator.run, translator.step, job.source.name):
            outcome.skipped += 1
            continue
        try:
            tile = translate_file(translator, job.source, to, resolution_km)
        except InputError as error:
            outcome.failures.append({"file": str(job.source), "reason": str(error)})
            tqdm.write(f"skipped: {error}")
            continue
        write_tile_netcdf(tile, job.output, facts=translator.facts, command=command)
        outcome.written += 1
    return outcome


def _write_failures(failures: Sequence[dict[str, str]], folder: Path) -> None:
    path = folder / FAILURES
    if not failures:
        path.unlink(missing_ok=True)
        return
    temporary = folder / f".{FAILURES}.{os.getpid()}.part"
    temporary.write_text("".join(json.dumps(failure) + "\n" for failure in failures))
    os.replace(temporary, path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="satxlate translate",
        description="Turn one satellite's L1G tiles into another's: one CF-1.8 netCDF per input. Started again, it "
        "skips what is complete. Files that cannot be used are named (also in OUT/failures.jsonl), the rest goes on.",
    )
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="L1G files, or folders to search for them")
    parser.add_argument("--checkpoint", required=True, metavar="RUN", help="a training run's folder (its --workdir)")
    parser.add_argument("--step", type=int, help="which checkpoint (default: the newest)")
    parser.add_argument("--to", required=True, metavar="SATELLITE", help="the satellite to make, such as H8")
    parser.add_argument("--output", required=True, metavar="OUT", help="folder for the netCDF files; made if absent")
    parser.add_argument(
        "--source", metavar="SATELLITE", help="from folders only this one's files (default: all others)"
    )
    parser.add_argument("--tiles", help="from folders only these tiles, such as h09v03,h10v03")
    parser.add_argument("--year", help="from folders only these years, such as 2019 or 2018-2020")
    parser.add_argument("--days", help="from folders only these days of the year, such as 32-53")
    parser.add_argument("--hours", help="from folders only these hours (UTC), such as 0 or 18-21")
    parser.add_argument("--resolution_km", type=float, default=2.0, choices=(2.0, 1.0, 0.5), help="of the grid (2)")
    parser.add_argument("--overwrite", action="store_true", help="make outputs again that are complete")
    return parser


def main(argv: list[str]) -> int:
    """The verb `translate`.

    Returns:
      0 when at least one output is there (new or from before), 2 when every input failed.
    """
    options = _parser().parse_args(argv)
    translator = load(options.checkpoint, options.step)
    target = translator.domain(options.to)
    others = [name for name in translator.satellites if name != target]
    satellites = [translator.domain(options.source)] if options.source else others
    filters = {
        "tiles": options.tiles.split(",") if options.tiles else None,
        "years": parse_numbers(options.year) if options.year else None,
        "days": parse_numbers(options.days) if options.days else None,
        "hours": parse_numbers(options.hours) if options.hours else None,
    }
    files = find_inputs(options.inputs, satellites, **filters)
    output = Path(options.output)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder '{output}': {error.strerror}; choose another --output") from error
    jobs = [Job(file, output / f"{file.stem}_{options.to}.nc") for file in files]
    command = shlex.join(["satxlate", "translate", *argv])
    settings = {"resolution_km": options.resolution_km, "overwrite": options.overwrite, "command": command}
    outcome = translate_archive(translator, jobs, options.to, **settings)
    _write_failures(outcome.failures, output)
    print(
        f"{outcome.written} written, {outcome.skipped} already there, {len(outcome.failures)} failed; "
        f"{options.to} from run '{translator.run}' step {translator.step} in {output}"
        + (f" (reasons in {output / FAILURES})" if outcome.failures else "")
    )
    return 0 if outcome.written + outcome.skipped else 2
