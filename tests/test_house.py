"""What keeps the code readable: modules that fit, a true drawing of the imports, no dead option, clean types."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

from tests.test_import_rules import MAY_IMPORT, PACKAGE, PROJECT, imported_names, modules

CONTRIBUTING = PROJECT / "CONTRIBUTING.md"
DRAWN = (*MAY_IMPORT, "demo", "benchmarks", "__main__")


def tool(name):
    """A program of the extra dev, beside the interpreter or on the path."""
    found = shutil.which(name, path=Path(sys.executable).parent) or shutil.which(name)
    assert found, f"no {name}: pip install -e '.[dev]'"
    return found


def draw_imports() -> str:
    """The packages and which imports which, as a mermaid flowchart; subcommands are imported lazily by __main__."""
    arrows = set()
    for path in modules():
        package = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        names = imported_names(path) if package in DRAWN else set()
        if path.name == "__main__.py":
            names = set(re.findall(r'"(satxlate_jax\.[a-z_.]+)"', path.read_text()))
        for name in names:
            first, _, rest = name.partition(".")
            other = rest.split(".")[0]
            if first == "satxlate_jax" and other != package and other in DRAWN:
                arrows.add((package, other))
    return "\n".join(["flowchart TD", *(f"  {a} --> {b}" for a, b in sorted(arrows))]) + "\n"


def test_the_drawing_of_the_imports_is_the_imports():
    """To renew it: python -m tests.test_house"""
    (drawn,) = re.findall(r"<!-- imports -->\n```mermaid\n(.*?)```", CONTRIBUTING.read_text(), re.DOTALL)
    assert drawn == draw_imports()


def test_modules_and_functions_fit():
    """Limits that a reader feels; a module is a meaning, so none is called after its lack of one."""
    for path in modules():
        text, name = path.read_text(), str(path.relative_to(PACKAGE))
        tree = ast.parse(text)
        assert len(text.splitlines()) <= 500, name
        assert ast.get_docstring(tree), name
        assert not {"utils", "helpers", "common", "misc"} & set(Path(name).with_suffix("").parts), name
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 60, f"{name}: {node.name}"


# read by validation alone: the design's name for the one family there is, beside which others may come
CHECKED_ONLY = {"generator.family"}


def fields(config, prefix=""):
    for name, value in config.items():
        if hasattr(value, "items") and name not in ("satellites", "datasets", "shared"):
            yield from fields(value, f"{prefix}{name}.")
        else:
            yield prefix + name


def test_no_field_of_the_configuration_is_dead(default_config):
    """Each is read somewhere, as an attribute, as a key or as a keyword that a whole section is handed over to."""
    code = "\n".join(path.read_text() for path in modules() if path.name != "config.py")
    for field in set(fields(default_config())) - CHECKED_ONLY:
        name = field.split(".")[-1]
        assert re.search(rf"""\.{name}\b|["']{name}["']|\b{name}: |_{name}\b""", code), field


def test_ruff():
    for words in (["check"], ["format", "--check"]):
        done = subprocess.run([tool("ruff"), *words], cwd=PROJECT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_mypy():
    done = subprocess.run([tool("mypy")], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_hooks_are_what_is_tested_here():
    text = (PROJECT / ".pre-commit-config.yaml").read_text()
    assert {"ruff check", "ruff format", "mypy"} == set(re.findall(r"name: (.+)", text))
    assert "http" not in text


def test_the_hosted_workflow_types_what_is_typed_here():
    """CONTRIBUTING's lint commands, `.ci/run` on every Python that pyproject.toml allows, a package that is checked."""
    workflow = yaml.safe_load((PROJECT / ".github" / "workflows" / "ci.yml").read_text())
    steps = {name: [step["run"] for step in job["steps"] if "run" in step] for name, job in workflow["jobs"].items()}
    documented = CONTRIBUTING.read_text().splitlines()
    assert all(command in documented for command in steps["lint"][1:])
    assert steps["tests"] == [".ci/run"]
    assert "twine check --strict dist/*" in steps["package"]
    versions = workflow["jobs"]["tests"]["strategy"]["matrix"]["python-version"]
    allowed = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert allowed == f">={versions[0]},<3.{int(versions[-1].split('.')[1]) + 1}"


if __name__ == "__main__":
    new = f"<!-- imports -->\n```mermaid\n{draw_imports()}```"
    old = CONTRIBUTING.read_text()
    CONTRIBUTING.write_text(re.sub(r"<!-- imports -->\n```mermaid\n.*?```", new, old, flags=re.DOTALL))
