"""`satxlate bench build`: how fast `tfds build` turns tiles into records, and where the time goes.

Seconds are CPU seconds of all processes, so that the answer per core does not depend on what else the machine does;
the wall clock is told beside it.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
from tqdm import tqdm

from satxlate_jax.errors import InputError
from satxlate_jax.observations import l1g
from satxlate_jax.observations.catalog import TileFile, file_name, find_tiles
from satxlate_jax.observations.examples import tile_outcome
from satxlate_jax.observations.selection import Selection
from satxlate_jax.observations.simulate import simulate_archive

PROJECT = Path(__file__).resolve().parents[2]
BUILDER = PROJECT / "datasets" / "geonex_l1g"
PATCHES_PER_TILE = 25
SIMULATED_TILES = 16
LEAST_TILES = 8  # of the small build, whose time is subtracted


@dataclass(frozen=True)
class BuildSpeed:
    """CPU seconds per tile.

    Attributes:
      decode: of the HDF4 library reading all of a file's numbers: the floor.
      read: of `read_tile`: decoding, scaling, resampling to the 2 km grid.
      outcome: of reading, quantising, cutting and counting.
      build: of everything in `tfds build`, its start subtracted.
      wall: seconds by the clock per tile of the same build.
    """

    decode: float
    read: float
    outcome: float
    build: float
    wall: float

    def lines(self, cores: int) -> list[str]:
        """The report."""
        parts = (
            ("HDF4 decode (the floor)", self.decode),
            ("scaling, resampling", self.read - self.decode),
            ("quantising, cutting, counting", self.outcome - self.read),
            ("between processes, serialising, writing", self.build - self.outcome),
            ("all", self.build),
        )
        lines = [
            f"  {name:<40} {1e3 * seconds:7.1f} ms CPU a tile  {seconds / self.decode:5.2f} floors"
            for name, seconds in parts
        ]
        lines.append(
            f"per core: {1 / self.build:.1f} tiles/s, {PATCHES_PER_TILE / self.build:.0f} patches of 64x64x16/s"
        )
        lines.append(
            f"by the clock, {cores} cores: {1 / self.wall:.1f} tiles/s, {PATCHES_PER_TILE / self.wall:.0f} patches/s"
        )
        return lines


def measure_build(root: Path, stage_files: int, repeats: int) -> BuildSpeed:
    """Measures each stage by itself, then the whole build.

    Args:
      root: of an archive with tiles of G16.
      stage_files: files to measure the stages with.
      repeats: how often each of them is read by each stage.
    """
    files = find_tiles(root, satellites=["G16"])
    selection = Selection.of({"satellite": "G16"})
    some = files[:: max(1, len(files) // stage_files)][:stage_files]
    with tqdm(total=3 * repeats * len(some) + 2, desc="bench build", unit="step", disable=None) as progress:
        stages: tuple[Callable[[TileFile], object], ...] = (
            lambda file: _decode(file.path),
            lambda file: l1g.read_tile(file.path),
            lambda file: tile_outcome(file, selection),
        )
        seconds = [_cpu_seconds(stage, some, repeats, progress) for stage in stages]
        small = _build(root, LEAST_TILES, progress)
        large = _build(root, len(files), progress)
    # The start of the program and of its processes is the same in both.
    cpu, wall = ((more - less) / (len(files) - LEAST_TILES) for less, more in zip(small, large, strict=True))
    return BuildSpeed(*seconds, cpu, wall)


def simulate_many(root: Path, tiles: int, count: int) -> None:
    """Simulates some tiles of G16, and makes the archive larger by links to them under other times.

    Args:
      root: of the archive to write.
      tiles: how many to simulate; a multiple of 4.
      count: files of the archive.
    """
    print(f"simulating {tiles} tiles ...", flush=True)
    simulate_archive(str(root), ["G16"], 4, tiles // 4, workers=os.cpu_count() or 1)
    files = find_tiles(root, satellites=["G16"])
    for index in range(len(files), count):
        original = files[index % len(files)]
        moment = original.time + timedelta(minutes=index // len(files))
        os.symlink(original.path.resolve(), original.path.with_name(file_name("G16", original.tile, moment)))


def _decode(path: Path) -> None:
    """Reads every number of a file and does nothing with it."""
    with l1g._opened(path) as file:  # the one module that may import pyhdf gives the open file
        for index in range(file.info()[0]):
            file.select(index).get()


def _cpu_seconds(stage: Callable[[TileFile], object], files: Sequence[TileFile], repeats: int, progress: tqdm) -> float:
    """CPU seconds per file, the best of some rounds: what disturbs only ever adds."""
    rounds = []
    for _ in range(repeats):
        start = time.process_time()
        for file in files:
            stage(file)
            progress.update()
        rounds.append((time.process_time() - start) / len(files))
    return min(rounds)


def _build(root: Path, max_files: int, progress: tqdm) -> tuple[float, float]:
    """CPU seconds of all its processes and seconds by the clock of one `tfds build`."""
    with tempfile.TemporaryDirectory() as data:
        seconds = run_build(root, Path(data), {"name": "bench", "satellite": "G16", "max_files": max_files})
    progress.update()
    return seconds


def run_build(root: Path, data: Path, config: Mapping[str, Any]) -> tuple[float, float]:
    """Runs `tfds build` with tiles split by tile.

    Args:
      root: of the L1G archive.
      data: tfds' data_dir.
      config: the builder's options.

    Returns:
      CPU seconds of all its processes, and seconds by the clock.

    Raises:
      InputError: it failed, or this is no checkout of the project.
    """
    if not BUILDER.is_dir():
        raise InputError("this benchmark needs the project's checkout (datasets/); clone it and run it there")
    options = json.dumps({"split_by": "tile", **config})
    words = ["build", str(BUILDER), f"--config={options}", f"--manual_dir={root}", f"--data_dir={data}"]
    program = "from tensorflow_datasets.scripts.cli.main import launch_cli; launch_cli()"
    with tempfile.TemporaryFile("w+") as log:
        start = time.monotonic()
        process = psutil.Popen([sys.executable, "-c", program, *words], stdout=log, stderr=log)
        cpu: dict[int, float] = {}
        while process.poll() is None:
            # Processes that read tiles are ended, not waited for, so that nobody sums up for us.
            with suppress(psutil.NoSuchProcess):
                for member in (process, *process.children(recursive=True)):
                    with suppress(psutil.NoSuchProcess):
                        used = member.cpu_times()
                        cpu[member.pid] = used.user + used.system
            time.sleep(0.1)
        wall = time.monotonic() - start
        if process.returncode:
            log.seek(0)
            raise InputError(f"tfds build failed: {log.read().strip().splitlines()[-1]}")
    return sum(cpu.values()), wall


def main(argv: list[str]) -> None:
    """Runs the benchmark.

    Raises:
      InputError: a mistake in what was handed in, or this is no checkout of the project.
    """
    parser = argparse.ArgumentParser(prog="satxlate bench build", description=__doc__)
    parser.add_argument("--l1g", metavar="ROOT", help="an archive with tiles of G16 (default: simulated tiles)")
    parser.add_argument(
        "--tiles",
        type=int,
        default=300,
        metavar="N",
        help="tiles to build; 16 are simulated, linked (default %(default)s)",
    )
    parser.add_argument(
        "--repeats", type=int, default=3, metavar="N", help="rounds of each stage (default %(default)s)"
    )
    arguments = parser.parse_args(argv)
    if arguments.tiles <= LEAST_TILES or arguments.repeats < 1:
        raise InputError(f"--tiles must be more than {LEAST_TILES} and --repeats at least 1")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(arguments.l1g or folder)
        if not arguments.l1g:
            simulate_many(root, SIMULATED_TILES, arguments.tiles)
        count = len(find_tiles(root, satellites=["G16"]))
        if count <= LEAST_TILES:
            raise InputError(f"'{root}' holds {count} tiles of G16; it must hold more than {LEAST_TILES}")
        speed = measure_build(root, SIMULATED_TILES, arguments.repeats)
    print("\n".join(speed.lines(os.cpu_count() or 1)))
