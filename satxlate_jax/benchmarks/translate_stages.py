"""The stages of `satxlate translate` on simulated tiles, each alone and all overlapping; see `bench translate`."""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from satxlate_jax.archive.catalog import find_tiles
from satxlate_jax.benchmarks.build import LEAST_TILES, SIMULATED_TILES, simulate_tiles
from satxlate_jax.benchmarks.train import clocks
from satxlate_jax.cpus import count_cpus
from satxlate_jax.l1g.isolation import overlap, read_isolated
from satxlate_jax.l1g.reader import read_input
from satxlate_jax.options import parse
from satxlate_jax.translation.flow_translator import FlowTranslator
from satxlate_jax.translation.inference import images_at_once
from satxlate_jax.translation.netcdf import NetcdfFolder
from satxlate_jax.translation.translate import TileTranslator
from satxlate_jax.translation.translate_archive import (
    TRANSLATING,
    WRITING,
    made_variables,
    tiles_in_memory,
    translate_files,
)

TARGET = 1.15  # times as long as the slowest stage alone


def _per_file(stage: Callable[[Sequence[Path]], object], files: Sequence[Path]) -> np.ndarray:
    """Seconds and CPU seconds per file, the start subtracted as in `bench build`."""
    times = [clocks()]
    for part in (files[:LEAST_TILES], files):
        stage(part)
        times.append(clocks())
    return np.maximum((times[2] - 2 * times[1] + times[0]) / (len(files) - LEAST_TILES), 1e-9)


def _run(function: Callable, arguments: Iterable, threads: int) -> list[Any]:
    """All results of a stage."""
    with ThreadPoolExecutor(threads) as pool:
        return [result for _, result in overlap(pool, function, arguments, threads)]


def measure(network: Any, params: Any, metadata: Mapping[str, Any], count: int) -> Iterator[str]:
    """The report on `count` tiles; stages have the processes and threads that they have in `translate`."""
    translator = (FlowTranslator if network.is_calibrated else TileTranslator)(params, metadata, "bench")
    (source, *_, target), workers = translator.satellites, count_cpus()
    read = partial(read_input, bands={source: [band.number for band in translator.bands(source)]})
    with tempfile.TemporaryDirectory() as folder:
        simulate_tiles(Path(folder, "l1g"), SIMULATED_TILES, count, source)
        files = [file.path for file in find_tiles(Path(folder, "l1g"))]
        tiles = [tile for _, tile in read_isolated(files[:SIMULATED_TILES], read)]
        at_once = images_at_once(tiles[0].sizes["lat"] * tiles[0].sizes["lon"], translator.block)
        outputs = translator.translate_tiles(tiles, target)
        sink, names = NetcdfFolder(Path(folder), target, translator), made_variables(translator, target)

        def translate(part: Sequence[Path]) -> None:
            groups = [list(islice(cycle(tiles), at_once))] * -(-len(part) // at_once)
            _run(partial(translator.translate_tiles, to=target), groups, TRANSLATING)

        def whole(part: Sequence[Path]) -> None:
            words = ["--checkpoint=bench", f"--to={target}", f"--output={folder}", "--overwrite", folder]
            translate_files(translator, part, sink, names, parse("translate", words))

        stages: dict[str, Callable[[Sequence[Path]], object]] = {
            f"reading, {workers} processes": lambda part: list(read_isolated(part, read, workers=workers)),
            f"translating, {TRANSLATING} threads": translate,
            f"writing, {WRITING} thread": lambda part: _run(
                lambda pair: sink.write(*pair), zip(part, cycle(outputs), strict=False), WRITING
            ),
        }
        spent = {name: _per_file(stage, files) for name, stage in stages.items()}
        for name, (seconds, busy) in spent.items():
            yield f"  {name:<22}  {1 / seconds:8.2f} tiles/s    {busy:.3f} CPU seconds each"
        seconds, busy = _per_file(whole, files)
    turns, all_busy = sum(spent.values())
    slowest = max(stage[0] for stage in spent.values())
    verdict, bound = "met" if seconds <= TARGET * slowest else "missed", workers / all_busy
    yield f"  the whole               {1 / seconds:8.2f} tiles/s    {busy:.3f} CPU seconds each, of {count}"
    yield f"  one after the other     {1 / turns:8.2f} tiles/s; {workers} CPUs busy with nothing else {bound:.2f}"
    yield f"  {seconds / slowest:.2f} times as long as the slowest stage (target {TARGET}: {verdict})"
    yield f"  at most {tiles_in_memory(workers, at_once)} tiles in memory"
