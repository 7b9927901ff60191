"""`satxlate translate`: translate whole archives, restartably; files are read in separate processes."""

import argparse
import json
import math
import operator
import shlex
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import xarray as xr
from tqdm import tqdm

from satxlate_jax import atomic, cli
from satxlate_jax.archive.catalog import find_inputs, select_part
from satxlate_jax.cli import InputError
from satxlate_jax.compilation import use_program_cache
from satxlate_jax.instruments import SATELLITES, get_satellite
from satxlate_jax.l1g.isolation import AHEAD, Failure, overlap, read_isolated
from satxlate_jax.l1g.reader import read_input
from satxlate_jax.options import parse
from satxlate_jax.translation.flags import EXTRAPOLATED_BANDS, ExtrapolatedShare, select_variables
from satxlate_jax.translation.inference import images_at_once
from satxlate_jax.translation.load import load
from satxlate_jax.translation.netcdf import NetcdfFolder
from satxlate_jax.translation.translate import TileTranslator
from satxlate_jax.translation.translate_granules import are_granules, translate_granules
from satxlate_jax.translation.zarr import ZarrFolder

FAILURES = "failures.jsonl"
"""Beside the outputs: one JSON object (file, reason) per input that the last run could not translate."""

TRANSLATING, WRITING = 2, 1
"""Threads: while one has the network, the other normalises and unpacks."""


def main(options: argparse.Namespace) -> int:
    """Run the subcommand `translate`: 0 where at least one output is there (new or from before), else InputError."""
    use_program_cache()
    translator = load(options.checkpoint, options.step, block=options.block)
    translator.check_samples(options.samples)
    if options.repair and (options.samples or options.zarr or options.surprise):
        raise InputError("--samples, --surprise and --zarr are not for --repair")
    target = "" if options.repair else translator.domain(options.to)
    command = shlex.join(["satxlate", "translate", *options.words])
    if are_granules(options.inputs):
        return _translate_granules(translator, options, command)
    for satellite in SATELLITES:  # to translate from, too
        translator = translator.ready_for(satellite, options.as_instrument)
    others = [name for name in translator.satellites if name != target]
    satellites = [translator.domain(options.source)] if options.source else others
    for satellite in satellites if options.repair or options.surprise else ():
        translator.check_surprise(satellite)
    files = find_inputs(options.inputs, satellites, options.pairs, **cli.archive_filters(options))
    if options.beam_pipeline_options:
        return _translate_on_beam(options, len(files))
    number, count = options.share or options.part or (1, 1)
    files = select_part(files, (number, count), whole_tiles=options.zarr)
    made = satellites if options.repair else [options.to]
    names = [name for one in made for name in made_variables(translator, one, options.bands, options.samples)]
    names += ["filled"] * options.repair + ["surprise"] * options.surprise
    output = Path(options.output)
    sink: Sink = ZarrFolder(output, options.to, translator, command)
    if not options.zarr:
        ensemble = f" samples={options.samples} seed={options.seed}" if options.samples else ""
        made_with = f"resolution_km={options.resolution_km:g}{ensemble}"
        needed = ["filled"] if options.repair else names
        sink = NetcdfFolder(output, options.to or "repaired", translator, command, needed, made_with)
    output.mkdir(parents=True, exist_ok=True)
    skipped, failures, extrapolated = translate_files(translator, files, sink, names, options)
    shown = number - 1 if options.share else number
    name = FAILURES if count == 1 else f"failures_{shown}_of_{count}.jsonl"
    write_failures(failures, output, name)
    print(
        f"{len(files) - skipped - len(failures)} written, {skipped} already there, {len(failures)} failed; "
        f"{options.to or 'repaired'} from run '{translator.run}' step {translator.step} in {output}"
        + (f" (reasons in {output / name})" if failures else "")
    )
    if str(extrapolated):
        print(extrapolated)
    if files and len(failures) == len(files):
        raise InputError(f"none of {len(files)} files could be translated; the first: {failures[0]['reason']}")
    return 0


def _translate_on_beam(options: argparse.Namespace, files: int) -> int:
    from satxlate_jax.beam import run_parts

    if options.part or options.share:
        raise InputError("--part and --share are for a translation without --beam_pipeline_options")
    output = Path(options.output).absolute()
    output.mkdir(parents=True, exist_ok=True)
    count, kept = min(options.beam_parts, files), output / "parts_without_output.json"
    do, how = partial(_translate_part, options.words), options.beam_pipeline_options
    run_parts(do, count, operator.add, partial(_keep_reasons, kept), how)
    failed = json.loads(kept.read_text())
    kept.unlink()
    print(f"{count} parts of {files} files, {len(failed)} without an output; their counts and reasons are in {output}")
    if len(failed) == count:
        raise InputError(failed[0])
    return 0


def _keep_reasons(path: Path, reasons: list[str]) -> None:
    atomic.write_text(path, json.dumps(reasons))


def _translate_part(words: Sequence[str], part: tuple[int, int]) -> list[str]:
    """A worker's part of a job on Beam; the reason where the part has no output."""
    try:
        main(parse("translate", cli.part_arguments(words, part)))
    except InputError as error:
        return [str(error)]
    return []


def _translate_granules(translator: TileTranslator, options: argparse.Namespace, command: str) -> int:
    tiles_only = (options.samples, options.surprise, options.zarr, options.part, options.share, options.pairs)
    if any((*tiles_only, options.repair, options.resolution_km != 2, options.beam_pipeline_options)):
        raise InputError(
            "--repair, --samples, --surprise, --zarr, --part, --pairs, --resolution_km and Beam are for L1G tiles; "
            "make some with `satxlate tiles`"
        )
    output, names = Path(options.output), made_variables(translator, options.to, options.bands)
    output.mkdir(parents=True, exist_ok=True)
    written, kept, failures = translate_granules(translator, options, names, command)
    write_failures(failures, output)
    made_by = f"{options.to} from run '{translator.run}' step {translator.step} in {output}"
    failed = f"; {len(failures)} failed (reasons in {output / FAILURES})" if failures else ""
    print(f"{len(written)} written, {kept} already there; {made_by}{failed}")
    extrapolated = ExtrapolatedShare()
    for path in written:
        with xr.open_dataset(path, engine="netcdf4") as made:
            extrapolated.add(made)
    if str(extrapolated):
        print(extrapolated)
    if not written and not kept:
        raise InputError(f"no granule could be translated; the first: {failures[0]['file']}: {failures[0]['reason']}")
    return 0


Sink = NetcdfFolder | ZarrFolder
Item = tuple[Path, xr.Dataset | Failure]


def translate_files(
    translator: TileTranslator, files: Sequence[Path], sink: Sink, names: Sequence[str], options: argparse.Namespace
) -> tuple[int, list[dict[str, str]], ExtrapolatedShare]:
    """Translate files and write variables of those names; a bad input does not stop the rest.

    Reading, translating and writing overlap. Memory: one call of the network (`images_at_once`, a block's pixels), and
    `tiles_in_memory`. `options` are the command's. Returns how many outputs were there already, complete; file and
    reason of each failure; and the share of the pixels written that is flagged as extrapolated.
    """
    sink.plan(files)
    looked_at = tqdm(files, "look for outputs", unit="file", disable=None, leave=False)
    waiting = [file for file in looked_at if options.overwrite or not sink.is_complete(file)]
    if stale := sum(map(sink.holds, waiting if not options.overwrite else ())):
        tqdm.write(
            f"{stale} of {len(waiting)} outputs there are by another checkpoint or other options: they are replaced"
        )
    others = [name for name in translator.satellites if options.repair or name != translator.domain(options.to)]
    bands = {get_satellite(name).name: tuple(band.number for band in translator.bands(name)) for name in others}
    read = partial(read_input, bands=bands, resolution_km=options.resolution_km)

    def translate(tiles: Sequence[xr.Dataset]) -> list[xr.Dataset]:
        if options.repair:
            made = [translator.repair(tile) for tile in tiles]
        else:
            # an odd group is filled up with its last tile: all are of one shape, and compiled once
            lacking = images_at_once(math.prod(tiles[0].sizes.values()), translator.block) - len(tiles)
            filled = [*tiles, *[tiles[-1]] * lacking]
            made = translator.translate_tiles(filled, options.to, samples=options.samples, seed=options.seed)
            made = made[: len(tiles)]
        if options.surprise:
            found = (translator.surprise(tile)["surprise"] for tile in tiles)
            made = [output.assign(surprise=bits) for output, bits in zip(made, found, strict=True)]
        return [select_variables(output, names) for output in made]

    def write(outcome: tuple[Path, xr.Dataset | str]) -> None:
        file, output = outcome
        if isinstance(output, xr.Dataset):
            sink.write(file, output)
            extrapolated.add(output)

    doing, failures, extrapolated = f"translate to {options.to}" if options.to else "repair", [], ExtrapolatedShare()
    with (
        tqdm(total=len(waiting), desc=doing, unit="file", disable=None) as bar,
        closing(read_isolated(waiting, read, workers=max(min(options.workers, len(waiting)), 1))) as tiles,
        ThreadPoolExecutor(TRANSLATING, "translate") as translating,
        ThreadPoolExecutor(WRITING, "write") as writing,
    ):
        groups = _group(tiles, lambda tile: images_at_once(math.prod(tile.sizes.values()), translator.block))
        made_of = partial(_translate_group, translate=translate)
        with closing(overlap(translating, made_of, groups, TRANSLATING)) as outcomes:
            each = (outcome for _, group in outcomes for outcome in group)
            for (file, output), _ in overlap(writing, write, each, WRITING):
                if isinstance(output, str):
                    failures.append({"file": str(file), "reason": output})
                    if len(waiting) > 1:  # the reason that the only file fails for ends the command
                        tqdm.write(f"skipped: {output}")
                bar.update()
    return len(files) - len(waiting), failures, extrapolated


def tiles_in_memory(workers: int, at_once: int) -> int:
    """Most tiles on their way: read ahead, translated `at_once`, not yet written; of one satellite and shape."""
    return workers * AHEAD + (TRANSLATING + 3) * at_once + WRITING + 1


def _group(items: Iterable[Item], at_once: Callable[[xr.Dataset], int]) -> Iterator[list[Item]]:
    """Put tiles of one satellite and shape together, `at_once` of them; a failure is alone."""
    groups = defaultdict[tuple, list[Item]](list)
    for file, tile in items:
        if isinstance(tile, Failure):
            yield [(file, tile)]
            continue
        kind = tile.attrs["satellite"], *tile.sizes.values()
        groups[kind].append((file, tile))
        if len(groups[kind]) == at_once(tile):
            yield groups.pop(kind)
    yield from groups.values()


def _translate_group(group: Sequence[Item], translate: Callable) -> list[tuple[Path, xr.Dataset | str]]:
    file, first = group[0]
    try:
        if isinstance(first, Failure):
            raise first.as_error(file)
        return list(zip((file for file, _ in group), translate([tile for _, tile in group]), strict=True))
    except InputError as error:
        if len(group) == 1:
            return [(file, str(error))]
        halves = group[: len(group) // 2], group[len(group) // 2 :]  # so that the others do not suffer from a bad one
        return [outcome for half in halves for outcome in _translate_group(half, translate)]


def made_variables(
    translator: TileTranslator, to: str, bands: Sequence[int] | None = None, samples: int = 0
) -> list[str]:
    """Names of the variables to write: bands (1-based; default all), what is known of their errors, and quality.

    InputError where the target lacks a band asked for.
    """
    made = {band.number: band.name for band in translator.bands(to)}
    absent = [number for number in bands or () if number not in made]
    if absent:
        raise InputError(f"the run makes bands {', '.join(map(str, made))} of {to}, not band {absent[0]}")
    names = [made[number] for number in bands or made]
    if translator.network.is_calibrated:
        extras = [f"{name}_std" for name in names] + [f"{name}_samples" for name in names if samples]
        return [*names, *extras, "quality", "extrapolated", EXTRAPOLATED_BANDS]
    return [*names, *(f"{name}_spread" for name in names if samples), "quality"]


def write_failures(failures: Sequence[dict[str, str]], folder: Path, name: str = FAILURES) -> None:
    """Write FOLDER/failures.jsonl, or remove it where there are none."""
    path = folder / name
    if failures:
        atomic.write_text(path, "".join(json.dumps(failure) + "\n" for failure in failures))
    else:
        path.unlink(missing_ok=True)
