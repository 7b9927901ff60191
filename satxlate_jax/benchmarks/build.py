"""`satxlate bench build`: how fast `tfds build` turns tiles into records, and where the time goes.

Seconds are CPU seconds of all processes, so that the answer per core does not depend on what else the machine does;
the clock is told beside it, for one CPU and for all, and means something on an idle machine only.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import psutil
from tqdm import tqdm

from satxlate_jax.archive.catalog import TileFile, find_tiles, relative_path
from satxlate_jax.benchmarks.build_process import run_builds
from satxlate_jax.cli import CommandParser, InputError, user_path
from satxlate_jax.cpus import count_cpus
from satxlate_jax.dataset.counts import read_codes
from satxlate_jax.dataset.examples import serialized_outcome
from satxlate_jax.dataset.selection import Selection
from satxlate_jax.geometry import pixels_of
from satxlate_jax.instruments import Band
from satxlate_jax.l1g import reader as l1g
from satxlate_jax.l1g.bands import BandNumbers, to_values
from satxlate_jax.l1g.isolation import Failure, read_isolated
from satxlate_jax.simulator.simulate import simulate_archive

TARGET = 1.5  # floors a tile and core
SIMULATED_TILES = 16
LEAST_TILES = 8  # of the small build, whose time is subtracted
DAY = datetime(2020, 6, 1)


@dataclass(frozen=True)
class StageSeconds:
    """CPU seconds per tile, each stage with those before it.

    Attributes:
      decode: of the HDF4 library reading all of a file's numbers: the floor.
      resample: of that and of scaling and resampling the bands that are not on the 2 km grid.
      quantise: of that and of making codes of all bands.
      cut: of all that the processes do that read files.
    """

    decode: float
    resample: float
    quantise: float
    cut: float


@dataclass(frozen=True)
class BuildSeconds:
    """Seconds per tile of `tfds build`, its start subtracted.

    Attributes:
      cpus: how many it may use, and how many processes read files.
      cpu: CPU seconds of all processes.
      writer: of them, those of the process that shuffles and writes.
      wall: by the clock.
      patches: written per tile.
    """

    cpus: int
    cpu: float
    writer: float
    wall: float
    patches: float


def describe(stages: StageSeconds, builds: Sequence[BuildSeconds]) -> list[str]:
    """The report; the last of the builds is the one with all CPUs."""
    build = builds[-1]
    parts = (
        ("HDF4 decode (the floor)", stages.decode),
        ("scaling, resampling", stages.resample - stages.decode),
        ("quantising", stages.quantise - stages.resample),
        ("cutting, counting, serialising", stages.cut - stages.quantise),
        ("between processes, shuffling, writing", build.cpu - stages.cut),
        ("all", build.cpu),
    )
    lines = [
        f"  {name:<38} {1e3 * seconds:7.1f} ms CPU a tile  {seconds / stages.decode:5.2f} floors"
        for name, seconds in parts
    ]
    floors = build.cpu / stages.decode
    lines.append(f"target: at most {TARGET} floors; measured: {floors:.2f}, {'met' if floors <= TARGET else 'missed'}")
    lines.append(f"per core: {1 / build.cpu:.1f} tiles/s, {build.patches / build.cpu:.0f} patches of 64x64x16/s")
    for one in builds:
        lines.append(
            f"by the clock, {one.cpus} reading process{'es' if one.cpus > 1 else ''} on as many CPUs: "
            f"{1 / one.wall:.1f} tiles/s, {one.patches / one.wall:.0f} patches/s, "
            f"{builds[0].wall / one.wall:.2f} times one"
        )
    lines.append(
        f"the one process that writes takes {1e3 * build.writer:.1f} ms CPU a tile: enough for "
        f"{(build.cpu - build.writer) / build.writer:.0f} reading processes; more need Beam"
    )
    return lines


def measure_stages(files: Sequence[TileFile], repeats: int) -> StageSeconds:
    """Measures the stages of reading a file one by one, all in turn so that all meet the same machine."""
    selection = Selection.of({"satellite": "G16"})
    stages: tuple[Callable[[TileFile], object], ...] = (
        lambda file: l1g.decode(file.path),
        lambda file: l1g.read_arrays(file.path, None, pixels_of(2.0), (), _resample, needless=l1g.ANGLES),
        lambda file: read_codes(file.path, selection.bands),
        lambda file: serialized_outcome(file, selection),
    )
    seconds = np.empty((repeats, len(stages)))
    with tqdm(total=repeats * len(stages) * len(files), desc="stages", unit="file", disable=None) as progress:
        for turn in range(repeats):
            for index, stage in enumerate(stages):
                start = time.process_time()
                for file in files:
                    stage(file)
                    progress.update()
                seconds[turn, index] = (time.process_time() - start) / len(files)
    # The median, as the build's own time is no best of several either.
    return StageSeconds(*np.median(seconds, axis=0).tolist())


def _readable(files: Sequence[TileFile]) -> list[TileFile]:
    """The first of the files that can be read; one that cannot might end the process that is measured."""
    outcomes = read_isolated([file.path for file in files[:SIMULATED_TILES]], l1g.decode)
    bad = {path: outcome.as_error(path) for path, outcome in outcomes if isinstance(outcome, Failure)}
    for error in bad.values():
        print(f"not measured: {error}")
    found = [file for file in files[:SIMULATED_TILES] if file.path not in bad]
    if not found:
        raise next(iter(bad.values()))
    return found


def _resample(band: BandNumbers, _: Band) -> np.ndarray:
    """What the build does to a band before it quantises; where nothing is resampled, it looks the codes up."""
    size = pixels_of(2.0)
    return band.numbers if len(band.numbers) == size else to_values(band, size, "area")


def measure_build(root: Path, tiles: int, cpus: Sequence[int] | None) -> BuildSeconds:
    """Measures `tfds build` of so many tiles on some CPUs; None is all."""
    configs = [
        {"name": name, "satellite": "G16", "max_files": count}
        for name, count in (("warm", LEAST_TILES), ("small", LEAST_TILES), ("large", tiles))
    ]
    with tempfile.TemporaryDirectory() as data:
        _, small, large = run_builds(root, Path(data), configs, cpus)
    # The start of its processes is the same in both.
    more = tiles - LEAST_TILES
    cpu, writer, wall = ((getattr(large, name) - getattr(small, name)) / more for name in ("cpu", "writer", "wall"))
    return BuildSeconds(len(cpus) if cpus else count_cpus(), cpu, writer, wall, large.examples / tiles)


def simulate_many(root: Path, tiles: int, count: int) -> None:
    """Simulates some tiles of G16, and an archive of one day by links to them, one a minute.

    Args:
      root: of the archive to write; the tiles lie beside it.
      tiles: how many to simulate; a multiple of 4.
      count: files of the archive.
    """
    print(f"simulating {tiles} tiles ...", flush=True)
    originals = root.with_name("originals")
    simulate_archive(str(originals), ["G16"], 4, tiles // 4, workers=count_cpus())
    files = find_tiles(originals)
    for index in range(count):
        original = files[index % len(files)]
        path = root / relative_path("G16", original.tile, DAY + timedelta(minutes=index))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(original.path.resolve())


def main(argv: list[str]) -> None:
    """Runs the benchmark.

    Raises:
      InputError: a mistake in what was handed in, or this is no checkout of the project.
    """
    parser = CommandParser(prog="satxlate bench build", description=__doc__)
    parser.add_argument(
        "--l1g", type=user_path, metavar="ROOT", help="an archive with tiles of G16 (default: simulated tiles)"
    )
    parser.add_argument(
        "--tiles",
        type=int,
        default=400,
        metavar="N",
        help="tiles to build; 16 are simulated, linked (default %(default)s: more than tfds shuffles in memory)",
    )
    parser.add_argument(
        "--repeats", type=int, default=5, metavar="N", help="rounds of each stage (default %(default)s)"
    )
    arguments = parser.parse_args(argv)
    if arguments.tiles <= LEAST_TILES or arguments.repeats < 1:
        raise InputError(f"--tiles must be more than {LEAST_TILES} and --repeats at least 1")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(arguments.l1g or f"{folder}/l1g")
        if not arguments.l1g:
            simulate_many(root, SIMULATED_TILES, arguments.tiles)
        files = find_tiles(root, satellites=["G16"])
        tiles = min(arguments.tiles, len(files))
        if tiles <= LEAST_TILES:
            raise InputError(f"'{root}' holds {tiles} tiles of G16; it must hold more than {LEAST_TILES}")
        print(f"building {tiles} tiles ...", flush=True)
        stages = measure_stages(_readable(files[:: len(files) // SIMULATED_TILES or 1]), arguments.repeats)
        every = psutil.Process().cpu_affinity() if hasattr(psutil.Process, "cpu_affinity") else [0]
        alone = [measure_build(root, tiles, every[:1])] if len(every) > 1 else []
        builds = [*alone, measure_build(root, tiles, None)]
    print("\n".join(describe(stages, builds)))
