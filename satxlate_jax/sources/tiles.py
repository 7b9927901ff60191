"""`satxlate tiles`: public Level-1b granules -> L1G tiles, restartably; files are read in separate processes."""

import argparse
import itertools
import json
import os
import shutil
import socket
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import xarray as xr
from filelock import FileLock
from tqdm import tqdm

from satxlate_jax import atomic, geometry
from satxlate_jax.archive.catalog import relative_path
from satxlate_jax.cli import InputError
from satxlate_jax.instruments import SATELLITES
from satxlate_jax.l1g.isolation import Failure, IsolatedCalls
from satxlate_jax.l1g.reader import write_tile
from satxlate_jax.sources.granule_files import Scan, find_granules, group_scans, is_url
from satxlate_jax.sources.gridding import GriddedScan, estimate_cover, grid_scan
from satxlate_jax.sources.scene import import_satpy, local_files, open_scan, reader_bands, scene_bands

MANIFEST = "manifest.json"
"""Under the output root: what was made of which granules, and what gave nothing and why."""

_JOBS = ".tiles-jobs"  # folder of what running jobs did
_TIMEOUT, _MEMORY = 3600.0, 8 * 1024**3  # of one row of tiles of one scan
_TILE_BYTES = 3_000_000  # of a tile with all bands, about
_MOST_OPENED = 20  # scans whose tiles --dry_run names
_IN_VIEW = 80.0  # degrees of view zenith angle at a tile's centre


@dataclass(frozen=True)
class Task:
    """One row of tiles of the scans of one satellite that begin in one minute, which share their outputs' names."""

    scans: tuple[Scan, ...]
    satellite: str  # '' where names of files do not say
    tiles: tuple[str, ...]

    def key(self, options: dict[str, Any]) -> str:
        """What the task's outputs depend on, as JSON."""
        inputs = sorted((granule.name, granule.size) for scan in self.scans for granule in scan.granules)
        return json.dumps([inputs, self.tiles, options])

    def outputs(self) -> list[str]:
        """Paths of its tiles under the root, where names of files say the satellite."""
        tiles = self.tiles if self.satellite else ()
        return [str(relative_path(self.satellite, tile, self.scans[0].start)) for tile in tiles]


def main(options: argparse.Namespace) -> int:
    """Run the subcommand `tiles`: 0 where at least one tile is there (new or from before), else InputError."""
    import_satpy()
    if options.describe:
        print(describe_reader(options.describe))
        return 0
    if not options.inputs or not (options.output or options.dry_run):
        raise InputError("name granules (files, folders or URLs) and an --output")
    if not 0 <= options.min_cover <= 1:
        raise InputError(f"--min_cover is {options.min_cover:g}; it is a part, from 0 to 1")
    if options.reader:
        reader_bands(options.reader)  # InputError where satpy has none
    granules, strange = find_granules(options.inputs, options.reader)
    bands = set(options.bands) if options.bands else None
    scans = [scan for one in group_scans(granules) if (scan := one.select(bands)).granules]
    if not scans:
        raise InputError(f"no granule holds band {', '.join(map(str, options.bands))}")
    tasks = list(plan(scans, choose_tiles(options.tiles, options.region)))
    size = sum(granule.size for scan in scans for granule in scan.granules)
    tiles = sum(len(task.tiles) for task in tasks)
    # of a smaller scan the number of tiles is not known before it is read
    is_known = bool(options.tiles) or any(granule.scene in ("F", "FLDK", "fd") for granule in granules)
    if not tiles:
        raise InputError("the satellite sees no tile of that region")
    if options.dry_run:
        wanted = sorted({tile for task in tasks for tile in task.tiles})
        opened = 0 if is_known and not options.tiles else _MOST_OPENED
        covers = [_describe_cover(scan, wanted, options.min_cover) for scan in scans[:opened]]
        for scan, words in zip(scans, itertools.chain(covers, itertools.repeat("")), strict=False):
            print(f"{scan.title}: {len(scan.granules)} files{words}")
        few = " (all that the satellite sees; a scan of a part of the disk covers few of them)"
        few = "" if is_known or options.region else few
        most = "" if sum(map(bool, covers)) == len(scans) else f", at most {tiles} tile{'s' * (tiles != 1)}{few}"
        count = f"{len(scans)} scan{'s' * (len(scans) > 1)}{most}"
        print(f"{count}, {size:,} bytes of granules; nothing was done")
        return 0
    root = Path(options.output)
    root.mkdir(parents=True, exist_ok=True)
    _check_space(root, tiles if is_known else 0)
    journal = Journal(root)
    problems = [{"input": place, "reason": reason} for place, reason in strange]
    for problem in problems:
        tqdm.write(f"skipped: {problem['input']}: {problem['reason']}")
    written, kept = _convert_all(tasks, journal, problems, options)
    journal.merge(problems)
    print(f"{written} written, {kept} already there, {len(problems)} skipped; {root / MANIFEST}")
    if not written and not kept:
        reason = f"no scan shows {options.min_cover:.0%} of a tile (--min_cover; --dry_run tells what they show)"
        if problems:
            reason = f"the first reason: {problems[0]['input']}: {problems[0]['reason']}"
        raise InputError(f"no tile was made; {reason}")
    return 0


def _describe_cover(scan: Scan, tiles: Iterable[str], least: float) -> str:
    """The tiles that a scan shows some of, and how much, by one of its granules; nothing where that is not here.

    Those of which it shows less than the `least` part, which are not made, come last.
    """
    one = replace(scan, granules=scan.granules[:1])
    if is_url(one.granules[0].place):
        return ""
    try:
        with local_files(one) as files:
            first = next(iter(scene_bands(open_scan(one, files)[0])[1].values()))
            covers = {tile: estimate_cover(first, tile) for tile in tiles}
    except InputError as error:
        return f"; {error}"
    shown = sorted((tile for tile in covers if covers[tile] > 0), key=lambda tile: -covers[tile])
    enough, less = (
        ", ".join(f"{tile} by {covers[tile]:.0%}" for tile in shown if (covers[tile] >= least) == is_made)
        for is_made in (True, False)
    )
    words = f"; covers {enough or 'none of them'}"
    return words + (f"; too little, see --min_cover: {less}" if less else "")


def choose_tiles(names: Sequence[str] | None, region: Sequence[float] | None) -> tuple[str, ...] | None:
    """The tiles of those names or that touch (west, south, east, north), degrees; None is all in view.

    InputError where a name is no tile's, the region is none, or no tile touches it.
    """
    for name in names or ():
        geometry.parse_tile(name)
    if region is None:
        return tuple(dict.fromkeys(names)) if names else None
    west, south, east, north = region
    if not (-180 <= west <= 360 and -180 <= east <= 360 and -90 <= south < north <= 90):
        raise InputError(
            f"--region {' '.join(map('{:g}'.format, region))} is none; give W S E N, such as -125 32 -114 42"
        )
    width = (east - west) % 360 or 360.0
    if width > 180 and east < west:  # no satellite sees so much
        raise InputError(f"--region from {west:g} east to {east:g} is {width:g} degrees wide; give W S E N, west first")
    columns = {int((west + 180 + x) // geometry.TILE_DEGREES) % 60 for x in np.arange(0, width, 1e-2)}
    rows = [v for v in range(geometry.ROWS) if north > geometry.NORTH - 6 * (v + 1) and south < geometry.NORTH - 6 * v]
    if not rows:
        raise InputError(f"the grid goes from 60 N to 60 S; {south:g} to {north:g} is outside")
    return tuple(f"h{h:02d}v{v:02d}" for v in rows for h in sorted(columns))


def plan(scans: Iterable[Scan], tiles: Sequence[str] | None) -> Iterator[Task]:
    """Tasks: the scans of one satellite and minute together, one row of tiles after the other."""
    groups = defaultdict(list)
    for scan in scans:
        groups[scan.granules[0].platform, scan.start.replace(second=0)].append(scan)
    everywhere = [f"h{h:02d}v{v:02d}" for v in range(geometry.ROWS) for h in range(geometry.COLUMNS)]
    for (platform, _), group in groups.items():
        rows = defaultdict(list)
        for tile in tiles or everywhere:
            if tiles or not platform or _is_in_view(tile, platform):
                rows[tile[3:]].append(tile)
        for row in rows.values():
            span = _disk_rows(row, platform) if platform else None
            if kept := tuple(scan for one in group if (scan := one.select(rows=span)).granules):
                yield Task(kept, platform, tuple(row))


def _is_in_view(tile: str, satellite: str) -> bool:
    north, west = geometry.tile_bounds(tile)
    return bool(geometry.view_angles(SATELLITES[satellite].longitude, north - 3, west + 3)[0] < _IN_VIEW)


def _disk_rows(tiles: Sequence[str], satellite: str) -> tuple[float, float]:
    """The part of a full disk's height, 0 north to 1 south, in which tiles lie, a little wider."""
    from pyproj import Proj

    height = 35_786_023  # m above the ellipsoid
    project = Proj(proj="geos", h=height, lon_0=SATELLITES[satellite].longitude, ellps="WGS84", sweep="x")
    places = [np.meshgrid(*reversed(geometry.tile_grid(tile, 30))) for tile in tiles]
    angles = np.array([project(*place)[1] for place in places]) / height  # radians north of the centre
    seen = angles[np.isfinite(angles)]
    if not seen.size:
        return 0.0, 1.0
    half = 0.1546  # radians from the disk's centre to the edge of its image
    low, high = 0.5 - seen.max() / half / 2, 0.5 - seen.min() / half / 2
    return max(0.0, float(low) - 0.01), min(1.0, float(high) + 0.01)


def _check_space(root: Path, tiles: int) -> None:
    free, needed = shutil.disk_usage(root).free, tiles * _TILE_BYTES
    if needed > free:
        raise InputError(
            f"{root} has {free / 1e9:.1f} GB free; up to {tiles} tiles need about {needed / 1e9:.1f} GB; "
            "choose fewer tiles"
        )


class Journal:
    """What was done under an output root; each job appends to a file of its own, merged under a lock at its end."""

    def __init__(self, root: Path):
        self.root, self._jobs = root, root / _JOBS
        self._jobs.mkdir(exist_ok=True)
        self._own = self._jobs / f"{socket.gethostname()}-{os.getpid()}.jsonl"
        self.done: dict[str, dict[str, Any]] = {}
        self.begun: set[str] = set()
        for record in self._read():
            self._take(record)

    def _read(self) -> Iterator[dict[str, Any]]:
        manifest = self.root / MANIFEST
        if manifest.exists():
            yield from json.loads(manifest.read_text()).get("tasks", [])
        for path in sorted(self._jobs.glob("*.jsonl")):
            for line in path.read_text().splitlines():
                try:
                    yield json.loads(line)
                except ValueError:  # the line that was being written
                    continue

    def _take(self, record: dict[str, Any]) -> None:
        if "tiles" in record:
            self.done[record["key"]] = record
            self.begun |= {tile["output"] for tile in record["tiles"]}
        else:
            self.begun |= set(record["begun"])

    def append(self, record: dict[str, Any]) -> None:
        """Add a record to this job's file."""
        self._take(record)
        with self._own.open("a") as file:
            file.write(json.dumps(record) + "\n")

    def is_complete(self, key: str) -> bool:
        """Tell if a task was done and its tiles are still there."""
        record = self.done.get(key)
        return record is not None and all((self.root / tile["output"]).exists() for tile in record["tiles"])

    def merge(self, problems: Sequence[dict[str, str]]) -> None:
        """Write what was done into the manifest; remove the files of this job and of jobs that were killed here."""
        with FileLock(self._jobs / "lock"):
            for record in self._read():
                self._take(record)
            tasks = list(self.done.values())
            lasting = [problem for task in tasks for problem in task["problems"]]
            unique = {(one["input"], one["reason"]): one for one in [*lasting, *problems]}
            text = json.dumps({"problems": list(unique.values()), "tasks": tasks}, indent=1)
            atomic.write_text(self.root / MANIFEST, text + "\n")
            for path in self._jobs.glob(f"{socket.gethostname()}-*.jsonl"):
                if path == self._own or not psutil.pid_exists(int(path.stem.rpartition("-")[2])):
                    path.unlink(missing_ok=True)


def _convert_all(
    tasks: Sequence[Task], journal: Journal, problems: list[dict[str, str]], options: argparse.Namespace
) -> tuple[int, int]:
    """Do the tasks that are not complete; returns tiles written and tiles that were there."""
    made_with = {"bands": options.bands, "min_cover": options.min_cover, "night": options.night}
    keys = {task: task.key(made_with) for task in tasks}
    waiting = [task for task in tasks if options.overwrite or not journal.is_complete(keys[task])]
    kept = [journal.done[keys[task]] for task in tasks if task not in waiting]
    problems += [problem for record in kept for problem in record["problems"]]
    written, work = 0, partial(convert, str(journal.root), bool(options.tiles), made_with)
    made_of = {tile["output"]: tile["scan"] for record in journal.done.values() for tile in record["tiles"]}

    def begin() -> Iterator[tuple[Task, frozenset[str] | None]]:
        for task in waiting:
            outputs, titles = task.outputs(), {scan.title for scan in task.scans}
            others = {output for output in outputs if made_of.get(output, "") not in {"", *titles}}
            known = None if options.overwrite else frozenset(journal.begun - others)
            journal.append({"begun": outputs})
            yield task, known

    workers = max(min(options.workers, len(waiting)), 1)
    with (
        IsolatedCalls(work, workers=workers, timeout=_TIMEOUT, memory=_MEMORY) as calls,
        tqdm(total=len(waiting), desc="tiles", unit="row", disable=None) as bar,
    ):
        for (task, _), outcome in calls.map(begin()):
            if isinstance(outcome, Failure):
                outcome = {"tiles": [], "problems": [{"input": task.scans[0].title, "reason": outcome.detail}]}
            else:
                journal.append({"key": keys[task], **outcome})
            for problem in outcome["problems"]:
                if problem not in problems:
                    problems.append(problem)
                    tqdm.write(f"skipped: {problem['input']}: {problem['reason']}")
            written += len(outcome["tiles"])
            bar.update()
    return written, sum(len(record["tiles"]) for record in kept)


def convert(
    root: str, is_named: bool, made_with: dict[str, Any], job: tuple[Task, frozenset[str] | None]
) -> dict[str, Any]:
    """Write the tiles of a task; of scans that share an output the one that shows more of it.

    `is_named` says that the user named tiles, so that one out of view is a problem; `made_with` has bands, min_cover
    and night; the job is the task, and the outputs that this command may replace (None: all). Returns `tiles`, each
    with output, cover, bands and scan, and `problems`, each with input and reason.
    """
    task, known = job
    best: dict[str, tuple[GriddedScan, Scan]] = {}
    problems: list[tuple[str, str]] = []
    for scan in task.scans:
        seen: dict[str, float] = {}
        try:
            with local_files(scan, root) as files:
                opened, faults = open_scan(scan, files, made_with["bands"])
                problems += faults.items()
                first = next(iter(scene_bands(opened)[1].values()))
                for tile in task.tiles:
                    seen[tile] = estimate_cover(first, tile)
                    if seen[tile] < made_with["min_cover"] or not seen[tile]:
                        continue
                    gridded = grid_scan(opened, tile, night=made_with["night"])
                    gridded.time = scan.start if scan.granules[0].platform else gridded.time
                    if tile not in best or gridded.cover > best[tile][0].cover:
                        best[tile] = gridded, scan
                    problems += [(f"{scan.title} {band}", reason) for band, reason in gridded.faults.items()]
        except InputError as error:
            problems.append((scan.title, str(error).removeprefix(f"{scan.title}: ")))
        for tile, part in seen.items() if is_named else ():
            if part < made_with["min_cover"] or not part:
                problems.append((f"{scan.title} {tile}", f"shows {part:.0%} of the tile, less than --min_cover"))
    tiles = []
    for tile, (gridded, scan) in best.items():
        output = relative_path(gridded.satellite.name, tile, gridded.time)
        if gridded.cover < made_with["min_cover"] or not gridded.cover:
            problems.append((f"{scan.title} {tile}", f"has values in {gridded.cover:.0%} of the tile"))
        elif known is not None and str(output) not in known and Path(root, output).exists():
            problems.append((str(output), "is there already, not from these granules; --overwrite replaces it"))
        else:
            write_tile(as_native_tile(gridded, tile, made_with["bands"]), Path(root, output))
            held = [name for name, values in gridded.arrays.items() if np.isfinite(values).any()]
            tiles.append({"output": str(output), "scan": scan.title, "cover": round(gridded.cover, 4), "bands": held})
    unique = dict.fromkeys(problems)
    return {"tiles": tiles, "problems": [{"input": place, "reason": reason} for place, reason in unique]}


def as_native_tile(gridded: GriddedScan, tile: str, bands: Iterable[int] | None = None) -> xr.Dataset:
    """A dataset for `write_tile`, each band at its own resolution; a band that the scan lacks is missing everywhere."""
    satellite, size = gridded.satellite, geometry.PIXELS[2.0]
    wanted = None if bands is None else set(bands)
    variables: dict[str, Any] = {name: (("lat", "lon"), values) for name, values in gridded.angles.items()}
    for band in satellite.bands:
        if wanted is None or band.number in wanted:
            values = gridded.arrays.get(band.name, np.full((size, size), np.nan, np.float32))
            variables[band.name] = ((f"y{len(values)}", f"x{len(values)}"), values, {"units": band.unit})
    time: datetime = gridded.time.replace(second=0, microsecond=0)
    coordinates = {"time": ((), np.datetime64(time, "ns"))}
    return xr.Dataset(variables, coordinates, {"satellite": satellite.name, "tile": tile})


def describe_reader(reader: str) -> str:
    """The block for instruments.py of an imager that satpy reads: wavelengths (um) and pixel sizes (km) on the grid."""
    found = sorted((identity.to_dict() for identity in reader_bands(reader)), key=lambda one: one["wavelength"].central)
    if not found:
        raise InputError(f"satpy's reader {reader} has no calibrated band with a wavelength")
    waves = ", ".join(f"{one['wavelength'].central:g}" for one in found)
    sizes = [geometry.nearest_resolution(one["resolution"] / 1000) for one in found]
    names = ", ".join(str(one["name"]) for one in found)
    kilometres = ", ".join(f"{size:g}" for size in sizes)
    return (
        f"_IMAGER = _borrowing(  # {reader}: {names}\n    ({waves}),\n    ({kilometres}),\n)\n"
        '# and in SATELLITES: Satellite("NAME", "IMAGER", "NAME_IMAGER05", "FOLDER", LONGITUDE, TILE_COLUMNS, _IMAGER, '
        '"platform_name as satpy writes it")'
    )
