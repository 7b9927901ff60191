"""Run notebooks/translate.ipynb as a user does, on the tutorial's tiles and run."""

import json
import subprocess
import sys

from tests.documents import PROJECT, tutorial

NOTEBOOK = PROJECT / "notebooks" / "translate.ipynb"
# In a process of its own, away from Jupyter's own warnings.
EXECUTE = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=300, resources={"metadata": {"path": sys.argv[2]}}).execute()
nbformat.write(notebook, sys.argv[3])
"""


def test_the_notebook(tmp_path, monkeypatch):
    folder = tutorial() / "tutorial"
    monkeypatch.setenv("SATXLATE_RUN", str(folder / "run"))
    monkeypatch.setenv("SATXLATE_L1G", str(folder / "l1g"))
    executed = tmp_path / "executed.ipynb"
    words = [sys.executable, "-c", EXECUTE, NOTEBOOK, NOTEBOOK.parent, executed]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    outputs = [output for cell in json.loads(executed.read_text())["cells"] for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 4
    text = "".join("".join(output.get("text", [])) for output in outputs if output["output_type"] == "stream")
    assert "median standard deviation" in text and len(text.partition("band copy")[2].strip().splitlines()) == 16
    assert not [output for output in outputs if output.get("name") == "stderr"], "no warning"


def test_it_is_kept_without_outputs():
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
