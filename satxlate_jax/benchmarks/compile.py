"""`satxlate compile`: compile the real training step for TPUs, without a TPU.

    python -m satxlate_jax compile --config=configs/base_g16g17.py --topology=v5e:16x16 --batch_per_chip=8

Nothing runs; the compiler's numbers (memory, operations, bytes, collectives) are set against the chip's published ones.
Needs the extra `tpu` (the libtpu wheel) and no data.
"""

import argparse
import importlib.util
import math
import os
import re
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import AxisType, Mesh

from satxlate_jax.benchmarks.train import lower_step
from satxlate_jax.cli import InputError
from satxlate_jax.training import sharding
from satxlate_jax.training.channels import training_sources
from satxlate_jax.training.config import load_config

_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "f32": 4, "s32": 4, "u32": 4, "f64": 8, "s64": 8, "u64": 8}
_COLLECTIVE = re.compile(r" = (.*?) (all-reduce|all-gather|all-to-all|reduce-scatter|collective-permute)(-start)?\(")
_ARRAY = re.compile(r"\b([a-z]+[0-9]*)\[([0-9,]*)\]")


class Chip(NamedTuple):
    """Specifications of a chip, from Cloud TPU's pages 'TPU v4', 'TPU v5e', 'TPU v5p' and 'TPU v6e'."""

    peak: float  # bfloat16 operations per second, also of float32 convolutions (in bfloat16 passes, by default)
    memory: float  # bytes of high-bandwidth memory
    bandwidth: float  # of that memory, bytes per second
    interconnect: float  # bytes per second between chips, all links of one chip together


CHIPS = {
    "v4": Chip(275e12, 32e9, 1228e9, 300e9),
    "v5e": Chip(197e12, 16e9, 819e9, 200e9),
    "v5p": Chip(459e12, 95e9, 2765e9, 600e9),
    "v6e": Chip(918e12, 32e9, 1640e9, 448e9),
}
"""The chips by the names that topologies have for them."""


def roofline(chip: Chip, operations: float, memory_bytes: float, reduced_bytes: float, chips: int) -> dict[str, float]:
    """Least seconds of a step on one of some chips, by what bounds it; a ring moves what is all-reduced twice."""
    return {
        "arithmetic": operations / chip.peak,
        "memory": memory_bytes / chip.bandwidth,
        "network": 2 * reduced_bytes * (chips - 1) / chips / chip.interconnect,
    }


def tpu_mesh(topology: str) -> Mesh:
    """A mesh over the chips of a topology such as 'v5e:16x16'; InputError without libtpu or such a topology."""
    if not os.environ.get("TPU_LIBRARY_PATH"):
        found = importlib.util.find_spec("libtpu")
        if found is None or found.origin is None:
            raise InputError(
                "the TPU compiler is not installed: pip install 'satxlate-jax[tpu]' (or set TPU_LIBRARY_PATH)"
            )
        os.environ["TPU_LIBRARY_PATH"] = str(Path(found.origin).parent / "libtpu.so")
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # do not ask a cloud machine's metadata server
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
    try:
        devices = topologies.get_topology_desc(platform="tpu", topology_name=topology).devices
    except (RuntimeError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"no topology '{topology}' ({reason}); such as v5e:2x4, v6e:4x4, v5p:2x2x4, v4:2x2x4"
        ) from error
    return Mesh(np.array(devices), (sharding.AXIS,), axis_types=(AxisType.Auto,))


def read_collectives(program: str) -> dict[str, tuple[int, int]]:
    """Number and bytes of the results of each kind of collective in a compiled program's text."""
    totals: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for line in program.splitlines():
        if found := _COLLECTIVE.search(line):
            arrays = [(kind, sizes) for kind, sizes in _ARRAY.findall(found[1]) if kind in _BYTES]
            size = sum(_BYTES[kind] * math.prod(int(n) for n in sizes.split(",") if n) for kind, sizes in arrays)
            count, total = totals[found[2]]
            totals[found[2]] = (count + 1, total + size)
    return dict(totals)


def describe(step: Any, chip: Chip, chips: int, patches: int) -> str:
    """The costs of a compiled step for one of some chips, as text; `patches` are those of all satellites and chips."""
    cost, analysis, collectives = step.cost_analysis(), step.memory_analysis(), read_collectives(step.as_text())
    memory = {
        "state and batch": analysis.argument_size_in_bytes,
        "results not reusing them": analysis.output_size_in_bytes - analysis.alias_size_in_bytes,
        "temporary": analysis.temp_size_in_bytes,
        "program": analysis.generated_code_size_in_bytes,
    }
    total, accessed = sum(memory.values()), cost["bytes accessed"]
    bounds = roofline(chip, cost["flops"], accessed, sum(size for _, size in collectives.values()), chips)
    least = max(bounds, key=lambda bound: bounds[bound])
    lines = [
        "per chip and step",
        *(f"  memory, {kind:<26} {size / 1e6:12,.1f} MB" for kind, size in memory.items()),
        f"  memory, {'all':<26} {total / 1e6:12,.1f} MB, {total / chip.memory:.1%} of {chip.memory / 1e9:g} GB",
        f"  {'operations':<34} {cost['flops'] / 1e9:12,.1f} G",
        f"  {'bytes accessed':<34} {accessed / 1e6:12,.1f} MB, {accessed * chips / patches / 1e6:,.1f} MB per patch; "
        "in on-chip memory, too: at most so many of HBM",
        *(f"  {f'{n} {kind}':<34} {size / 1e6:12,.2f} MB" for kind, (n, size) in sorted(collectives.items())),
        "",
        "least time of a step, by the chip's published specifications; 'memory' as if all bytes accessed were of HBM",
        *(f"  {bound:<34} {seconds * 1e3:12.3f} ms" for bound, seconds in bounds.items()),
        f"  bound by {least}: at most {patches / bounds[least]:,.0f} patches per second on all chips",
    ]
    if cost.get("optimal_seconds", 0) > 0:
        lines.append(f"  {'the compiler estimates':<34} {cost['optimal_seconds'] * 1e3:12.3f} ms")
    return "\n".join(lines)


def main(arguments: argparse.Namespace) -> None:
    """Run the subcommand `compile`."""
    config = load_config(arguments.config)
    kind = arguments.topology.partition(":")[0]
    if kind not in CHIPS:
        raise InputError(f"unknown chip '{kind}' in --topology {arguments.topology}; there are {', '.join(CHIPS)}")
    jax.config.update("jax_platforms", "cpu")
    mesh = tpu_mesh(arguments.topology)
    if arguments.batch_per_chip is not None:
        config.batch_size = arguments.batch_per_chip * mesh.size
    if sys.stderr.isatty():
        print(f"compiling for {mesh.size} chips, some minutes ...", file=sys.stderr)
    lowered, begin = lower_step(config, mesh), time.monotonic()
    step = lowered.compile()
    patches = config.batch_size * len(training_sources(config))
    print(
        f"{mesh.size} chips of {kind}, {patches} patches per step, {patches / mesh.size:g} per chip; "
        f"compiled in {time.monotonic() - begin:.0f} s\n"
    )
    print(describe(step, CHIPS[kind], mesh.size, patches))
