"""An installation without the checkout is enough to work with: the wheel that the sdist gives, in an empty folder."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.tiny_run import PROJECT, once

pytest.importorskip("setuptools", minversion="77", reason="pip install -e '.[dev]' brings what builds a wheel")
SHARE = Path("satxlate_jax/share")


def _build(folder: Path) -> None:
    """The sdist of a checkout, the wheel of that sdist, unpacked as `pip install` does."""
    unwanted = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "demo_output")
    shutil.copytree(PROJECT, folder / "checkout", ignore=unwanted)
    code = "import sys; from setuptools import build_meta; getattr(build_meta, f'build_{sys.argv[1]}')(sys.argv[2])"
    build = [sys.executable, "-c", code]
    subprocess.run([*build, "sdist", str(folder)], cwd=folder / "checkout", check=True, capture_output=True)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(folder / "sdist", filter="data")
    source = next((folder / "sdist").iterdir())
    subprocess.run([*build, "wheel", str(folder)], cwd=source, check=True, capture_output=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "site")


@pytest.fixture(scope="module")
def site():
    return once("wheel", _build) / "site"


@pytest.fixture
def run(site, tmp_path, monkeypatch):
    """Types a command in an empty folder, where the wheel hides the checkout."""
    monkeypatch.chdir(tmp_path)

    def type_command(module, *words):
        environment = os.environ | {"PYTHONPATH": str(site)}
        done = subprocess.run([sys.executable, "-m", module, *words], env=environment, capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    return type_command


def test_the_wheel_holds_what_the_checkout_does(site):
    held = {str(path.relative_to(site)) for path in site.rglob("*") if path.is_file()}
    for path in (PROJECT / "satxlate_jax").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            assert str(path.relative_to(PROJECT)) in held
    shared = {str(SHARE / path.relative_to(PROJECT)) for path in (PROJECT / "configs").glob("*.py")}
    builder = (
        "__init__.py",
        "geonex_l1g_dataset_builder.py",
        "tfds_writer.py",
        "README.md",
        "CITATIONS.bib",
        "TAGS.txt",
    )
    shared |= {str(SHARE / "datasets" / "geonex_l1g" / name) for name in builder}
    assert {name for name in held if name.startswith(str(SHARE))} == shared
    assert {name.partition("/")[0].partition("-")[0] for name in held} == {"satxlate_jax"}  # and its dist-info


def test_paths_of_what_is_shipped(run, site):
    for name in ("configs", "configs/demo.py", "datasets/geonex_l1g", "datasets/geonex_l1g/"):
        assert run("satxlate_jax", "path", name) == (0, f"{site / SHARE / name}\n", "")
    for wrong in ("configs/none.py", "../atomic.py", "/etc/passwd", "datasets", ""):
        code, out, err = run("satxlate_jax", "path", wrong)
        assert (code, out) == (2, "") and err.count("\n") == 1 and f"'{wrong}' is not shipped" in err


@pytest.mark.parametrize("config", ["configs/demo.py", "configs/released.py:{fixtures}/full.json"])
def test_shipped_configurations_train(run, site, fixtures_dir, config):
    """They import their neighbours and the release's format; then data are missing, and the builder named is there."""
    words = [f"--config={config.format(fixtures=fixtures_dir)}", "--workdir=RUN", "--config.data.dir=DATA"]
    code, _, err = run("satxlate_jax", "train", *words)
    assert code == 2 and err.count("\n") == 1
    assert f"tfds build {site / SHARE}/datasets/geonex_l1g --config=G16 --manual_dir=L1G_ROOT" in err


@pytest.mark.slow
def test_the_demo_in_an_empty_folder(run, tmp_path):
    """It simulates, builds, trains, translates and evaluates by the commands that it prints."""
    code, out, err = run("satxlate_jax", "demo", "--output=demo", "--tiles=1", "--times=3", "--steps=2")
    assert code == 0, err[-3000:]
    assert out.count("   tfds build /") == 3 and 0 < (tmp_path / "demo/report/report.html").stat().st_size < 3_000_000
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]
