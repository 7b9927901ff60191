"""`satxlate bench satellites`: what a training step costs as satellites are added, with all their pairs and with a few.

Nothing runs: operations are those of the program as written, memory is what this machine's compiler plans for it. The
satellites are the first two, three, ... of the configuration; a few pairs are its objective.pairs_per_step.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from tqdm import tqdm

from satxlate_jax import atomic
from satxlate_jax.cli import CommandParser, InputError, user_path
from satxlate_jax.training import sharding
from satxlate_jax.training.assembly import build_train_step
from satxlate_jax.training.config import load_config
from satxlate_jax.training.step_program import abstract_arguments, jit_train_step

# Where code is not to run it need not be good; what memory it needs is decided before.
_QUICKLY = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
_COLOURS = ("#1b6ca8", "#e8743b", "#3a9d5d", "#8e5ea2")


def step_cost(config: Any) -> tuple[float, float]:
    """Operations of a step of all devices, and the peak memory of one in bytes, the state included.

    Args:
      config: a checked configuration.
    """
    mesh = sharding.make_mesh()
    train_step = build_train_step(config)
    lowered = jit_train_step(train_step, mesh).lower(*abstract_arguments(config, train_step, mesh), 1)
    memory = lowered.compile(_QUICKLY).memory_analysis()
    held = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    return lowered.cost_analysis()["flops"], held + memory.temp_size_in_bytes


def variants(config: Any, number: int, remat: Sequence[bool]) -> dict[str, Any]:
    """Name -> the configuration of the first `number` satellites with all pairs and with its budget."""
    found = {}
    for count in dict.fromkeys((0, config.objective.pairs_per_step)):
        for again in remat:
            variant = config.copy_and_resolve_references()
            with variant.unlocked():
                for name in list(config.data.satellites)[number:]:
                    del variant.data.satellites[name]
            variant.objective.pairs_per_step, variant.remat = count, again
            found[(f"{count} pairs" if count else "all pairs") + (", remat" if again else "")] = variant
    return found


def draw(costs: dict[str, dict[int, tuple[float, float]]], path: Path) -> None:
    """Writes the figure: operations and memory against the number of satellites, a curve per variant."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    for place, (what, scale) in enumerate((("operations per step (T)", 1e12), ("peak memory (GiB)", 2**30))):
        axes = figure.add_subplot(1, 2, place + 1)
        for colour, (name, points) in zip(_COLOURS, costs.items(), strict=False):
            values = [cost[place] / scale for cost in points.values()]
            style = "--" if "remat" in name else "-"
            axes.plot(list(points), values, style, marker="o", markersize=4, color=colour, label=name)
        axes.set_xlabel("satellites")
        axes.set_ylabel(what)
        axes.set_ylim(0)
        axes.legend(fontsize=8, frameon=False)
    with atomic.replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def main(argv: Sequence[str]) -> None:
    """Runs the benchmark.

    Raises:
      InputError: the configuration has one satellite only.
    """
    parser = CommandParser(
        prog="satxlate bench satellites",
        description=__doc__,
        epilog="--config=FILE.py and --config.FIELD=VALUE as in `satxlate train`.",
        allow_abbrev=False,
    )
    parser.add_argument("--output", type=user_path, metavar="FILE.png", help="write the figure there")
    parser.add_argument("--remat", action="store_true", help="also with config.remat")
    arguments, words = parser.parse_known_args(argv)
    config = load_config(words)
    most = len(config.data.satellites)
    if most < 2:
        raise InputError("the configuration has one satellite; two are the least to have pairs")
    costs: dict[str, dict[int, tuple[float, float]]] = {}
    remat = (False, True) if arguments.remat else (config.remat,)
    print(f"width {config.generator.dim}, batch {config.batch_size}, patches of {config.data.patch_size} pixels")
    print(f"{'satellites':>10}  {'pairs':<20} {'operations':>12} {'memory':>12}")
    for number in tqdm(range(2, most + 1), desc="bench satellites", unit="number", disable=None):
        for name, variant in variants(config, number, remat).items():
            operations, memory = costs.setdefault(name, {})[number] = step_cost(variant)
            print(f"{number:>10}  {name:<20} {operations / 1e12:10.3f} T {memory / 2**30:8.2f} GiB", flush=True)
    if arguments.output:
        draw(costs, Path(arguments.output))
