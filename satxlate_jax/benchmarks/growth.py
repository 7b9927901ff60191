"""`satxlate bench growth`: how costs grow with the archive, the image and the number of satellites.

Each cost is measured at several sizes; its exponent is the slope of its logarithm over that of the size, 1 where twice
the size costs twice as much. Archives are of empty files: catalogue, manifest and restart go by names and headers.
"""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import starmap
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from tqdm import tqdm

from satxlate_jax.archive.catalog import find_tiles, relative_path
from satxlate_jax.benchmarks import bench_parser
from satxlate_jax.benchmarks.train import describe_devices, load_step, lower_step, median_seconds
from satxlate_jax.benchmarks.translate import untrained
from satxlate_jax.cli import InputError, at_least, user_path
from satxlate_jax.dataset.manifest import Manifest
from satxlate_jax.dataset.selection import Selection, choose_files
from satxlate_jax.dataset.tile_patches import TileOutcome
from satxlate_jax.evaluation import maps
from satxlate_jax.geometry import tile_grid
from satxlate_jax.training import sharding
from satxlate_jax.training.config import load_config
from satxlate_jax.translation.flow_translator import FlowTranslator
from satxlate_jax.translation.netcdf import NetcdfFolder
from satxlate_jax.translation.translate import TileTranslator

TILES = [f"h{column:02d}v{row:02d}" for column in range(8, 12) for row in range(2, 6)]
LINKS = 60_000  # names that a file may have; ext4 allows 65,000

# Code that never runs need not be good; the memory it needs is decided before.
_UNOPTIMIZED = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}

Costs = Mapping[int, float]


def exponent(costs: Costs) -> float:
    """The slope of the logarithm of costs over that of sizes."""
    return float(np.polyfit(np.log([*costs]), np.log([*costs.values()]), 1)[0])


def describe(name: str, costs: Costs) -> str:
    """One cost at all sizes, and its exponent."""
    cells = ", ".join(f"{size:,}: {cost:.3g}" for size, cost in costs.items())
    return f"  {name:<26} {cells}; exponent {exponent(costs):.2f}"


def _timed(function: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    begin = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - begin, result


def make_names(root: Path, count: int) -> None:
    """Make an archive of empty files of GOES-16, of 16 tiles every ten minutes."""
    for number in range(count):
        time_of, tile = datetime(2019, 1, 1) + timedelta(minutes=10 * (number // 16)), TILES[number % 16]
        path = root / relative_path("G16", tile, time_of)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def write_manifest(root: Path) -> None:
    """Find a build's files, take each as read, and write what became of them."""
    selection = Selection.of({"satellite": "G16"})
    chosen = choose_files(selection, root)
    manifest = Manifest(selection, chosen, root)
    for split, files in chosen.splits.items():
        for file in files:
            manifest.add(split, TileOutcome(file, reason="night", detail="no light"))
    (root / "manifest.json").write_text(json.dumps(manifest.as_json()))


def _write_output(translator: TileTranslator, sink: NetcdfFolder, source: Path) -> None:
    """Write the translation of a small tile as that of a file."""
    latitude, longitude = tile_grid(TILES[0], 300)
    axes = {"lat": latitude[:32], "lon": longitude[:32]}
    satellite, ones = translator.satellites[0], np.ones((32, 32), np.float32)
    bands = {
        band.name: (("lat", "lon"), band.mean * ones, {"units": band.unit}) for band in translator.bands(satellite)
    }
    tile = xr.Dataset(bands, axes, {"satellite": satellite, "tile": TILES[0], "source": source.name})
    sink.write(source, translator.translate(tile, sink.to))


def archive_costs(translator: TileTranslator, counts: Iterable[int]) -> Mapping[str, Costs]:
    """Seconds of what goes through all files of an archive, by number of files."""
    costs: dict[str, dict[int, float]] = {"catalogue, s": {}, "manifest of a build, s": {}, "restart, s": {}}
    for count in tqdm(counts, "archives", disable=None):
        with tempfile.TemporaryDirectory() as folder:
            root, outputs = Path(folder, "l1g"), Path(folder, "out")
            make_names(root, count)
            costs["catalogue, s"][count], files = _timed(find_tiles, root)
            costs["manifest of a build, s"][count], _ = _timed(write_manifest, root)
            outputs.mkdir()
            sink, (first, *others) = NetcdfFolder(outputs, translator.satellites[1], translator), files
            _write_output(translator, sink, first.path)
            for number, file in enumerate(others):  # the same file by other names: it says whose output it is
                if number % LINKS == 0:
                    copy = shutil.copyfile(sink.path(first.path), sink.path(file.path))
                else:
                    os.link(copy, sink.path(file.path))
            spent, complete = _timed(lambda sink=sink, files=files: [sink.is_complete(file.path) for file in files])
            costs["restart, s"][count] = spent
            assert complete == [True] + [False] * len(others)
    return costs


def image_costs(translator: TileTranslator, sides: Iterable[int]) -> Mapping[str, Costs]:
    """Seconds and operations of a translation, by number of pixels."""
    source, *_, target = translator.satellites
    seconds, operations, network = {}, {}, translator.network
    for side in tqdm(sides, "images", disable=None):
        means = np.array([band.mean for band in translator.bands(source)], np.float32)
        x = np.broadcast_to(means, (side, side, len(means)))
        translate = partial(translator.translate, x, target, source=source)
        seconds[side**2] = median_seconds(translate, 3)
        shape = jax.ShapeDtypeStruct((1, side, side, x.shape[-1] + network.extra_channels), jnp.float32)
        lowered = jax.jit(network.distribution, static_argnums=(2, 3)).lower(translator.params, shape, source, target)
        operations[side**2] = lowered.cost_analysis()["flops"] / 1e9
    return {"translation, s": seconds, "its operations, G": operations}


def only_satellites(config: Any, names: Sequence[str]) -> Any:
    """The configuration of some of its satellites."""
    variant = config.copy_and_resolve_references()
    with variant.unlocked():
        for name in {*variant.data.satellites} - {*names}:
            del variant.data.satellites[name]
    return variant


def satellite_costs(config: Any) -> Mapping[str, Costs]:
    """Seconds and operations of a training step, by number of satellites."""
    *others, last = config.data.satellites  # which is always there, so that something is to be inferred
    mesh, seconds, operations = sharding.make_mesh(), {}, {}
    for number in tqdm(range(2, len(config.data.satellites) + 1), "satellites", disable=None):
        variant = only_satellites(config, [*others[: number - 1], last])
        lowered = lower_step(variant, mesh)
        seconds[number] = median_seconds(load_step(variant, lowered.compile(), mesh), 5)
        operations[number] = lowered.cost_analysis()["flops"] / 1e9
    return {"training step, s": seconds, "its operations, G": operations}


def main(argv: Sequence[str]) -> None:
    """Run the benchmark."""
    parser = bench_parser("growth", __doc__, config=True)
    add = parser.add_argument
    add("--files", type=at_least(1_000), default=1_000_000, metavar="N", help="up to N files, in powers of ten")
    add("--side", type=at_least(600), default=1_200, metavar="N", help="images of 300, 600, ... pixels a side, up to N")
    arguments, words = parser.parse_known_args(argv)
    config = load_config(words)
    if config.generator.family != "spectral_flow" or len(config.data.satellites) < 2:
        raise InputError("it measures a spectral flow of two satellites or more; of a VAE-GAN see `bench satellites`")
    _, params, metadata = untrained(config)
    translator = FlowTranslator(params, metadata, "bench")
    print(f"{', '.join(translator.satellites)}; {describe_devices()}")
    counts = [10**power for power in range(2, len(str(arguments.files)))]
    sides = [300 * 2**power for power in range((arguments.side // 300).bit_length())]
    for title, costs in (
        ("archive, by number of files", archive_costs(translator, counts)),
        ("image, by number of pixels", image_costs(translator, sides)),
        ("training, by number of satellites", satellite_costs(config)),
    ):
        print(title, *starmap(describe, costs.items()), sep="\n", flush=True)


def draw_costs(costs: dict[str, dict[int, tuple[float, float]]], path: Path) -> None:
    """Plot operations and memory against the number of satellites, a curve per variant."""
    figure, panels = maps.new_figure(8, 3.2, 2)
    for index, (label, scale) in enumerate((("operations per step (T)", 1e12), ("peak memory (GiB)", 2**30))):
        axes = panels[index]
        for name, points in costs.items():
            axes.plot([*points], [cost[index] / scale for cost in points.values()], "o-", label=name)
        axes.set(xlabel="satellites", ylabel=label, ylim=(0, None))
        axes.legend()
    maps.save_figure(figure, path)


def main_satellites(argv: Sequence[str]) -> None:
    """What a training step costs as satellites are added: the first two, three, ... of the configuration.

    Nothing runs: operations are those of the program as written, memory is what this machine's compiler plans.
    """
    parser = bench_parser("satellites", main_satellites.__doc__, config=True)
    parser.add_argument("--output", type=user_path, metavar="FILE.png", help="write the figure there")
    parser.add_argument("--remat", action="store_true", help="also with config.remat")
    arguments, words = parser.parse_known_args(argv)
    config = load_config(words)
    names = list(config.data.satellites)
    if len(names) < 2:
        raise InputError("the configuration has one satellite; two are the least to have pairs")
    remats = (False, True) if arguments.remat else (config.remat,)
    costs: dict[str, dict[int, tuple[float, float]]] = {}
    print(f"width {config.generator.dim}, batch {config.batch_size}, patches of {config.data.patch_size} pixels")
    print(f"{'satellites':>10}  {'activations':<12} {'operations':>12} {'memory':>12}")
    for number in range(2, len(names) + 1):
        for remat in remats:
            variant = only_satellites(config, names[:number])
            variant.remat = remat
            label = "remat" if remat else "kept"
            lowered = lower_step(variant, sharding.make_mesh())
            operations, plan = lowered.cost_analysis()["flops"], lowered.compile(_UNOPTIMIZED).memory_analysis()
            results = plan.output_size_in_bytes - plan.alias_size_in_bytes  # that do not reuse the state's memory
            memory = plan.argument_size_in_bytes + results + plan.temp_size_in_bytes
            costs.setdefault(label, {})[number] = operations, memory
            print(f"{number:>10}  {label:<12} {operations / 1e12:10.3f} T {memory / 2**30:8.2f} GiB", flush=True)
    if arguments.output:
        draw_costs(costs, Path(arguments.output))
