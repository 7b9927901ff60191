"""A full disk, no accelerator, Ctrl-C: one line, the right exit code, nothing half-written left behind."""

import contextlib
import os
import resource
import shlex
import signal
import subprocess
import sys
import time
from datetime import datetime

import jax
import pytest

from satxlate_jax.__main__ import main
from tests import tiny_run
from tests.archives import write_archive
from tests.random_run import save_random_run

BANDS = {"G16": (8, 16), "G17": (8, 16)}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("machine")
    write_archive(root / "l1g", BANDS, ["h09v03"], [datetime(2019, 2, 5, 18)])
    save_random_run(root / "run", BANDS, dim=4)
    return root


@contextlib.contextmanager
def full_disk(size=4096):
    """No file may grow beyond `size` bytes: what a program sees of a full disk, without filling one.

    Around the command only: pytest's own output may be a longer file. Nor are compiled programs kept meanwhile: half a
    one would be what other tests find.
    """
    least = jax.config.jax_persistent_cache_min_compile_time_secs
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1e9)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", least)


FULL = [
    "translate --checkpoint run --to G17 l1g --workers 1",
    "translate --checkpoint run --to G17 l1g --workers 1 --zarr",
    "evaluate --checkpoint run --l1g l1g --source G16 --target G17 --pictures 0 --baselines band_copy",
    "catalog l1g",
]


@pytest.mark.parametrize("words", FULL)
def test_a_full_disk(words, place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(place)
    with full_disk():
        assert main([*words.split(), "--output", str(tmp_path / "new")]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "space" in line
    for path in (tmp_path / "new").rglob("*"):  # what is there is whole, and has its own name
        assert not path.name.startswith(".") and not path.name.endswith((".tmp", ".part")), path


def test_a_full_disk_while_simulating(tmp_path):
    """In a process of its own, because the HDF4 library does not survive it."""
    words = f"simulate --tiles 1 --times 1 --satellites G16 --output {tmp_path / 'new'}"
    command = f"ulimit -f 4; exec {sys.executable} -m satxlate_jax {words}"
    done = subprocess.run(["bash", "-c", command], cwd=tiny_run.PROJECT, capture_output=True, text=True)
    assert done.returncode == 2 and "check space and permissions" in done.stderr.strip().splitlines()[-1]
    assert not [path for path in (tmp_path / "new").rglob("*") if path.is_file()]


def test_a_full_disk_while_training(tmp_path, data):
    """In a process of its own: the save's coroutines, which nobody waits for any more, would be reported at its end."""
    words = tiny_run.train_command(tmp_path / "run", data, "--config.steps=0")
    command = f"ulimit -f 24; exec {shlex.join(map(str, words))}"
    done = subprocess.run(["bash", "-c", command], cwd=tiny_run.PROJECT, capture_output=True, text=True)
    lines = [line for line in done.stderr.splitlines() if line.startswith("satxlate train: ")]
    assert done.returncode == 2 and len(lines) == 1 and "space" in lines[0], done.stderr[-2000:]
    assert not [word for word in ("Traceback", "Event loop", "never awaited") if word in done.stderr], done.stderr
    assert not [path for path in (tmp_path / "run" / "checkpoints").iterdir() if path.name.isdecimal()]


@pytest.mark.parametrize(("subcommand", "platform"), [("train", "cuda"), ("translate", "cuda"), ("translate", "tpu")])
def test_no_accelerator(subcommand, platform, place, tmp_path, data):
    words = tiny_run.train_command(tmp_path / "new", data)
    if subcommand == "translate":
        words = [*words[:3], "translate", "--checkpoint=run", "--to=G17", "l1g", f"--output={tmp_path / 'new'}"]
    environment = os.environ | {"JAX_PLATFORMS": platform, "TPU_SKIP_MDS_QUERY": "1"}
    done = subprocess.run(words, cwd=place, env=environment, capture_output=True, text=True)
    lines = [line for line in done.stderr.splitlines() if line.startswith("satxlate ")]
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr[-2000:]
    assert len(lines) == 1 and platform in lines[0] and "JAX_PLATFORMS" in lines[0]
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_control_c(tmp_path, workers):
    """While tiles are simulated: what was written is whole. A terminal tells all processes of its group."""
    # what a shell starts in the background ignores SIGINT, and so would the program that a test there starts
    words = ["env", "--default-signal=INT", sys.executable, "-m", "satxlate_jax", "simulate", "--times=500"]
    words += ["--output", str(tmp_path / "new"), f"--workers={workers}"]
    process = subprocess.Popen(words, cwd=tiny_run.PROJECT, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        while not list((tmp_path / "new").rglob("*.hdf")):
            assert process.poll() is None
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        error = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    assert process.returncode == 130 and error == "satxlate simulate: interrupted\n"
    assert not list((tmp_path / "new").rglob(".*"))


SWALLOWING = """
import os, signal
try:
    os.kill(os.getpid(), signal.SIGINT)
except BaseException:
    pass
def main(options):
    print("went on")
"""


def test_control_c_while_a_library_is_imported_that_takes_it_for_an_error(tmp_path):
    (tmp_path / "swallowing.py").write_text(SWALLOWING)
    program = "import sys; from satxlate_jax import __main__ as m; m.SUBCOMMANDS['runs'] = ('swallowing', ''); "
    program += "sys.exit(m.run())"
    command = ["env", "--default-signal=INT", sys.executable, "-c", program, "runs"]
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{tiny_run.PROJECT}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "satxlate: interrupted\n")


def test_a_reader_that_has_had_enough():
    """`satxlate ... | head` ends quietly."""
    command = f"{sys.executable} -m satxlate_jax --help | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=tiny_run.PROJECT, capture_output=True, text=True)
    assert done.returncode in (0, 141) and not done.stderr
