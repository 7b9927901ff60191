"""The options of every subcommand, apart from what it does: a wrong one is told before anything large is imported.

Each function adds a subcommand's options to its parser; its docstring is the description that --help shows.
"""

import argparse
import os
from collections.abc import Sequence
from functools import partial

from satxlate_jax.cli import (
    CommandParser,
    InputError,
    add_archive_filters,
    add_beam,
    add_part,
    at_least,
    minutes,
    parse_names,
    parse_numbers,
    parse_part,
    take_config,
    user_path,
)
from satxlate_jax.cpus import count_cpus

_RESOLUTIONS = (2.0, 1.0, 0.5)  # km


def parse(subcommand: str, words: Sequence[str]) -> argparse.Namespace:
    """The options of a subcommand, with the `words` they are from and, as `config`, those of a configuration."""
    add_options = globals()[subcommand.replace("-", "_")]
    parser = CommandParser(prog=f"satxlate {subcommand}", description=add_options.__doc__)
    add_options(parser)
    if parser.takes_config:
        options, options.config = parser.parse_known_args(words)
    else:
        options = parser.parse_args(words)
    options.words = words
    return options


def _add_checkpoint(parser: CommandParser) -> None:
    run = "a training run's folder (its --workdir), or pretrained:NAME"
    parser.add_argument("--checkpoint", type=user_path, required=True, metavar="RUN", help=run)
    parser.add_argument("--step", type=int, help="which checkpoint (default: the newest)")


def simulate(parser: CommandParser) -> None:
    """Write simulated L1G files: the same scenes as several satellites see them, for demos, tests and paired truth.

    With --viewpoint G17 and another DIR, the other satellites' instruments look at the same scenes from GOES-17's
    place: the truth for a translation of bands alone, without parallax (`evaluate --truth same_view`). A test bed, not
    a radiative-transfer model: relations between bands are plausible; no number is a forecast or a retrieval.
    """
    add = parser.add_argument
    add("--output", type=user_path, required=True, metavar="DIR", help="root of the archive to write")
    some = "names, separated by commas (G16,G17,H8)"
    add("--satellites", type=parse_names, default="G16,G17,H8", metavar="G16,...", help=some)
    tiles = "tiles in all, shared out to groups of satellites that overlap, at least one each (default %(default)s)"
    add("--tiles", type=int, default=4, metavar="N", help=tiles)
    add("--times", type=int, default=6, metavar="N", help="times, each on its own day (default %(default)s)")
    add("--seed", type=int, default=0, help="another seed is another planet (default %(default)s)")
    add("--workers", type=int, default=1, metavar="N", help="processes (default %(default)s)")
    place = "write what the other satellites' instruments would see from this one's place; give a root of its own"
    add("--viewpoint", metavar="SATELLITE", help=place)
    sequence = "times that follow each other, in the test period, in the place of days of their own"
    add("--minutes_apart", type=int, metavar="N", help=sequence)
    finer = "reflective bands no coarser than this (default: each at its own resolution)"
    add("--resolution_km", type=float, choices=_RESOLUTIONS, help=finer)
    some = "of these times only those on such days of the year (32-53: the test period)"
    add("--days", type=parse_numbers, metavar="A-B", help=some)


def tiles(parser: CommandParser) -> None:
    """Turn public Level-1b granules into L1G tiles, one file per scan and tile.

    Of GOES ABI, Himawari AHI, GK-2A AMI, Meteosat FCI and SEVIRI. Started again, it skips what is complete. What gives
    nothing is named, also in L1G_ROOT/manifest.json, and the rest goes on. Needs the extra l1b.
    """
    add, urls = parser.add_argument, "files, folders, or URLs such as s3://noaa-goes18/..."
    add("inputs", type=user_path, nargs="*", metavar="INPUT", help=urls)
    add("--output", type=user_path, metavar="ROOT", help="the L1G root; made if absent")
    add("--reader", metavar="NAME", help="satpy's reader (default: by the names of the files)")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--tiles", type=parse_names, metavar="h09v03,...", help="only these")
    region = "only tiles that touch this part of the Earth, degrees; west and south are negative"
    choice.add_argument("--region", type=float, nargs=4, metavar=("W", "S", "E", "N"), help=region)
    add("--bands", type=parse_numbers, metavar="7-16", help="only these bands (default: all)")
    cover = "make a tile where a scan shows this part of it (0.5)"
    add("--min_cover", type=float, default=0.5, metavar="FRACTION", help=cover)
    low = "reflectance where the sun is lower than 5 degrees (zero)"
    add("--night", choices=("zero", "missing"), default="zero", help=low)
    add("--workers", type=at_least(1), default=count_cpus(), help="processes (default: the job's CPUs)")
    add("--overwrite", action="store_true", help="make tiles again that are complete")
    add("--dry_run", action="store_true", help="name scans, tiles and bytes, and do nothing")
    add("--describe", metavar="READER", help="print the block for instruments.py of an imager that satpy reads")


def catalog(parser: CommandParser) -> None:
    """List what a tree of L1G files holds: a table with gaps on the screen, and files.

    In the output folder a figure (coverage.png), a table of tiles (tiles.csv) and, with --pairs, coincident files
    (pairs.csv). Only names are read; what was read is remembered (index.jsonl), so that an interrupted or repeated
    search is short.
    """
    add, where = parser.add_argument, "where to write (default: %(default)s)"
    add("root", type=user_path, help="root of the tree, or any folder above or in it")
    add("--output", type=user_path, default="catalog", metavar="DIR", help=where)
    add("--satellites", type=parse_names, metavar="G16,H8", help="only these satellites (default: all)")
    add_archive_filters(parser)
    pairs = "two satellites, to find their coincident files; or a list of pairs (columns timestamp, tile, year1 ... "
    pairs += "file1 ... file2), to find its files in the tree"
    add("--pairs", type=user_path, metavar="G16,G17 | LIST.csv", help=pairs)
    add("--tolerance", type=minutes, default="0", metavar="MINUTES", help="between a pair's times")


def statistics(parser: CommandParser) -> None:
    """Print the statistics per band that `tfds build` stored beside the data, next to the published ones.

    They are also written as a table (statistics.csv) and histograms (statistics.png).
    """
    add, above = parser.add_argument, "a data set's folder, or any folder above, such as tfds' data_dir"
    add("data", type=user_path, nargs="+", help=above)
    splits, where = ("train", "validation", "test"), "where to write (default: %(default)s)"
    add("--split", choices=splits, default="train", help="default: %(default)s")
    add("--output", type=user_path, default="statistics", metavar="DIR", help=where)


def train(parser: CommandParser) -> None:
    """Train a translator, or continue a run: the same command does both."""
    take_config(parser)
    add = parser.add_argument
    add("--workdir", type=user_path, required=True, metavar="RUN", help="folder for checkpoints and TensorBoard events")
    add("--profile", type=_parse_steps, default=range(0), metavar="A-B", help="write a profiler's trace of those steps")
    add("--allow_other_data", action="store_true", help="continue a run on other data than those it began with")
    add_distributed_arguments(parser)


def _parse_steps(text: str) -> range:
    first, _, end = text.partition("-")
    if not (first.isdecimal() and end.isdecimal() and int(first) < int(end)):
        raise InputError(f"'{text}' is no range of steps such as 100-105")
    return range(int(first), int(end))


def add_distributed_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which of several processes this one is; `sharding.start` takes them."""
    group = parser.add_argument_group("several processes (the same command in each)")
    found = "find the other processes by itself: Cloud TPU pods, GKE, Slurm, Open MPI"
    group.add_argument("--distributed", action="store_true", help=found)
    for name, kind, metavar, variable, text in (
        ("coordinator", str, "HOST:PORT", "JAX_COORDINATOR_ADDRESS", "where process 0 listens"),
        ("num_processes", int, "N", "JAX_NUM_PROCESSES", "how many processes there are"),
        ("process_id", int, "I", "JAX_PROCESS_ID", "which one this is, 0 to N - 1"),
    ):
        default, text = os.environ.get(variable), f"{text} (default: {variable})"
        group.add_argument(f"--{name}", type=kind, default=default, metavar=metavar, help=text)


def compile(parser: CommandParser) -> None:
    """Compile the training step for TPU chips that need not be there: what does it cost each of them?"""
    take_config(parser)
    add, batch = parser.add_argument, "sets config.batch_size to N times the number of chips"
    add("--topology", required=True, metavar="CHIP:SHAPE", help="such as v5e:16x16, v6e:4x4, v5p:2x2x4")
    add("--batch_per_chip", type=at_least(1), metavar="N", help=batch)


def translate(parser: CommandParser) -> None:
    """Turn one satellite's L1G tiles into another's: one CF-1.8 netCDF per input.

    Started again, it skips what is complete. Files that cannot be used are named (also in OUT/failures.jsonl), the rest
    goes on; the exit code is 0 where at least one file was translated.
    """
    add = parser.add_argument
    inputs = "L1G files, folders to search for them, or Level-1b granules (files, folders, URLs)"
    add("inputs", type=user_path, nargs="+", metavar="INPUT", help=inputs)
    _add_checkpoint(parser)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--to", metavar="SATELLITE", help="the satellite to make, such as H8")
    repair = "fill bands that a file lacks and pixels missing in some bands only, of its own satellite"
    what.add_argument("--repair", action="store_true", help=f"{repair}; of the spectral flow")
    add("--output", type=user_path, required=True, metavar="OUT", help="folder for the translations; made if absent")
    choice = parser.add_argument_group("which files of the folders")
    add_archive_filters(choice)
    choice.add_argument("--source", metavar="SATELLITE", help="only files of this one (default: all others)")
    pairs = "only files in this list (`satxlate catalog L1G_ROOT --pairs G16,H8` makes one)"
    unlike = "also files of instruments that the run does not know, whose bands have its wavelengths"
    choice.add_argument("--as_instrument", action="store_true", help=f"{unlike}; of the spectral flow")
    choice.add_argument("--pairs", type=user_path, metavar="CSV", help=pairs)
    part = choice.add_mutually_exclusive_group()
    add_part(part, "only the Kth of N parts of the files, for a process of its own")
    counted = "the same as --part, counted from 0"
    part.add_argument("--share", type=partial(parse_part, first=0), metavar="I/N", help=counted)
    add_beam(choice)
    add = parser.add_argument_group("output").add_argument
    add("--bands", type=parse_numbers, help="write only these bands, such as 2,7-9 (default: all)")
    samples = "of the spectral flow: write N samples of its distribution beside the mean; "
    samples += "of the VAE-GAN: mean and spread of an ensemble over the latent noise"
    add("--samples", type=at_least(0), default=0, help=samples)
    add("--seed", type=at_least(0), default=0, help="of the ensemble")
    surprise = "also write how unusual each pixel's measurements are (bits), of the spectral flow"
    add("--surprise", action="store_true", help=surprise)
    add("--zarr", action="store_true", help="one Zarr store per satellite and tile, with a time axis")
    add("--resolution_km", type=float, default=2.0, choices=_RESOLUTIONS, help="of the grid (2)")
    add("--overwrite", action="store_true", help="make outputs again that are complete")
    add = parser.add_argument_group("how").add_argument
    add("--workers", type=at_least(1), default=count_cpus(), help="processes that read (default: the job's CPUs)")
    add("--block", type=at_least(1), help="pixels of a side computed at once (1344; VAE-GAN 704)")


def evaluate(parser: CommandParser) -> None:
    """Score a run's translations against what was measured, beside baselines.

    Writes OUT/report.html (a page that opens offline), OUT/scores.csv, scores by file and by group of pixels, further
    metrics and a LaTeX table beside it, OUT/figures/*.png, OUT/sums.npz for `satxlate pool`, and OUT/failures.jsonl:
    files that could not be scored.
    """
    add = parser.add_argument
    _add_checkpoint(parser)
    add("--l1g", type=user_path, required=True, metavar="ROOT", help="root of the tree of L1G files")
    add("--source", required=True, metavar="SATELLITE", help="translate from, such as G16")
    add("--target", required=True, metavar="SATELLITE", help="translate to, such as G17")
    add("--output", type=user_path, required=True, metavar="OUT", help="folder for scores, report and figures")
    files = parser.add_argument_group("which files")
    add = files.add_argument
    add("--preset", choices=("paper",), help="paper: 2019, days 32-53, 00:00 UTC; other filters narrow it")
    add_archive_filters(files)
    add("--max_files", type=at_least(1), metavar="N", help="score only N files, drawn with --seed")
    add_part(files, "score only the Kth of N parts of these files (see `pool`)")
    add_beam(files)
    add = parser.add_argument_group("how").add_argument
    truth = "compare with the target's file of the same tile and time (default), with bands of the same instrument "
    truth += "that the source's file holds and the network is not given, or with simulated files of the target's "
    truth += "instrument in the source's place, without parallax"
    add("--truth", choices=("coincident", "source", "same_view"), default="coincident", help=truth)
    simulated = "root of what `simulate --viewpoint SOURCE` wrote, for --truth same_view"
    add("--truth_l1g", type=user_path, metavar="ROOT", help=simulated)
    other = "--output of an evaluation against another truth, whose RMSE the report's first table shows beside its own"
    add("--beside", type=user_path, metavar="OUT", help=other)
    add("--tolerance", type=minutes, default="0", metavar="MINUTES", help="of coincidence (default: 0)")
    named = "such as band_copy,linear; or all, or none (default: all but the slow ones, trees and cnn)"
    add("--baselines", metavar="NAME,...", help=named)
    add("--fit_files", type=at_least(1), default=64, metavar="N", help="fit baselines on at most N files (64)")
    grid = "of the grid (2); finer, the translation at 2 km, interpolated, is scored beside, as model_2km"
    add("--resolution_km", type=float, default=2.0, choices=_RESOLUTIONS, help=grid)
    add("--samples", type=at_least(0), default=0, metavar="N", help="score the mean and deviation of N members")
    add("--seed", type=at_least(0), default=0, help="of files and ensemble members (0)")
    shown = "cases to show in maps and pictures (3; 0 is none)"
    add("--pictures", type=at_least(0), default=3, metavar="N", help=shown)
    unlike = "the source is of an instrument that the run does not know, whose bands have its wavelengths"
    add("--as_instrument", action="store_true", help=unlike)
    likelihood = "also tell how usual the source's measurements are and whether simulated faults would stand out "
    likelihood += "(OUT/likelihood.csv, OUT/faults.csv; of the spectral flow)"
    add("--likelihood", action="store_true", help=likelihood)
    add("--coastlines", action="store_true", help="draw them (simulated scenes have their own land)")


def pool(parser: CommandParser) -> None:
    """Pool evaluations of parts of an archive (evaluate --part K/N), as if all had been evaluated at once.

    Writes OUT/scores.csv and the other tables.
    """
    add, parts = parser.add_argument, "the --output of `evaluate --part K/N`, for each K"
    add("parts", type=user_path, nargs="+", metavar="PART", help=parts)
    add("--output", type=user_path, required=True, metavar="OUT", help="folder for the tables")


def compare(parser: CommandParser) -> None:
    """Collect the scores of many evaluations, such as one per withheld band.

    The model's RMSE against the best baseline that is given no more than it, and in how many bands it is ahead. Only
    bands that the network had to synthesise count. Writes DIR/comparison.csv and DIR/comparison.png.
    """
    add = parser.add_argument
    add("scores", type=user_path, nargs="+", metavar="OUT", help="folders that `satxlate evaluate` wrote as --output")
    add("--output", type=user_path, required=True, metavar="DIR", help="for comparison.csv and comparison.png")
    add("--all_bands", action="store_true", help="also bands that the network was given")


def quicklook(parser: CommandParser) -> None:
    """Draw tiles, L1G files or translated netCDF: true colour, infrared and water vapour as the bands allow.

    And the difference to another view of the same tile. One PNG per kind: OUT/NAME_KIND.png. Files that cannot be read
    are named, the rest is drawn.
    """
    add = parser.add_argument
    add("inputs", type=user_path, nargs="+", metavar="INPUT", help="L1G files or translated tiles")
    add("--output", type=user_path, required=True, metavar="OUT", help="folder for the pictures; made if absent")
    add("--against", type=user_path, metavar="FILE", help="also draw the difference to this file, band by band")
    green = "a translation of INPUT with a green band (0.51 um), such as to H8"
    add("--green", type=user_path, metavar="NC", help=green)
    add("--bands", type=parse_numbers, default=(), help="draw these instead, such as 7,12: every INPUT on one scale")
    add("--no_coastlines", action="store_true", help="draw none (simulated scenes have their own land)")


def animate(parser: CommandParser) -> None:
    """Animate translated tiles of one place: what was observed beside what was synthesised.

    And how much a band of each changes from one time to the next.
    """
    add = parser.add_argument
    add("inputs", type=user_path, nargs="+", metavar="INPUT", help="netCDF files that translate wrote, or their folder")
    add("--l1g", type=user_path, required=True, metavar="ROOT", help="root of the L1G files they were made from")
    add("--output", type=user_path, required=True, metavar="FILE", help="a .gif, or an .mp4 (needs imageio-ffmpeg)")
    add("--truth", metavar="SATELLITE", help="also show this satellite's own files of the same times")
    add("--kind", choices=("infrared", "true_colour"), default="infrared", help="(infrared)")
    add("--fps", type=float, default=4.0, help="frames per second (4)")
    add("--no_coastlines", action="store_true", help="draw none (simulated scenes have their own land)")


def info(parser: CommandParser) -> None:
    """Say what a run, a tile or a translated file is."""
    what = "a training run's folder, pretrained:NAME, an L1G file, or a netCDF file of `satxlate translate`"
    parser.add_argument("what", type=user_path, nargs="+", metavar="RUN|FILE.hdf|FILE.nc", help=what)


def runs(parser: CommandParser) -> None:
    """List the runs that come with the package, or pack one."""
    parser.add_argument("--pack", type=user_path, metavar="RUN", help="write this run's generator as one file")
    parser.add_argument("--output", type=user_path, metavar="NAME.npz", help="the file that --pack writes")


def path(parser: CommandParser) -> None:
    """Print where a shipped file or folder lies."""
    parser.add_argument("name", help="configs, configs/NAME.py or datasets/geonex_l1g")


def demo(parser: CommandParser) -> None:
    """Simulate, build, train, translate and evaluate on simulated tiles, small.

    It takes minutes on two CPU cores; given the same --output again, it continues.
    """
    parser.add_argument("--output", type=user_path, required=True, metavar="DIR", help="folder for everything it makes")
    for name, least, default, text in (
        ("tiles", 1, 4, "simulated tiles"),
        ("times", 1, 6, "simulated times"),
        ("steps", 0, 200, "training steps"),
        ("seed", 0, 0, "another seed is another planet"),
    ):
        parser.add_argument(f"--{name}", type=at_least(least), default=default, metavar="N", help=f"{text} ({default})")


def import_torch(parser: CommandParser) -> None:
    """Turn a checkpoint of the PyTorch release into a run: `translate` uses it, `train` continues it."""
    add = parser.add_argument
    add("checkpoint", type=user_path, metavar="CHECKPOINT", help="the release's file, *.pth.tar")
    add("--config", type=user_path, required=True, metavar="YAML", help="the YAML it was trained with")
    add("--output", type=user_path, required=True, metavar="RUN", help="folder of the run to write")
