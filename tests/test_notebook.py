"""Run the notebooks as a user does: on the tutorial's tiles and run, and on the granules that lie beside them."""

import json
import re
import subprocess
import sys

import pytest

from tests.documents import PROJECT, tutorial

NOTEBOOKS = PROJECT / "notebooks"
# In a process of its own, away from Jupyter's own warnings.
EXECUTE = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=300, resources={"metadata": {"path": sys.argv[2]}}).execute()
nbformat.write(notebook, sys.argv[3])
"""


def execute(notebook, folder):
    """The number of pictures and the text that a notebook gives; it warns of nothing."""
    executed = folder / "executed.ipynb"
    words = [sys.executable, "-c", EXECUTE, NOTEBOOKS / notebook, NOTEBOOKS, executed]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    outputs = [output for cell in json.loads(executed.read_text())["cells"] for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.get("name") == "stderr"], "no warning"
    text = "".join("".join(output.get("text", [])) for output in outputs if output["output_type"] == "stream")
    return sum("image/png" in output.get("data", {}) for output in outputs), text


def test_a_tile(tmp_path, monkeypatch):
    folder = tutorial() / "tutorial"
    monkeypatch.setenv("SATXLATE_RUN", str(folder / "run"))
    monkeypatch.setenv("SATXLATE_L1G", str(folder / "l1g"))
    pictures, text = execute("translate.ipynb", tmp_path)
    assert pictures == 4
    assert "median standard deviation" in text and len(text.partition("band copy")[2].strip().splitlines()) == 16


def test_granules(tmp_path):
    pytest.importorskip("satpy", reason="pip install -e '.[l1b]' brings it")
    pictures, text = execute("granules.ipynb", tmp_path)
    assert pictures == 1 and "C08 (6.185 um)" in text
    found = dict(re.findall(r"([\d.]+) um: median ([\d.]+) K, its standard deviation [\d.]+ K", text))
    assert list(found) == ["3.9", "9.6", "13.3"]
    assert 245 < float(found["9.6"]) < float(found["13.3"]) < 285  # as over California on most days


def test_they_are_kept_without_outputs():
    for path in NOTEBOOKS.glob("*.ipynb"):
        cells = json.loads(path.read_text())["cells"]
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells), path.name
