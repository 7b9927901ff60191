"""Imports point one way (design, section 2), and importing a part loads no library that it does not need."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
PACKAGE = PROJECT / "satxlate_jax"

EVERYWHERE = {
    "beam",
    "cli",
    "atomic",
    "cpus",
    "instruments",
    "geometry",
    "options",
    "regression",
    "run_card",
    "shipped",
    "wavelength_axis",
}
# package -> the packages that it may import beside itself; EVERYWHERE may be imported by all
MAY_IMPORT = {
    "archive": set(),
    "l1g": {"archive"},
    "sources": {"archive", "l1g"},
    "dataset": {"archive", "l1g"},
    "models": set(),
    "checkpoints": set(),
    "training": {"dataset", "models", "checkpoints", "compilation"},
    "translation": {"archive", "l1g", "sources", "models", "checkpoints", "compilation"},
    "evaluation": {"archive", "l1g", "translation", "compilation"},
    "simulator": {"archive", "l1g"},
}
WITHOUT_JAX = ("archive", "l1g", "sources", "dataset", "simulator", *EVERYWHERE)
# library -> the only modules of the package that may import it
ONLY_IN = {
    "pyhdf": "l1g/reader.py",
    "orbax": "checkpoints.py",
    "tensorflow": "training/input.py",
    "tensorflow_datasets": "training/input.py dataset/records.py dataset/tile_patches.py",
    "torch": "training/torch_reference.py benchmarks/torch_step.py",
    "apache_beam": "beam.py dataset/beam.py",
    "zarr": "translation/zarr.py",
    "pickle": "l1g/isolation.py",  # between a process and its own children, never a file
}
MODELS_MAY_USE = {"jax", "flax", "numpy", "satxlate_jax"} | set(
    "collections dataclasses functools itertools math operator typing".split()
)


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


def forbidden(path):
    """What a module imports and may not."""
    relative = path.relative_to(PACKAGE)
    package = relative.parts[0].removesuffix(".py")
    for name in imported_names(path):
        first, *rest = name.split(".")
        wrong = first in ("datasets", "configs", "launch", "tests")
        wrong |= first in ("satpy", "pyresample", "pyorbital", "fsspec") and package != "sources"
        wrong |= first in ONLY_IN and str(relative) not in ONLY_IN[first].split()
        if first == "satxlate_jax" and rest:
            wrong |= package in MAY_IMPORT and rest[0] not in MAY_IMPORT[package] | {
                package,
                "__version__",
                *EVERYWHERE,
            }
            wrong |= package in EVERYWHERE and rest[0] not in EVERYWHERE
        wrong |= package == "models" and first not in MODELS_MAY_USE
        wrong |= package in WITHOUT_JAX and first in ("jax", "flax", "optax")
        if wrong:
            yield f"{relative} imports {name}"


def test_imports_point_one_way():
    assert not [fault for path in modules() for fault in forbidden(path)]


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


def test_the_builder_imports_no_jax():
    for path in (PROJECT / "datasets").rglob("*.py"):
        for name in imported_names(path):
            if name.startswith("satxlate_jax."):
                assert name.split(".")[1] in WITHOUT_JAX, f"{path.name} imports {name}"


FORBIDDEN_WITH_THE_STEP = ("tensorflow", "tensorflow_datasets", "pyhdf", "orbax")


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("satxlate_jax.training.build_step", FORBIDDEN_WITH_THE_STEP),
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


ANSWER_ALL = """
import contextlib, io, sys
from satxlate_jax.__main__ import SUBCOMMANDS, main
for name in SUBCOMMANDS:
    with contextlib.redirect_stdout(io.StringIO()) as page, contextlib.suppress(SystemExit):
        main([name, "--help"])
    assert page.getvalue().startswith(f"usage: satxlate {name}"), name
    with contextlib.redirect_stderr(io.StringIO()) as complaint:
        assert main([name, "--wrong"]) == 2, name
    assert "--wrong" in complaint.getvalue() and complaint.getvalue().count("\\n") == 1, complaint.getvalue()
print(*sys.modules)
"""


def test_help_and_wrong_options_need_no_library():
    """Of every subcommand, so that both are answered at once."""
    run = subprocess.run([sys.executable, "-c", ANSWER_ALL], capture_output=True, text=True, check=True)
    large = {"numpy", "scipy", "pandas", "matplotlib", "xarray", "jax", *FORBIDDEN_WITH_THE_STEP}
    assert not large & {*run.stdout.split()}
