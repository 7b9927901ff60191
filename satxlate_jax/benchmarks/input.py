"""`satxlate bench input`: how fast a process reads training batches, and the training rate that sustains.

One pass in one process, no cache: records are read, shuffled, decoded and normalised as in training. Patches per core
are per CPU second of the process, so that they do not depend on what else the machine does; the clock is told beside.
With --processes, also what each of some processes reads that share a run's batches.
"""

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import psutil
from ml_collections import ConfigDict
from tqdm import tqdm

from satxlate_jax.benchmarks import bench_parser
from satxlate_jax.benchmarks.build import run_builds, simulate_tiles
from satxlate_jax.cli import InputError, parse_numbers, user_path
from satxlate_jax.cpus import count_cpus
from satxlate_jax.instruments import get_satellite
from satxlate_jax.training.config import default_config
from satxlate_jax.training.input import PREFETCHED_BATCHES, check_records, training_batches

TARGET = 2_000  # patches of 64 x 64 x 16 per second and core
SHARED_STEPS = 500  # that processes share
TILES = 80  # of the data set it makes: 2,000 patches
# The compiler's numbers for the published two-satellite step in bfloat16 (launch/README.md): it is bound by its memory
# traffic, so that an accelerator's bandwidth says how long it takes at least.
STEP_PATCHES, STEP_BYTES = 16, 24.5e9
ACCELERATORS = {"TPU v5e chip": 819e9, "A100 40 GB": 1555e9}  # bytes/s, as their makers publish


def measure(config: ConfigDict, seconds: float) -> tuple[float, float, float]:
    """Read batches: seconds to the first one, patches per second by the clock, and per CPU second of this process."""
    check_records(config)  # what is imported for it is not what is measured
    start = time.monotonic()
    batches = training_batches(config)
    patches = sum(len(images) for images in next(batches).values())
    ready = time.monotonic() - start
    for _ in islice(batches, 2 * PREFETCHED_BATCHES):
        pass
    clock, cpu, count = time.monotonic(), time.process_time(), 0
    with tqdm(desc="bench input", unit="patch", disable=None) as progress:
        while time.monotonic() - clock < seconds:
            next(batches)
            count += patches
            progress.update(patches)
    return ready, count / (time.monotonic() - clock), count / (time.process_time() - cpu)


def read_share(settings: str, index: int, count: int) -> tuple[int, int]:
    """Read what one of some processes reads for `SHARED_STEPS` steps; patches and bytes read."""
    config = ConfigDict(json.loads(settings))
    check_records(config)
    batches = training_batches(config, process_index=index, process_count=count)
    begin = psutil.Process().io_counters().read_chars  # bytes asked of files, as Linux counts them
    patches = sum(len(images) for batch in islice(batches, SHARED_STEPS) for images in batch.values())
    return patches, psutil.Process().io_counters().read_chars - begin


def measure_shares(config: ConfigDict, counts: Sequence[int]) -> Iterator[str]:
    """What each of 1, 2, ... real processes reads that share a run."""
    settings = config.to_json()
    for count in counts:
        with ProcessPoolExecutor(count, get_context("spawn")) as pool:
            shares = list(pool.map(partial(read_share, settings, count=count), range(count)))
        patches, size = (max(values) for values in zip(*shares, strict=True))
        each = f"at most {patches:,} patches, {size / 1e6:,.1f} MB in each"
        yield f"  {count} process{'es' * (count > 1)}: {each}, of {SHARED_STEPS} steps"


def main(argv: Sequence[str]) -> None:
    """Run the benchmark."""
    parser = bench_parser("input", __doc__)
    option = parser.add_argument
    option("--data", type=user_path, metavar="DIR", help="tfds' data_dir (default: a data set of simulated tiles)")
    option("--satellite", default="G16", help="which of the data sets in DIR (default %(default)s)")
    option("--batch-size", type=int, default=8, metavar="N", help="default %(default)s")
    option("--seconds", type=float, default=10.0, help="how long to read (default %(default)s)")
    shared = "also what each of N processes reads"
    option("--processes", type=parse_numbers, default=(), metavar="N,...", help=shared)
    option("--augment", action="store_true", help="with flips and rotations")
    arguments = parser.parse_args(argv)
    batch_size, satellite = arguments.batch_size, arguments.satellite if arguments.data else "G16"
    if batch_size < 1 or arguments.seconds <= 0:
        raise InputError("--batch-size must be at least 1 and --seconds more than 0")
    if any(not count or batch_size % count for count in arguments.processes):
        raise InputError(f"--batch-size {batch_size} must be a multiple of each number of --processes")
    with tempfile.TemporaryDirectory() as folder:
        if not arguments.data:
            simulate_tiles(Path(folder, "l1g"), 4, TILES)
            print("building ...", flush=True)
            run_builds(Path(folder, "l1g"), Path(folder), [{"name": satellite, "satellite": satellite}])
        config = default_config()
        with config.unlocked():
            config.batch_size, config.data.augment = batch_size, arguments.augment
            config.data.dir, config.data.datasets = arguments.data or folder, ConfigDict({satellite: satellite})
            bands = tuple(band.number for band in get_satellite(satellite).bands)
            config.data.satellites = ConfigDict({satellite: bands})
        ready, clock, core = measure(config, arguments.seconds)
        shares = list(measure_shares(config, arguments.processes))
    print(f"first batch after {ready:.2f} s; then {clock:,.0f} patches/s by the clock on {count_cpus()} cores")
    verdict = "met" if core >= TARGET else "missed"
    print(f"per core: {core:,.0f} patches of 64x64x16/s (target {TARGET:,}: {verdict})")
    print(f"one core feeds {core / (2 * batch_size):,.0f} steps/s of two satellites with batch size {batch_size}")
    for name, bandwidth in ACCELERATORS.items():
        seconds = STEP_BYTES / bandwidth
        print(
            f"  {name}: a step of {STEP_PATCHES} patches takes at least {1e3 * seconds:.0f} ms ({1 / seconds:.0f} "
            f"steps/s, {STEP_PATCHES / seconds:,.0f} patches/s); one core feeds {core * seconds / STEP_PATCHES:.1f}"
        )
    print(*shares, sep="\n", end="\n" if shares else "")
