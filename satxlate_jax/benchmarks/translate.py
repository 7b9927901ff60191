"""`satxlate bench translate`: tiles per second of the network, of reading, translating and writing, and of the whole.

The network has random weights. Where only what the network is made of is installed, only the network is measured.
"""

import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from satxlate_jax.benchmarks import bench_parser
from satxlate_jax.benchmarks.train import describe_devices, describe_peak, peak_memory
from satxlate_jax.cli import at_least
from satxlate_jax.models.families import make_translator
from satxlate_jax.training.build_step import satellite_entries
from satxlate_jax.training.channels import carries_angles
from satxlate_jax.training.config import load_config
from satxlate_jax.translation.inference import FlowProgram, images_at_once, on_local_devices, run_network

SIZE = 300  # pixels of a side of a 2 km tile


def untrained(config: Any) -> tuple[Any, Any, dict[str, Any]]:
    """The network of a configuration, random weights and the metadata of a run."""
    metadata = {"config": config.to_dict(), "satellites": satellite_entries(config), "step": 0}
    network = make_translator(metadata["config"], metadata["satellites"])
    params = network.init(jax.random.key(config.seed))
    for pattern in params.get("base", {}).values():
        for group in pattern.values():
            if isinstance(group, dict):  # a regression, which is not computed where it is not used
                group["used"] += 1
    return network, params, metadata


def measure_network(params: Any, network: Any, config: Any, count: int) -> tuple[float, int]:
    """Seconds per tile of the network, first satellite to last, and how many tiles go through together."""
    (source, *_, target), at_once = network.bands, images_at_once(SIZE**2, network.block)
    channels = len(network.bands[source]) + (network.extra_channels if carries_angles(config) else 0)
    x = np.random.default_rng(0).standard_normal((at_once, SIZE, SIZE, channels), np.float32)
    placed = on_local_devices(params, by_row=False)

    def run() -> None:
        if carries_angles(config):
            FlowProgram(placed, network, network.block).distribution(x, source, target)
        else:
            run_network(placed, network, x, source, target, margin=network.radius, block=network.block)

    run()  # compiles
    calls, begin = -(-count // at_once), time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - begin) / calls / at_once, at_once


def main(argv: Sequence[str]) -> None:
    """Run the benchmark."""
    parser = bench_parser("translate", __doc__, config=True)
    parser.add_argument("--tiles", type=at_least(10), default=20, metavar="N", help="simulated (default %(default)s)")
    arguments, words = parser.parse_known_args(argv)
    config = load_config(words)
    network, params, metadata = untrained(config)
    seconds, at_once = measure_network(params, network, metadata["config"], arguments.tiles)
    source, *_, target = network.bands
    print(f"{source} to {target}, {config.generator.family}, {config.precision}; {describe_devices()}")
    print(f"  the network             {1 / seconds:8.2f} tiles/s    {at_once} of {SIZE} x {SIZE} pixels at once")
    try:
        from satxlate_jax.benchmarks import translate_stages  # here, because it needs readers and writers of files
    except ModuleNotFoundError as error:
        print(f"  reading, writing            not measured, there is no {error.name}")
    else:
        print("\n".join(translate_stages.measure(network, params, metadata, arguments.tiles)))
    print(describe_peak(peak_memory()))
