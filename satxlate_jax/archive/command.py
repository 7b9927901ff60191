"""`satxlate catalog`: what an archive of L1G files holds, where it has gaps, and which files coincide."""

import argparse
import csv
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from satxlate_jax import atomic
from satxlate_jax.archive.catalog import TileFile, coincident, find_tiles, parse_numbers
from satxlate_jax.archive.coverage import Coverage, describe, measure_coverage
from satxlate_jax.archive.folder_walk import FolderIndex
from satxlate_jax.archive.pairs import Pair, locate_pairs, read_pairs, write_pairs
from satxlate_jax.cli import CommandParser, InputError, parse_names, user_path
from satxlate_jax.geometry import parse_tiles
from satxlate_jax.instruments import get_satellite

INDEX = "index.jsonl"
FIGURE = "coverage.png"
TABLE = "tiles.csv"
PAIRS = "pairs.csv"


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="satxlate catalog",
        description="Lists what a tree of L1G files holds: a table with gaps on the screen; in the output folder a "
        f"figure ({FIGURE}), a table of tiles ({TABLE}) and, with --pairs, coincident files ({PAIRS}). Only names are "
        f"read; what was read is remembered ({INDEX}), so that an interrupted or repeated search is short.",
    )
    parser.add_argument("root", type=user_path, help="root of the tree, or any folder above or in it")
    parser.add_argument(
        "--output", type=user_path, default="catalog", metavar="DIR", help="where to write (default: %(default)s)"
    )
    parser.add_argument("--satellites", metavar="G16,H8", help="default: all")
    parser.add_argument("--tiles", metavar="h09v03,...", help="default: all")
    parser.add_argument("--years", metavar="2018-2020", help="default: all")
    parser.add_argument("--days", metavar="32-53,60", help="days of the year; default: all")
    parser.add_argument("--hours", metavar="0,12-18", help="hours of the day, UTC; default: all")
    parser.add_argument(
        "--pairs",
        type=user_path,
        metavar="G16,G17 | LIST.csv",
        help="two satellites, to find their coincident files; or a list of pairs (columns timestamp, tile, year1 ... "
        "file1 ... file2), to find its files in the tree",
    )
    parser.add_argument("--tolerance", type=float, default=0.0, metavar="MINUTES", help="between a pair's times")
    return parser


def _write_tiles(coverages: list[Coverage], path: Path) -> None:
    with atomic.replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["satellite", "tile", "files", "missing_times", "days", "missing_days"])
        for coverage in coverages:
            for tile, count in sorted(coverage.tiles.items()):
                days = sum((tile, day) in coverage.tile_days for day in coverage.days)
                missing = len(coverage.times) - count
                writer.writerow([coverage.satellite, tile, count, missing, days, len(coverage.days) - days])


def _read_request(text: str) -> tuple[str, str] | list[Pair]:
    """What --pairs asks for: two satellites, or the pairs of a list."""
    names = parse_names(text)
    if len(names) == 2 and not os.path.exists(text):
        first, second = (get_satellite(name).name for name in names)
        if first == second:
            raise InputError(f"--pairs {text} names one satellite twice; name two")
        return first, second
    if len(names) != 2 and not text.endswith(".csv") and not os.path.exists(text):
        raise InputError(f"--pairs {text} is neither two satellites, such as G16,G17, nor a list of pairs (CSV)")
    return read_pairs(text)


def _find_pairs(
    request: tuple[str, str] | list[Pair], files: list[TileFile], arguments: argparse.Namespace
) -> tuple[list[Pair], str]:
    """The pairs asked for, and what to say about them."""
    if isinstance(request, list):
        pairs = locate_pairs(request, files)
        return pairs, f"{arguments.pairs}: {len(pairs):,} of its {len(request):,} pairs are here"
    first, second = ([file for file in files if file.satellite == name] for name in request)
    pairs = coincident(first, second, timedelta(minutes=arguments.tolerance))
    tiles = len({file.tile for file, _ in pairs})
    return pairs, f"{' and '.join(request)}: {len(pairs):,} coincident pairs in {tiles} tiles"


def main(argv: list[str]) -> None:
    """Runs the verb.

    Raises:
      InputError: a mistake in what was handed in, or nothing was found.
    """
    arguments = _parser().parse_args(argv)
    if arguments.tolerance < 0:
        raise InputError(f"--tolerance {arguments.tolerance:g} is negative")
    if not os.path.isdir(arguments.root):
        raise InputError(f"'{arguments.root}' is not a folder; name the root of a tree of L1G files")
    output = Path(arguments.output)
    parsers: dict[str, Callable[[str], Any]] = {
        "satellites": parse_names,
        "tiles": parse_tiles,
        "years": parse_numbers,
        "days": parse_numbers,
        "hours": parse_numbers,
    }
    texts = {name: getattr(arguments, name) for name in parsers}
    filters: dict[str, Any] = {name: None if text is None else parsers[name](text) for name, text in texts.items()}
    for name in filters["satellites"] or ():
        get_satellite(name)
    request = _read_request(arguments.pairs) if arguments.pairs else None  # before a search that may take minutes
    try:
        with FolderIndex(output / INDEX) as index:
            files = find_tiles(arguments.root, **filters, index=index, progress=True)
        _report(files, request, arguments, output)
    except OSError as error:
        raise InputError(
            f"cannot write to '{output}' ({error.strerror or error}); check free space and permissions"
        ) from error


def _report(
    files: list[TileFile],
    request: tuple[str, str] | list[Pair] | None,
    arguments: argparse.Namespace,
    output: Path,
) -> None:
    if not files:
        raise InputError(f"'{arguments.root}' holds no L1G file that was asked for")
    coverages = measure_coverage(files)
    print(describe(coverages))
    _write_tiles(coverages, output / TABLE)
    written = [output / TABLE]
    if request is not None:
        pairs, sentence = _find_pairs(request, files, arguments)
        print(f"\n{sentence}")
        for first, second in pairs[:10]:
            print(f"  {first.tile}  {first.time:%Y-%m-%d %H:%M}  {first.path.name}  {second.path.name}")
        if len(pairs) > 10:
            print(f"  ... and {len(pairs) - 10:,} more")
        write_pairs(pairs, output / PAIRS)
        written.append(output / PAIRS)
    from satxlate_jax.archive.coverage_figure import draw_coverage  # matplotlib takes a second to import

    draw_coverage(coverages, output / FIGURE)
    written.append(output / FIGURE)
    print(f"\nwritten: {', '.join(map(str, written))}")
