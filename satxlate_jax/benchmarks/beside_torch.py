"""`satxlate bench torch`: how fast PyTorch takes the step that `bench train` takes, and the ratio, taken in turns.

The published networks in plain PyTorch; decodes `repeated` as in the released code, or `once`: the same mathematics as
ours. On a GPU if PyTorch finds one. With --turns both are measured in the same minutes, each in a process of its own.
"""

import json
import os
import re
import shlex
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from satxlate_jax import atomic
from satxlate_jax.benchmarks import bench_parser
from satxlate_jax.benchmarks.train import describe_peak, describe_step
from satxlate_jax.cli import InputError, at_least, parse_names, parse_numbers, user_path
from satxlate_jax.shipped import CONFIGS
from satxlate_jax.training.channels import carries_angles, satellite_bands
from satxlate_jax.training.config import flatten, load_config

PROGRAM = Path(__file__).with_name("torch_step.py")
DECODES = ("repeated", "once")
PUBLISHED = {
    "generator.n_downsample": 0,
    "generator.skip_connection": None,
    "generator.spectral_path": "none",
    "discriminator.n_layer": 2,
    "discriminator.norm": "none",
    "discriminator.num_scales": 1,
}
"""The fields of the networks that torch_step.py does not vary."""

FAMILIES = {"VAE-GAN": "base_g16g17.py", "spectral flow": "base_flow.py"}
# precision -> config.precision, products of float32
PRECISIONS = {"float32": ("float32", "float32"), "tf32": ("float32", "tensorfloat32"), "bfloat16": ("bfloat16",) * 2}
TORCH = {"eager": (), "channels_last": ("--channels_last",), "compiled": ("--channels_last", "--compile")}
# what `bench train` and `bench torch` print -> its unit
COLUMNS = {
    **{"compiled in": "s", "operations per step": "T", "seconds per step": "s"},
    **{"patches per second": "", "peak memory": "GiB"},
}
TESTS = ("tests/test_reference.py", "tests/test_golden_reference.py")


def run_program(command: Sequence[str], environment: Mapping[str, str] | None = None) -> tuple[str, str]:
    """What a program prints, and '' or the last line of its complaint."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    return done.stdout, (done.stderr.strip().splitlines() or ["no output"])[-1] if done.returncode else ""


def run_torch(python: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Run torch_step.py in a Python that has PyTorch; InputError where it has none or the step fails."""
    try:
        # -P: the folder of the program is none to import from
        printed, complaint = run_program([python, "-P", str(PROGRAM), json.dumps(settings)])
    except OSError as error:
        raise InputError(f"--torch_python '{python}' does not run ({error.strerror})") from error
    if "No module named 'torch'" in complaint:
        raise InputError(
            f"{python} has no PyTorch: pip install 'satxlate-jax[torch]', or name one that has by --torch_python"
        )
    if complaint:
        raise InputError(f"PyTorch's step failed: {complaint}")
    return json.loads(printed.splitlines()[-1])


def torch_settings(config: Any, arguments: Any) -> dict[str, Any]:
    """The settings of torch_step.py for a configuration; InputError where it does not have them."""
    bands = [len(numbers) for numbers in satellite_bands(config).values()]
    if carries_angles(config) or len(set(bands)) > 1:
        raise InputError("`bench torch` takes the step of a vae_gan whose satellites have equally many bands")
    fields = flatten(config.to_dict())
    if unlike := [name for name, value in PUBLISHED.items() if fields[name] != value]:
        raise InputError(f"torch_step.py has config.{unlike[0]} {PUBLISHED[unlike[0]]!r} only")
    chosen = {name: getattr(arguments, name) for name in ("steps", "channels_last", "compile")}
    return chosen | {
        "bands": bands,
        "dim": config.generator.dim,
        "judge_dim": config.discriminator.dim,
        "n_res": config.generator.n_res,
        "size": config.data.patch_size,
        "batch": config.batch_size,
        "precision": "tf32" if arguments.tf32 else config.precision,
    }


def run_train(words: Sequence[str], steps: int) -> float:
    """Run `bench train`, print what it prints, and return its seconds per step."""
    command = [sys.executable, "-m", "satxlate_jax", "bench", "train", f"--steps={steps}", *words]
    printed, complaint = run_program(command)
    if complaint:
        raise InputError(f"`bench train` failed: {complaint}")
    print(printed, end="", flush=True)
    (seconds,) = re.findall(r"seconds per step +([\d.]+)", printed)
    return float(seconds)


def main(argv: Sequence[str]) -> None:
    """Run the benchmark."""
    parser = bench_parser("torch", __doc__, config=True)
    option = parser.add_argument
    option("--steps", type=at_least(1), default=5, help="steps to time (default %(default)s)")
    option("--decodes", choices=DECODES, help="as in the release, or each once (default: one after the other)")
    option("--tf32", action="store_true", help="float32 with a GPU's faster, coarser products")
    option("--channels_last", action="store_true", help="in the layout that GPUs prefer")
    option("--compile", action="store_true", help="by torch.compile")
    option("--turns", type=at_least(0), default=0, help="rounds beside `bench train` (default: PyTorch alone)")
    option("--torch_python", type=user_path, default=sys.executable, metavar="FILE", help="that has PyTorch (this one)")
    arguments, words = parser.parse_known_args(argv)
    settings = torch_settings(load_config(words), arguments)
    names = ", ".join(name for name in ("channels_last", "compile") if settings[name]) or "eager"
    ratios: dict[str, list[float]] = {name: [] for name in DECODES if name == (arguments.decodes or name)}
    for _ in range(max(arguments.turns, 1)):
        ours = run_train(words, arguments.steps) if arguments.turns else None
        for decodes, found in ratios.items():
            torch = run_torch(arguments.torch_python, settings | {"decodes": decodes})
            what = f"batch {settings['batch']}, {settings['precision']}, {names}, decodes {decodes}"
            print(f"torch {torch['version']}: {what}; {torch['device']}")
            patches = settings["batch"] * len(settings["bands"])
            print(describe_step(torch["compiled"], torch["operations"], torch["seconds"], settings["steps"], patches))
            print(describe_peak(torch["peak"]), flush=True)
            found += [torch["seconds"] / ours] if ours else []
    for decodes, found in ratios.items():
        if found:
            each = ", ".join(f"{ratio:.2f}" for ratio in found)
            print(
                f"satxlate_jax takes {statistics.median(found):.2f} times as many steps per second as PyTorch "
                f"that decodes {decodes} (median of {each})"
            )


class Line(NamedTuple):
    """What a line of the table tells of, and the command that measures it."""

    program: str
    batch: str
    precision: str
    words: tuple[str, ...]


def table_lines(arguments: Any, words: Sequence[str]) -> Iterator[Line]:
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
            command = ("bench", "translate", f"--tiles={arguments.tiles}", *own)
            yield Line(f"{family}, translate", "", precision, command)


def run_line(words: Sequence[str], precision: str) -> tuple[str, str]:
    """What a Python command prints, and '' or the last line of its complaint."""
    environment = os.environ | {"JAX_DEFAULT_MATMUL_PRECISION": PRECISIONS[precision][1]}
    return run_program([sys.executable, "-m", *words], environment)


def describe_line(line: Line, printed: str, complaint: str) -> str:
    """A line of the table."""
    found = [re.search(rf"{name} +([\d.]+)", printed) for name in COLUMNS]
    cells = [match[1] if match else "" for match in found]
    rates = re.findall(r"(the network|the whole) +([\d.]+) tiles/s", printed)
    note = complaint or ", ".join(f"{name} {rate} tiles/s" for name, rate in rates)
    return f"| {' | '.join([*line[:3], *cells, note])} |"


def main_gpu(argv: Sequence[str]) -> None:
    """The speed of both families on one GPU beside PyTorch's, as one Markdown table.

    Every line is a process of its own, so that peak memory is its own; one that fails, such as for lack of memory, says
    so. The reference tests run first, where there is a checkout. --config.FIELD=VALUE is for all lines; also runs on a
    CPU.
    """
    parser = bench_parser("gpu", main_gpu.__doc__, config=True)
    option = parser.add_argument
    option("--output", type=user_path, metavar="FILE", help="also write the table there, such as gpu.md")
    option("--batches", type=parse_numbers, default=(8, 32, 128), help="(8,32,128)")
    option("--precisions", type=parse_names, default=[*PRECISIONS], help=f"({','.join(PRECISIONS)})")
    option("--steps", type=at_least(1), default=20, help="steps to time (default %(default)s)")
    option("--tiles", type=at_least(10), default=200, help="tiles to translate (default %(default)s)")
    option("--torch_python", type=user_path, default=sys.executable, metavar="FILE", help="that has PyTorch (this one)")
    option("--dry_run", action="store_true", help="print the commands")
    arguments, words = parser.parse_known_args(argv)
    if unknown := set(arguments.precisions) - set(PRECISIONS):
        raise InputError(f"no precision '{unknown.pop()}'; there are {', '.join(PRECISIONS)}")
    if arguments.dry_run:
        print("\n".join(shlex.join(["satxlate", *line.words]) for line in table_lines(arguments, words)))
        return
    heads = ["program", "batch", "precision", *(f"{name} {unit}".strip() for name, unit in COLUMNS.items()), "note"]
    rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    if all(Path(name).is_file() for name in TESTS):
        printed, complaint = run_line(("pytest", "-q", "-m", "", *TESTS), "float32")
        rows[:0] = [f"Reference tests in float32: {(printed.strip().splitlines() or [complaint])[-1]}", ""]
    print("\n".join(rows), flush=True)
    devices = set()
    for line in table_lines(arguments, words):
        printed, complaint = run_line(("satxlate_jax", *line.words), line.precision)
        devices |= {first.rpartition("; ")[2] for first in printed.splitlines()[:1]}
        rows.append(describe_line(line, printed, complaint))
        print(rows[-1], flush=True)
    rows[:0] = [f"Measured on: {', '.join(sorted(devices))}", ""]
    print(f"\n{rows[0]}")
    if arguments.output:
        atomic.write_text(arguments.output, "\n".join(rows) + "\n")
