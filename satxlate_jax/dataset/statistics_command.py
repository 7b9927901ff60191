"""`satxlate statistics`: what prepared data sets hold per band, as a table and a figure of histograms."""

import argparse
import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from satxlate_jax import atomic
from satxlate_jax.cli import CommandParser, InputError, user_path
from satxlate_jax.dataset.statistics import NAME, read_statistics
from satxlate_jax.instruments import get_satellite

FIGURE = "statistics.png"
TABLE = "statistics.csv"
SPLITS = ("train", "validation", "test")
_STORED = ("wavelength_um", "unit", "values", "mean", "std", "min", "max")
_HEADER = "  band      um unit  finite     mean                std             min    1 %   50 %   99 %    max"
_PERCENTS = ("1", "50", "99")


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="satxlate statistics",
        description="Prints the statistics per band that `tfds build` stored beside the data, next to the published "
        f"mean and deviation, and writes them as a table ({TABLE}) and histograms ({FIGURE}).",
    )
    parser.add_argument(
        "data", type=user_path, nargs="+", help="a data set's folder, or any folder above, such as tfds' data_dir"
    )
    parser.add_argument("--split", choices=SPLITS, default="train", help="default: %(default)s")
    parser.add_argument(
        "--output", type=user_path, default="statistics", metavar="DIR", help="where to write (default: %(default)s)"
    )
    return parser


def find_statistics(folders: Sequence[str | os.PathLike], split: str) -> dict[str, dict[str, Any]]:
    """The statistics of a split in all data sets in some folders.

    Returns:
      'CONFIGURATION/VERSION' -> {'satellite': name, 'bands': band name -> statistics}, by name.

    Raises:
      InputError: a folder does not exist or holds none.
    """
    found = {}
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise InputError(f"'{folder}' is not a folder; name a data set's folder or tfds' data_dir")
        paths = sorted(path for path in folder.rglob(NAME) if not path.parent.name.startswith("incomplete."))
        if not paths:
            raise InputError(
                f"no {NAME} in or below '{folder}'; build a data set with `tfds build datasets/geonex_l1g`"
            )
        for path in paths:
            stored = read_statistics(path.parent)
            name = "/".join(path.resolve().parts[-3:-1])
            if stored["splits"].get(split):
                found[name] = {"satellite": stored["satellite"], "bands": stored["splits"][split]}
    if not found:
        raise InputError(f"no data set in {', '.join(map(str, folders))} has a split '{split}'")
    return found


def _rows(found: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for name, data_set in found.items():
        for band_name, stored in data_set["bands"].items():
            band = get_satellite(data_set["satellite"]).band(stored["number"])
            finite = stored["finite_fraction"]
            row = {"data_set": name, "band": band_name} | {key: stored[key] for key in _STORED}
            row |= {"finite_percent": None if finite is None else 100 * finite}
            row |= {"published_mean": band.mean, "published_std": band.std}
            rows.append(row | {f"p{percent}": value for percent, value in stored["percentiles"].items()})
    return rows


def describe(found: Mapping[str, Mapping[str, Any]], split: str) -> str:
    """The statistics as a table for the screen."""
    lines = [f"split '{split}'; in brackets the published mean and deviation"]
    for name, data_set in found.items():
        lines += ["", f"{name} ({data_set['satellite']})"]
        lines.append(_HEADER)
        for band_name, stored in data_set["bands"].items():
            lines.append(_line(band_name, stored, get_satellite(data_set["satellite"]).band(stored["number"])))
    return "\n".join(lines)


def _line(name: str, stored: Mapping[str, Any], band: Any) -> str:
    start = f"  {name} {stored['wavelength_um']:6.2f} {stored['unit']:>4}"
    if not stored["values"]:
        return f"{start}  no values"
    digits = 2 if stored["unit"] == "K" else 4
    mean = f"{stored['mean']:8.{digits}f} ({band.mean:8.{digits}f})"
    deviation = f"{stored['std']:7.{digits}f} ({band.std:7.{digits}f})"
    extremes = [stored["min"], *(stored["percentiles"][percent] for percent in _PERCENTS), stored["max"]]
    numbers = " ".join(f"{value:6.{digits - 1}f}" for value in extremes)
    return f"{start} {100 * stored['finite_fraction']:6.1f}% {mean} {deviation} {numbers}"


def _write_table(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with atomic.replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)


def main(argv: list[str]) -> None:
    """Runs the verb.

    Raises:
      InputError: a folder that holds no prepared data set, or output that cannot be written.
    """
    arguments = _parser().parse_args(argv)
    found = find_statistics(arguments.data, arguments.split)
    print(describe(found, arguments.split))
    from satxlate_jax.dataset.statistics_figure import draw_histograms  # matplotlib takes a second to import

    output = Path(arguments.output)
    try:
        output.mkdir(parents=True, exist_ok=True)
        _write_table(_rows(found), output / TABLE)
        draw_histograms(found, output / FIGURE)
    except OSError as error:
        raise InputError(f"cannot write to '{output}' ({error.strerror or error})") from error
    print(f"\nwritten: {output / TABLE}, {output / FIGURE}")
