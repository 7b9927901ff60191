"""The verb `translate`: what its words mean."""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from satxlate_jax.archive.catalog import parse_numbers
from satxlate_jax.cli import CommandParser, InputError, at_least, user_path
from satxlate_jax.cpus import count_cpus
from satxlate_jax.geometry import parse_tiles
from satxlate_jax.translation.archive import (
    FAILURES,
    NetcdfFolder,
    Sink,
    made_variables,
    translate_archive,
    write_failures,
)
from satxlate_jax.translation.inputs import find_inputs, take_share
from satxlate_jax.translation.network import BLOCK
from satxlate_jax.translation.translate import TileTranslator, load


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="satxlate translate",
        description="Turn one satellite's L1G tiles into another's: one CF-1.8 netCDF per input. Started again, it "
        "skips what is complete. Files that cannot be used are named (also in OUT/failures.jsonl), the rest goes on; "
        "the exit code is 0 where at least one file was translated.",
    )
    parser.add_argument(
        "inputs", type=user_path, nargs="+", metavar="INPUT", help="L1G files, or folders to search for them"
    )
    parser.add_argument(
        "--checkpoint", type=user_path, required=True, metavar="RUN", help="a training run's folder (its --workdir)"
    )
    parser.add_argument("--step", type=int, help="which checkpoint (default: the newest)")
    parser.add_argument("--to", required=True, metavar="SATELLITE", help="the satellite to make, such as H8")
    parser.add_argument(
        "--output", type=user_path, required=True, metavar="OUT", help="folder for what is made; made if absent"
    )
    choice = parser.add_argument_group("which files of the folders")
    choice.add_argument("--source", metavar="SATELLITE", help="only this one's files (default: all others)")
    choice.add_argument("--tiles", help="only these tiles, such as h09v03,h10v03")
    choice.add_argument("--year", help="only these years, such as 2019 or 2018-2020")
    choice.add_argument("--days", help="only these days of the year, such as 32-53")
    choice.add_argument("--hours", help="only these hours (UTC), such as 0 or 18-21")
    choice.add_argument(
        "--pairs",
        type=user_path,
        metavar="CSV",
        help="only files in this list (`satxlate catalog L1G_ROOT --pairs G16,H8` makes one)",
    )
    choice.add_argument("--share", default="0/1", metavar="I/N", help="this process's share of the files")
    made = parser.add_argument_group("what is made of them")
    made.add_argument("--bands", help="write only these bands, such as 2,7-9 (default: all)")
    made.add_argument(
        "--samples", type=at_least(0), default=0, help="draws of the latent noise: writes means and spreads"
    )
    made.add_argument("--seed", type=int, default=0, help="of the draws")
    made.add_argument("--zarr", action="store_true", help="one Zarr store per satellite and tile, with a time axis")
    made.add_argument("--resolution_km", type=float, default=2.0, choices=(2.0, 1.0, 0.5), help="of the grid (2)")
    made.add_argument("--overwrite", action="store_true", help="make outputs again that are complete")
    how = parser.add_argument_group("how")
    how.add_argument(
        "--workers", type=at_least(1), default=count_cpus(), help="processes that read (default: the job's CPUs)"
    )
    how.add_argument("--block", type=at_least(1), default=BLOCK, help=f"pixels of a side computed at once ({BLOCK})")
    return parser


def _sink(
    options: argparse.Namespace, output: Path, translator: TileTranslator, bands: Sequence[int] | None, command: str
) -> Sink:
    """Where the translations go."""
    if options.zarr:
        from satxlate_jax.translation.zarr import ZarrFolder  # zarr is an extra

        return ZarrFolder(output, options.to, translator, command)
    draws = f" samples={options.samples} seed={options.seed}" if options.samples else ""
    numbers = f"resolution_km={options.resolution_km:g}{draws}"
    names = made_variables(translator, options.to, bands, options.samples)
    return NetcdfFolder(output, options.to, translator, command, names, numbers)


def main(argv: list[str]) -> int:
    """The verb `translate`.

    Returns:
      0: at least one output is there (new or from before).

    Raises:
      InputError: a mistake in what was handed in, or every input failed.
    """
    options = _parser().parse_args(argv)
    if options.samples == 1:
        raise InputError("--samples is 1; give 0, or at least 2 for a spread")
    translator = load(options.checkpoint, options.step, block=options.block)
    target = translator.domain(options.to)
    others = [name for name in translator.satellites if name != target]
    satellites = [translator.domain(options.source)] if options.source else others
    filters = {
        "tiles": None if options.tiles is None else parse_tiles(options.tiles),
        "years": parse_numbers(options.year) if options.year else None,
        "days": parse_numbers(options.days) if options.days else None,
        "hours": parse_numbers(options.hours) if options.hours else None,
    }
    files = find_inputs(options.inputs, satellites, options.pairs, **filters)
    files = take_share(files, options.share, whole_tiles=options.zarr)
    bands = parse_numbers(options.bands) if options.bands else None
    output = Path(options.output)
    sink = _sink(options, output, translator, bands, shlex.join(["satxlate", "translate", *argv]))
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder '{output}': {error.strerror}; choose another --output") from error
    outcome = translate_archive(
        translator,
        files,
        options.to,
        sink,
        overwrite=options.overwrite,
        resolution_km=options.resolution_km,
        bands=bands,
        samples=options.samples,
        seed=options.seed,
        workers=options.workers,
    )
    failures = FAILURES if options.share == "0/1" else f"failures_{options.share.replace('/', '_of_')}.jsonl"
    write_failures(outcome.failures, output, failures)
    print(
        f"{outcome.written} written, {outcome.skipped} already there, {len(outcome.failures)} failed; "
        f"{options.to} from run '{translator.run}' step {translator.step} in {output}"
        + (f" (reasons in {output / failures})" if outcome.failures else "")
    )
    if not outcome.written + outcome.skipped:
        raise InputError(f"none of {len(files)} files could be translated; the first: {outcome.failures[0]['reason']}")
    return 0
