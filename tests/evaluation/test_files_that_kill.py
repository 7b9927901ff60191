"""Files that end any process which reads them cost `evaluate`, `quicklook` and `animate` nothing but themselves."""

import csv
import json
from datetime import datetime
from types import SimpleNamespace

import pytest

from satxlate_jax.__main__ import main
from tests.archives import make_deadly, write_archive
from tests.random_run import save_random_run

pytestmark = pytest.mark.usefixtures("undrawn")

TILE = "h02v05"
TIMES = [datetime(2019, 2, day, 22) for day in range(1, 6)]
BANDS = {"G16": (2, 13), "H8": (2, 3, 13)}


@pytest.fixture
def run_command(capsys):
    """Runs a command in this process, which the old fault would end."""

    def run(*words):
        capsys.readouterr()
        code = main([*map(str, words)])
        return SimpleNamespace(returncode=code, stdout=(printed := capsys.readouterr()).out, stderr=printed.err)

    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return save_random_run(tmp_path_factory.mktemp("kill") / "run", BANDS, dim=4)


@pytest.fixture
def archive(tmp_path):
    """Root, and time -> satellite -> file."""
    paths = write_archive(tmp_path / "l1g", BANDS, [TILE], TIMES)
    half = len(TIMES)
    return tmp_path / "l1g", [
        {"G16": source, "H8": truth} for source, truth in zip(paths[:half], paths[half:], strict=True)
    ]


def test_an_evaluation_goes_on_and_names_them(run_command, run, archive, tmp_path):
    """One among the sources, one among the truths, one among the files that the baselines are fitted on."""
    root, files = archive
    bad = [make_deadly(path) for path in (files[0]["G16"], files[1]["H8"], files[4]["H8"])]
    words = ["--checkpoint", run, "--l1g", root, "--source", "G16", "--target", "H8", "--days", "32-34"]
    done = run_command("evaluate", *words, "--pictures", "0", "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "2 of 3 files were left out" in done.stdout and "ended the process" in done.stdout
    with (tmp_path / "out" / "scores_per_file.csv").open() as file:
        assert {row["time"] for row in csv.DictReader(file)} == {"2019-02-03T22:00Z"}
    report = (tmp_path / "out" / "report.html").read_text()
    assert all(path.name in report for path in bad[:2])
    assert f"{bad[2].name}" in done.stdout + done.stderr  # not fitted on
    listed = [json.loads(line) for line in (tmp_path / "out" / "failures.jsonl").read_text().splitlines()]
    assert [entry["file"] for entry in listed] == [bad[0].name, files[1]["G16"].name]
    assert all("ended the process that read it (SIG" in entry["reason"] for entry in listed)
    assert bad[1].name in listed[1]["reason"]


def test_an_evaluation_of_nothing_else_says_why(run_command, run, archive, tmp_path):
    root, files = archive
    for pair in files:
        make_deadly(pair["G16"])
    words = ["--checkpoint", run, "--l1g", root, "--source", "G16", "--target", "H8", "--baselines", "constant"]
    done = run_command("evaluate", *words, "--output", tmp_path / "out")
    assert done.returncode == 2 and done.stderr.strip().count("\n") == 0, done.stderr
    assert "ended the process that read it" in done.stderr


def test_the_other_tiles_are_drawn(run_command, archive, tmp_path):
    _, files = archive
    bad, good = make_deadly(files[0]["G16"]), files[1]["G16"]
    out = ["--no_coastlines", "--output", tmp_path / "out"]
    done = run_command("quicklook", bad, good, "--bands", "13", *out)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == [f"{good.stem}_band13.png"]
    assert bad.name in done.stdout and "1 of 2 files" in done.stdout and "ended the process" in done.stdout
    for words in ([bad], [good, "--against", bad], [good, "--green", bad]):
        done = run_command("quicklook", *words, *out)
        assert done.returncode == 2 and bad.name in done.stderr and done.stderr.strip().count("\n") == 0, done.stderr


def test_the_other_frames_are_animated(run_command, run, archive, tmp_path):
    from PIL import Image

    root, files = archive
    translated = ["--to", "H8", *(pair["G16"] for pair in files[:3]), "--output", tmp_path / "nc", "--workers", "1"]
    assert run_command("translate", "--checkpoint", run, *translated).returncode == 0
    bad = make_deadly(files[1]["G16"])
    words = [tmp_path / "nc", "--l1g", root, "--no_coastlines", "--output", tmp_path / "out" / "day.gif"]
    done = run_command("animate", *words)
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "out" / "day.gif") as animation:
        assert animation.n_frames == 2
    assert "2 frames" in done.stdout and bad.name in done.stdout and "1 of 3" in done.stdout
    for pair in files:
        make_deadly(pair["G16"]) if pair["G16"] != bad else None
    done = run_command("animate", *words[:-1], tmp_path / "none.gif")
    assert done.returncode == 2 and done.stderr.strip().count("\n") == 0, done.stderr
    assert not list(tmp_path.glob("*none*"))
