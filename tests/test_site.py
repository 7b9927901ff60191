"""The documents as a site: it builds without a warning, its links lead somewhere, the interface is on it."""

import re
import subprocess
import sys
from urllib.parse import unquote

import pytest

import satxlate_jax
from tests.tiny_run import PROJECT

pytest.importorskip("sphinx", reason="pip install -e '.[dev]' brings it")


def test_the_site(tmp_path):
    words = ["-W", "-q", "-c", "docs", "-d", tmp_path / "doctrees", ".", tmp_path / "site"]
    done = subprocess.run([sys.executable, "-m", "sphinx", *words], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = {path: path.read_text() for path in (tmp_path / "site").rglob("*.html")}
    for path, text in pages.items():
        for link, anchor in re.findall(r'(?:href|src)="(?!https?:|data:|mailto:)([^"#?]*)[^"#]*(#[^"]*)?"', text):
            target = (path.parent / unquote(link)).resolve() if link else path
            assert target.exists(), f"{path}: {link}"
            assert len(anchor) < 2 or target not in pages or f'id="{anchor[1:]}"' in pages[target], f"{path}: {anchor}"
    for document in ("README.md", "CHANGELOG.md", *(f"docs/{path.name}" for path in (PROJECT / "docs").glob("*.md"))):
        assert (tmp_path / "site" / document).with_suffix(".html") in pages
    interface = pages[tmp_path / "site" / "docs" / "api.html"]
    for name in {*satxlate_jax.__all__} - {"__version__"}:
        assert f'id="satxlate_jax.{name}"' in interface and "Parameters" in interface
