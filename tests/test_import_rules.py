"""The imports point one way: five floors, no circle, no arrow upward (design, section 2)."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
PACKAGE = PROJECT / "satxlate_jax"

EVERYWHERE = {"errors", "options", "atomic", "paths"}
# room -> the rooms of the house that it may import; EVERYWHERE may be imported by all
MAY_IMPORT = {
    "geometry": set(),
    "observations": {"observations", "geometry"},
    "models": {"models"},
    "checkpoints": set(),
    "training": {"training", "observations", "models", "checkpoints"},
    "translation": {"translation", "observations", "models", "checkpoints"},
    "evaluation": {"evaluation", "observations", "translation"},
}
# library -> the only module of the package that may import it
ONLY_IN = {
    "pyhdf": "observations/l1g.py",
    "orbax": "checkpoints.py",
    "tensorflow": "training/batches.py",
    "tensorflow_datasets": "training/batches.py",
    "torch": "training/import_torch.py",
}
MODELS_MAY_USE = {"jax", "flax", "numpy", "functools", "collections", "typing", "dataclasses", "satxlate_jax"}


def imported_names(path):
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def modules():
    return sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_from_its_own_floor_and_those_below(path):
    relative = path.relative_to(PACKAGE)
    room = relative.parts[0].removesuffix(".py")
    for name in imported_names(path):
        first, *rest = name.split(".")
        assert first not in ("datasets", "configs", "launch", "tests"), f"imports {name}"
        if first in ONLY_IN:
            assert str(relative) == ONLY_IN[first], f"only {ONLY_IN[first]} may import {first}"
        if first == "satxlate_jax" and rest and room in MAY_IMPORT:
            assert rest[0] in MAY_IMPORT[room] | EVERYWHERE | {"__version__"}, f"imports {name}"
        if room == "models":
            assert first in MODELS_MAY_USE, f"models/ imports {name}"
        if room == "observations":
            assert first not in ("jax", "flax", "optax"), f"observations/ imports {name}"


def test_nothing_that_works_on_real_tiles_imports_the_simulator():
    """Only what simulates does, and what draws scenes for the demonstration and the benchmarks."""
    for path in modules():
        relative = str(path.relative_to(PACKAGE))
        if relative.startswith("observations/scenes/") or relative == "observations/simulate.py":
            continue
        for name in imported_names(path):
            assert not name.startswith("satxlate_jax.observations.scenes"), f"{relative} imports {name}"


def test_no_module_takes_part_in_a_circle():
    graph = {}
    for path in modules():
        name = ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__")
        graph[name] = imported_names(path)
    graph = {name: {other for other in names if other in graph and other != name} for name, names in graph.items()}
    done, active = set(), []

    def visit(name):
        assert name not in active, f"circle: {' -> '.join([*active[active.index(name) :], name])}"
        if name not in done:
            active.append(name)
            for other in graph[name]:
                visit(other)
            done.add(active.pop())

    for name in graph:
        visit(name)


def test_the_builder_imports_only_observations():
    for path in (PROJECT / "datasets").rglob("*.py"):
        for name in imported_names(path):
            if name.startswith("satxlate_jax."):
                assert name.split(".")[1] in EVERYWHERE | {"observations"}, f"{path.name} imports {name}"


FORBIDDEN_WITH_THE_STEP = ("tensorflow", "tensorflow_datasets", "pyhdf", "orbax")


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("satxlate_jax.training.assembly", FORBIDDEN_WITH_THE_STEP),
        ("satxlate_jax.models.translator", FORBIDDEN_WITH_THE_STEP),
        ("satxlate_jax", ("numpy", "jax", *FORBIDDEN_WITH_THE_STEP)),
        ("satxlate_jax.__main__", ("numpy", "jax", *FORBIDDEN_WITH_THE_STEP)),
    ],
)
def test_importing_does_not_load_what_it_does_not_need(module, absent):
    """The real interpreter says what came along."""
    code = f"import sys, {module}; print(*[name for name in {absent!r} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []
