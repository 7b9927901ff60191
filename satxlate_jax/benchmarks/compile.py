"""`satxlate compile`: the real training step through the real TPU compiler, for a pod that nobody needs to hold.

    python -m satxlate_jax compile --config=configs/base_g16g17.py --topology=v5e:16x16 --batch_per_chip=8

Nothing runs; what the compiler says of memory, operations, bytes and collectives is set against the chip's published
figures. Needs the extra `tpu` (the libtpu wheel), no TPU and no data.
"""

import importlib.util
import math
import os
import re
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import AxisType, Mesh

from satxlate_jax.cli import CommandParser, InputError
from satxlate_jax.training import sharding
from satxlate_jax.training.accelerators import CHIPS, Chip, roofline
from satxlate_jax.training.assembly import build_train_step
from satxlate_jax.training.channels import streams
from satxlate_jax.training.config import load_config
from satxlate_jax.training.step_program import abstract_arguments, jit_train_step

_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "f32": 4, "s32": 4, "u32": 4, "f64": 8, "s64": 8, "u64": 8}
_COLLECTIVE = re.compile(r" = (.*?) (all-reduce|all-gather|all-to-all|reduce-scatter|collective-permute)(-start)?\(")
_ARRAY = re.compile(r"\b([a-z]+[0-9]*)\[([0-9,]*)\]")


@dataclass(frozen=True)
class Report:
    """What a compiled step costs one chip.

    Attributes:
      chips: how many there are.
      examples: patches per step, of all satellites and chips.
      memory: kind -> bytes.
      operations: floating-point operations.
      bytes_accessed: to and from memory of any kind, on-chip memory included.
      collectives: kind -> (how many, bytes of their results).
      estimate: the compiler's own estimate of a step, seconds; 0 where it gives none.
      seconds: that compiling took.
    """

    chips: int
    examples: int
    memory: dict[str, int]
    operations: float
    bytes_accessed: float
    collectives: dict[str, tuple[int, int]]
    estimate: float
    seconds: float


def tpu_mesh(topology: str) -> Mesh:
    """A mesh over the chips of a topology such as 'v5e:16x16'.

    Raises:
      InputError: libtpu is not installed, or there is no such topology.
    """
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
    """The collectives in a compiled program's text: kind -> (how many, bytes of their results on one device)."""
    totals: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for line in program.splitlines():
        if found := _COLLECTIVE.search(line):
            arrays = [(kind, sizes) for kind, sizes in _ARRAY.findall(found[1]) if kind in _BYTES]
            size = sum(_BYTES[kind] * math.prod(int(n) for n in sizes.split(",") if n) for kind, sizes in arrays)
            count, total = totals[found[2]]
            totals[found[2]] = (count + 1, total + size)
    return dict(totals)


def compile_step(config: Any, mesh: Mesh) -> Report:
    """Compiles the training step of a configuration for the chips of a mesh, which need not be there."""
    sharding.check_batch_size(config.batch_size, mesh, config.abreast)
    train_step = build_train_step(config)
    begin = time.monotonic()
    step = jit_train_step(train_step, mesh).lower(*abstract_arguments(config, train_step, mesh), 1).compile()
    seconds = time.monotonic() - begin
    cost, memory = step.cost_analysis(), step.memory_analysis()
    return Report(
        chips=mesh.size,
        examples=config.batch_size * len(streams(config)),
        memory={
            "state and batch": memory.argument_size_in_bytes,
            "results not reusing them": memory.output_size_in_bytes - memory.alias_size_in_bytes,
            "temporary": memory.temp_size_in_bytes,
            "program": memory.generated_code_size_in_bytes,
        },
        operations=cost["flops"],
        bytes_accessed=cost["bytes accessed"],
        collectives=read_collectives(step.as_text()),
        estimate=cost.get("optimal_seconds", 0.0),
        seconds=seconds,
    )


def describe(report: Report, chip: Chip) -> str:
    """A report in lines for a person."""
    total = sum(report.memory.values())
    reduced = sum(size for _, size in report.collectives.values())
    bounds = roofline(chip, report.operations, report.bytes_accessed, reduced, report.chips)
    least = max(bounds, key=lambda what: bounds[what])
    per_chip = report.examples / report.chips
    lines = [
        f"{report.chips} chips of {chip.name}, {report.examples} patches per step, {per_chip:g} per chip;"
        f" compiled in {report.seconds:.0f} s",
        "",
        "per chip and step",
        *(f"  memory, {kind:<26} {size / 1e6:12,.1f} MB" for kind, size in report.memory.items()),
        f"  memory, {'all':<26} {total / 1e6:12,.1f} MB, {total / chip.memory:.1%} of {chip.memory / 1e9:g} GB",
        f"  {'operations':<34} {report.operations / 1e9:12,.1f} G",
        f"  {'bytes accessed':<34} {report.bytes_accessed / 1e6:12,.1f} MB,"
        f" {report.bytes_accessed / per_chip / 1e6:,.1f} MB per patch; in on-chip memory, too: at most so many of HBM",
        *(
            f"  {f'{count} {kind}':<34} {size / 1e6:12,.2f} MB"
            for kind, (count, size) in sorted(report.collectives.items())
        ),
        "",
        "least time of a step, by the chip's published figures; 'memory' as if all bytes accessed were of HBM",
        *(f"  {what:<34} {seconds * 1e3:12.3f} ms" for what, seconds in bounds.items()),
        f"  bound by {least}: at most {report.examples / bounds[least]:,.0f} patches per second on all chips",
    ]
    if report.estimate > 0:
        lines.append(f"  {'the compiler estimates':<34} {report.estimate * 1e3:12.3f} ms")
    return "\n".join(lines)


def main(argv: Sequence[str]) -> int:
    """Runs the verb `compile`."""
    parser = CommandParser(
        prog="satxlate compile",
        description="Compile the training step for TPU chips that need not be there: what does it cost each of them?",
        epilog="--config=FILE.py and --config.FIELD=VALUE as in `satxlate train`.",
        allow_abbrev=False,
    )
    parser.add_argument("--topology", required=True, metavar="CHIP:SHAPE", help="such as v5e:16x16, v6e:4x4, v5p:2x2x4")
    parser.add_argument(
        "--batch_per_chip", type=int, metavar="N", help="sets config.batch_size to N times the number of chips"
    )
    arguments, words = parser.parse_known_args(argv)
    config = load_config(words)
    kind = arguments.topology.partition(":")[0]
    if kind not in CHIPS:
        raise InputError(f"unknown chip '{kind}' in --topology {arguments.topology}; there are {', '.join(CHIPS)}")
    jax.config.update("jax_platforms", "cpu")
    mesh = tpu_mesh(arguments.topology)
    if arguments.batch_per_chip is not None:
        config.batch_size = arguments.batch_per_chip * mesh.size
    if sys.stderr.isatty():
        print(f"compiling for {mesh.size} chips, some minutes ...", file=sys.stderr)
    print(describe(compile_step(config, mesh), CHIPS[kind]))
    return 0
