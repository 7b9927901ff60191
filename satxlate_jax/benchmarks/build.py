"""`satxlate bench build`: how fast `tfds build` turns tiles into records, and where the time goes.

Seconds are CPU seconds of all processes, so that the answer per core does not depend on what else the machine does;
the clock is told beside it, for one CPU and for all, and means something on an idle machine only.
"""

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
from tqdm import tqdm

from satxlate_jax.archive.catalog import TileFile, find_tiles, relative_path
from satxlate_jax.benchmarks import bench_parser
from satxlate_jax.cli import InputError, at_least, user_path
from satxlate_jax.cpus import count_cpus
from satxlate_jax.dataset.manifest import NAME as MANIFEST
from satxlate_jax.dataset.selection import Selection
from satxlate_jax.dataset.tile_patches import read_packed, tile_outcome
from satxlate_jax.geometry import pixels_of
from satxlate_jax.l1g import reader as l1g
from satxlate_jax.l1g.isolation import Failure, read_isolated
from satxlate_jax.l1g.packing import PackedBand
from satxlate_jax.shipped import BUILDER
from satxlate_jax.simulator.simulate import simulate_archive

TARGET = 1.5  # floors (CPU seconds of decoding alone) a tile and core
SIMULATED_TILES = 16
LEAST_TILES = 8  # of the small build, whose time is subtracted
STAGES = (
    *("HDF4 decode (the floor)", "scaling, resampling", "quantising", "cutting, counting, serialising"),
    *("between processes, shuffling, writing", "all"),
)

_SAMPLING_SECONDS = 0.05
# One process, whose start would vary by more than a small build takes. It stops itself after each build, so that its
# time can be read in between.
_PROGRAM = """
import json, os, signal, sys
from tensorflow_datasets.scripts.cli.main import launch_cli
for words in json.loads(sys.argv[1]):
    sys.argv = ["tfds", *words]
    try:
        launch_cli()
    except SystemExit as end:
        if end.code:
            raise
    os.kill(os.getpid(), signal.SIGSTOP)
"""


class BuildTime(NamedTuple):
    """Costs of a build, in all or per tile."""

    cpu: float  # CPU seconds of all its processes
    writer: float  # of them, those of the process that shuffles and writes
    wall: float  # seconds by the clock
    examples: float


def run_builds(
    root: Path, data: Path, configs: Sequence[Mapping[str, Any]], cpus: Iterable[int] | None = None
) -> list[BuildTime]:
    """Run `tfds build` for some configurations of the builder, in one process of its own that may use some CPUs."""
    folders = [f"--manual_dir={root}", f"--data_dir={data}"]
    commands = [["build", str(BUILDER), f"--config={json.dumps(config)}", *folders] for config in configs]
    with tempfile.TemporaryFile("w+") as log:
        command = [sys.executable, "-c", _PROGRAM, json.dumps(commands)]
        process = psutil.Popen(command, stdout=log, stderr=log, stdin=log)
        try:
            if cpus is not None:
                process.cpu_affinity(list(cpus))  # before it has threads or processes, which inherit it
            times = _measure(process)
        finally:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        if process.wait() or len(times) != len(configs):
            log.seek(0)
            raise InputError(f"tfds build failed: {(log.read().strip().splitlines() or ['no output'])[-1]}")
    manifests = [json.loads(next(data.glob(f"*/{config['name']}/*/{MANIFEST}")).read_text()) for config in configs]
    examples = [sum(split["examples"] for split in manifest["splits"].values()) for manifest in manifests]
    return [BuildTime(*spent, count) for spent, count in zip(times, examples, strict=True)]


def _measure(process: psutil.Popen) -> list[tuple[float, float, float]]:
    """CPU seconds of all processes and of the first, and seconds by the clock, of each build until the last ends."""
    cpu: dict[int, float] = {}
    times: list[Any] = []
    last = np.array([0, 0, time.monotonic()])
    while process.poll() is None:
        # Processes that read tiles are ended, not waited for, so that nobody sums up for us.
        with suppress(psutil.NoSuchProcess):
            is_stopped = process.status() == psutil.STATUS_STOPPED
            for member in (process, *process.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    used = member.cpu_times()
                    cpu[member.pid] = used.user + used.system
            if is_stopped:
                now = np.array([sum(cpu.values()), cpu[process.pid], time.monotonic()])
                times.append(tuple(now - last))
                last = now
                os.kill(process.pid, signal.SIGCONT)
        time.sleep(_SAMPLING_SECONDS)
    return times


def measure_build(root: Path, tiles: int, cpus: Sequence[int] | None) -> BuildTime:
    """Costs per tile of `tfds build` of so many tiles on some CPUs (None is all), its start subtracted."""
    sizes = {"warm": LEAST_TILES, "small": LEAST_TILES, "large": tiles}
    configs = [{"name": name, "satellite": "G16", "max_files": count} for name, count in sizes.items()]
    with tempfile.TemporaryDirectory() as data:
        _, small, large = run_builds(root, Path(data), configs, cpus)
    difference = np.subtract(large, small) / (tiles - LEAST_TILES)  # its start is the same in both
    return BuildTime(*difference.tolist())


def _resample(band: PackedBand, _: object) -> np.ndarray:
    """Treats a band as the build does before it quantises; where nothing is resampled, it looks the counts up."""
    size = pixels_of(2.0)
    return band.counts if len(band.counts) == size else band.values(size, "area")


def measure_stages(files: Sequence[TileFile], repeats: int) -> list[float]:
    """CPU seconds per tile of reading: decoding alone, then each stage with those before it (see `describe`)."""
    selection = Selection.of({"satellite": "G16"})
    stages: tuple[Callable[[TileFile], object], ...] = (
        lambda file: l1g.decode(file.path),
        lambda file: l1g.read_arrays(file.path, None, pixels_of(2.0), (), _resample),
        lambda file: read_packed(file.path, selection.bands),
        lambda file: tile_outcome(file, selection, serialized=True),
    )
    seconds = np.empty((repeats, len(stages)))
    with tqdm(total=seconds.size * len(files), desc="stages", unit="file", disable=None) as progress:
        for turn, index in np.ndindex(seconds.shape):  # all in turn, so that all meet the same machine
            start = time.process_time()
            for file in files:
                stages[index](file)
                progress.update()
            seconds[turn, index] = (time.process_time() - start) / len(files)
    return np.median(seconds, axis=0).tolist()  # as the build's own time is no best of several either


def _readable(files: Sequence[TileFile]) -> list[TileFile]:
    """The files that can be read; one that cannot might end the process that is measured."""
    outcomes = read_isolated([file.path for file in files], l1g.decode)
    bad = {path: outcome.as_error(path) for path, outcome in outcomes if isinstance(outcome, Failure)}
    for error in bad.values():
        print(f"not measured: {error}")
    if len(bad) == len(files):
        raise next(iter(bad.values()))
    return [file for file in files if file.path not in bad]


def describe(stages: Sequence[float], builds: Mapping[int, BuildTime]) -> list[str]:
    """The report on the stages and on builds by their number of CPUs, the last of which has all."""
    decode, all_builds = stages[0], list(builds.values())
    alone, build = all_builds[0], all_builds[-1]
    parts = zip(STAGES, [*np.diff([0, *stages, build.cpu]), build.cpu], strict=True)
    lines = [f"  {name:<38} {1e3 * cpu:7.1f} ms CPU a tile  {cpu / decode:5.2f} floors" for name, cpu in parts]
    floors, readers = build.cpu / decode, build.cpu / max(build.writer, 1e-6) - 1
    lines.append(f"target: at most {TARGET} floors; measured: {floors:.2f}, {'met' if floors <= TARGET else 'missed'}")
    lines.append(f"per core: {1 / build.cpu:.1f} tiles/s, {build.examples / build.cpu:.0f} patches of 64x64x16/s")
    for cpus, one in builds.items():
        lines.append(
            f"by the clock, {cpus} reading process{'es' if cpus > 1 else ''} on as many CPUs: {1 / one.wall:.1f} "
            f"tiles/s, {one.examples / one.wall:.0f} patches/s, {alone.wall / one.wall:.2f} times one"
        )
    lines.append(
        f"the one process that writes takes {1e3 * build.writer:.1f} ms CPU a tile: enough for {readers:.0f} reading "
        "processes; more need Beam"
    )
    return lines


def simulate_tiles(root: Path, tiles: int, count: int, satellite: str = "G16") -> None:
    """Simulate some tiles (a multiple of 4), and make an archive of `count` links to them, one a minute."""
    print(f"simulating {tiles} tiles ...", flush=True)
    originals = root.with_name("originals")
    simulate_archive(originals, [satellite], 4, tiles // 4, workers=count_cpus())
    files = find_tiles(originals)
    for index in range(count):
        original = files[index % len(files)]
        path = root / relative_path(satellite, original.tile, datetime(2020, 6, 1) + timedelta(minutes=index))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(original.path.resolve())


def main(argv: Sequence[str]) -> None:
    """Run the benchmark."""
    parser = bench_parser("build", __doc__)
    option = parser.add_argument
    option("--l1g", type=user_path, metavar="ROOT", help="an archive with tiles of G16 (default: simulated tiles)")
    tiles = "tiles to build; 16 are simulated, linked (default %(default)s: more than tfds shuffles in memory)"
    option("--tiles", type=int, default=400, metavar="N", help=tiles)
    option("--repeats", type=at_least(1), default=5, metavar="N", help="rounds of each stage (default %(default)s)")
    arguments = parser.parse_args(argv)
    if arguments.tiles <= LEAST_TILES:
        raise InputError(f"--tiles must be more than {LEAST_TILES}")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(arguments.l1g or f"{folder}/l1g")
        if not arguments.l1g:
            simulate_tiles(root, SIMULATED_TILES, arguments.tiles)
        files = find_tiles(root, satellites=["G16"])
        tiles = min(arguments.tiles, len(files))
        if tiles <= LEAST_TILES:
            raise InputError(f"'{root}' holds {tiles} tiles of G16; it must hold more than {LEAST_TILES}")
        print(f"building {tiles} tiles ...", flush=True)
        spread = files[:: len(files) // SIMULATED_TILES or 1][:SIMULATED_TILES]
        stages = measure_stages(_readable(spread), arguments.repeats)
        every = psutil.Process().cpu_affinity() if hasattr(psutil.Process, "cpu_affinity") else [0]
        builds = {1: measure_build(root, tiles, every[:1])} if len(every) > 1 else {}
        builds[count_cpus()] = measure_build(root, tiles, None)
    print("\n".join(describe(stages, builds)))
