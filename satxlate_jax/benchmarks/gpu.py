"""`satxlate bench gpu`: the speed of both families on one GPU beside PyTorch's, as one Markdown table.

Every line is a process of its own, so that peak memory is its own; one that fails, such as for lack of memory, says so.
The reference tests run first, where there is a checkout. --config.FIELD=VALUE is for all lines; also runs on a CPU.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from satxlate_jax import atomic
from satxlate_jax.benchmarks import config_parser
from satxlate_jax.cli import InputError, at_least, option_type, parse_names, parse_numbers, user_path
from satxlate_jax.shipped import CONFIGS

FAMILIES = {"VAE-GAN": "base_g16g17.py", "spectral flow": "base_flow.py"}
# precision -> config.precision, products of float32
PRECISIONS = {"float32": ("float32", "float32"), "tf32": ("float32", "tensorfloat32"), "bfloat16": ("bfloat16",) * 2}
TORCH = {"eager": (), "channels_last": ("--channels_last",), "compiled": ("--channels_last", "--compile")}
COLUMNS = ("compiled in", "operations per step", "seconds per step", "patches per second", "peak memory")
UNITS = ("s", "T", "s", "", "GiB")
TESTS = ("tests/test_reference.py", "tests/test_golden_reference.py")


class Line(NamedTuple):
    """What a line of the table tells of, and the command that measures it."""

    program: str
    batch: str
    precision: str
    words: tuple[str, ...]


def lines(arguments: Any, words: Sequence[str]) -> Iterator[Line]:
    """The lines; those to be compared follow each other."""
    steps = f"--steps={arguments.steps}"
    for family, name in FAMILIES.items():
        config = f"--config={CONFIGS / name}"
        for batch in map(str, arguments.batches):
            for precision in arguments.precisions:
                own = (config, *words, "--config.batch_size=" + batch, "--config.precision=" + PRECISIONS[precision][0])
                yield Line(family, batch, precision, ("bench", "train", steps, *own))
                for how, options in TORCH.items() if family == "VAE-GAN" else ():
                    options = (*options, *(("--tf32",) if precision == "tf32" else ()), "--decodes=repeated", steps)
                    python = f"--torch_python={arguments.torch_python}"
                    yield Line(f"PyTorch {how}", batch, precision, ("bench", "torch", python, *options, *own))
        for precision in arguments.precisions:
            own = (config, *words, "--config.precision=" + PRECISIONS[precision][0])
            yield Line(
                f"{family}, translate", "", precision, ("bench", "translate", f"--tiles={arguments.tiles}", *own)
            )


def run(words: Sequence[str], precision: str) -> tuple[str, str]:
    """What a Python command prints, and '' or the last line of its complaint."""
    environment = os.environ | {"JAX_DEFAULT_MATMUL_PRECISION": PRECISIONS[precision][1]}
    done = subprocess.run([sys.executable, "-m", *words], env=environment, capture_output=True, text=True)
    complaint = (done.stderr.strip().splitlines() or ["no output"])[-1] if done.returncode else ""
    return done.stdout, complaint


def describe(line: Line, printed: str, complaint: str) -> str:
    """A line of the table."""
    found = [re.search(rf"{name} +([\d.]+)", printed) for name in COLUMNS]
    cells = [match[1] if match else "" for match in found]
    rates = re.findall(r"(the network|the whole) +([\d.]+) tiles/s", printed)
    note = complaint or ", ".join(f"{name} {rate} tiles/s" for name, rate in rates)
    return f"| {' | '.join([*line[:3], *cells, note])} |"


def main(argv: Sequence[str]) -> None:
    """Runs the benchmark.

    Raises:
      InputError: a mistake in what was handed in.
    """
    parser = config_parser("bench gpu", __doc__)
    option = parser.add_argument
    option("--output", type=user_path, metavar="FILE", help="also write the table there, such as gpu.md")
    option("--batches", type=option_type(parse_numbers), default=(8, 32, 128), help="(8,32,128)")
    option("--precisions", type=option_type(parse_names), default=[*PRECISIONS], help=f"({','.join(PRECISIONS)})")
    option("--steps", type=at_least(1), default=20, help="steps to time (default %(default)s)")
    option("--tiles", type=at_least(10), default=200, help="tiles to translate (default %(default)s)")
    option("--torch_python", type=user_path, default=sys.executable, metavar="FILE", help="that has PyTorch (this one)")
    option("--dry_run", action="store_true", help="print the commands")
    arguments, words = parser.parse_known_args(argv)
    if unknown := set(arguments.precisions) - set(PRECISIONS):
        raise InputError(f"no precision '{unknown.pop()}'; there are {', '.join(PRECISIONS)}")
    if arguments.dry_run:
        print("\n".join(shlex.join(["satxlate", *line.words]) for line in lines(arguments, words)))
        return
    heads = [
        "program",
        "batch",
        "precision",
        *(f"{name} {unit}".strip() for name, unit in zip(COLUMNS, UNITS, strict=True)),
        "note",
    ]
    rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    if all(Path(name).is_file() for name in TESTS):
        printed, complaint = run(("pytest", "-q", "-m", "", *TESTS), "float32")
        rows[:0] = [f"Reference tests in float32: {(printed.strip().splitlines() or [complaint])[-1]}", ""]
    print("\n".join(rows), flush=True)
    devices = set()
    for line in lines(arguments, words):
        printed, complaint = run(("satxlate_jax", *line.words), line.precision)
        devices |= {first.rpartition("; ")[2] for first in printed.splitlines()[:1]}
        rows.append(describe(line, printed, complaint))
        print(rows[-1], flush=True)
    rows[:0] = [f"Measured on: {', '.join(sorted(devices))}", ""]
    print(f"\n{rows[0]}")
    if arguments.output:
        atomic.write_text(arguments.output, "\n".join(rows) + "\n")
