"""Where the time of a compiled step goes: the profiler's events, summed by what the step's instructions do."""

import math
import re
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

WEIGHT, FORWARD = "convolutions: weight gradients", "convolutions: forward, input gradients"
COPIES, SUMS, REST = "copies and transpositions", "sums over pixels", "everything else, element by element"

_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.\-]+) = \w+\[([\d,]*)\]\S* ([\w\-]+)\((.*)$")
_OPERAND = re.compile(r"%([\w.\-]+)")
_WINDOW = re.compile(r"window=\{size=([\dx]+)")
_LAYOUT = re.compile(r"dim_labels=\w+_(\w+)->(\w+)")


def classify(program: str) -> dict[str, tuple[str, float]]:
    """Every instruction of a compiled program's text: name -> (what it does, its convolution's operations or 0).

    A weight gradient is itself compiled to a convolution: of the image with the output's gradient, which is the kernel
    then and so larger than the result. The zeros that a stride puts into an image or a kernel are not counted.
    """
    found, shapes = {}, {}
    for line in program.splitlines():
        if not (match := _INSTRUCTION.match(line)):
            continue
        name, sizes, kind, rest = match.groups()
        shape = shapes[name] = [int(size) for size in sizes.split(",") if size]
        if kind == "convolution":
            found[name] = _convolution(shape, [shapes.get(operand, []) for operand in _OPERAND.findall(rest)[:2]], rest)
        elif re.search(r"reduce|^dot", name + kind):
            found[name] = (SUMS, 0.0)
        elif re.search(r"transpose|copy", name + kind):
            found[name] = (COPIES, 0.0)
        elif kind not in ("parameter", "constant", "bitcast", "tuple", "get-tuple-element", "call", "while"):
            found[name] = (REST, 0.0)
    return found


def _convolution(shape: list[int], operands: list[list[int]], rest: str) -> tuple[str, float]:
    window, layout = _WINDOW.search(rest), _LAYOUT.search(rest)
    if not window or not layout or not operands[-1]:
        return FORWARD, 0.0
    sizes = [int(size) for size in window[1].split("x")]
    pixels = [shape[layout[2].index(axis)] for axis in "01"]
    operations = 2.0 * math.prod(shape) * math.prod(operands[-1]) / operands[-1][layout[1].index("o")]
    if "lhs_dilate" in rest:
        steps = [int(step) for step in re.findall(r"lhs_dilate=([\dx]+)", rest)[0].split("x")]
        operations /= math.prod(steps)
    return (WEIGHT if math.prod(sizes) > math.prod(pixels) else FORWARD), operations


def measure_parts(program: str, step: Callable[[], Any]) -> dict[str, tuple[float, int, float]]:
    """Takes a step under the profiler.

    Args:
      program: the compiled step's text.
      step: takes one and returns something to wait for.

    Returns:
      what is done -> (seconds, how many instructions, operations of convolutions); where several threads work, seconds
      are those of all of them.
    """
    what = classify(program)
    parts: dict[str, tuple[float, int, float]] = defaultdict(lambda: (0.0, 0, 0.0))
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            jax.block_until_ready(step())
        for name, seconds in _events(Path(folder)):
            if name in what:
                kind, operations = what[name]
                before = parts[kind]
                parts[kind] = (before[0] + seconds, before[1] + 1, before[2] + operations)
    return dict(sorted(parts.items(), key=lambda item: -item[1][0]))


def _events(folder: Path) -> Iterator[tuple[str, float]]:
    for path in folder.rglob("*.xplane.pb"):
        for plane in jax.profiler.ProfileData.from_file(str(path)).planes:
            for line in plane.lines:
                for event in line.events:
                    yield event.name, event.duration_ns / 1e9


def describe_parts(parts: dict[str, tuple[float, int, float]]) -> str:
    """The table, a line for each part."""
    total = sum(seconds for seconds, *_ in parts.values()) or 1.0
    lines = [f"  {'where the time goes':<42} {'share':>7} {'seconds':>9} {'number':>7} {'rate':>12}"]
    for what, (seconds, count, operations) in parts.items():
        rate = f"{operations / seconds / 1e9:8.1f} G/s" if operations and seconds else ""
        lines.append(f"  {what:<42} {seconds / total:7.1%} {seconds:9.3f} {count:7d} {rate:>12}")
    return "\n".join(lines)
