"""The subcommand `pool`: parts give the tables of an evaluation in one go; what does not belong together is refused."""

import csv
import math
import shutil
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from satxlate_jax.__main__ import main
from tests.archives import write_archive
from tests.random_run import save_random_run

pytestmark = pytest.mark.usefixtures("undrawn")

BANDS = {"G16": (2, 3, 13), "H8": (3, 13)}
TABLES = ("scores.csv", "scores_per_file.csv", "scores_by_group.csv", "details.csv")


def evaluate(run: Path, root: Path, output: Path, *words: str) -> int:
    arguments = ["--checkpoint", run, "--l1g", root, "--source", "G16", "--target", "H8", "--output", output]
    words = ("--pictures", "0", "--baselines", "constant,linear,sbaf", "--samples", "2", *words)
    return main(["evaluate", *map(str, arguments), *words])


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """An archive of five times, evaluated at once and in two parts."""
    folder = tmp_path_factory.mktemp("pool")
    run = save_random_run(folder / "run", BANDS, dim=4)
    write_archive(folder / "l1g", BANDS, ["h02v05"], [datetime(2019, 1, day, 22) for day in range(1, 6)])
    assert evaluate(run, folder / "l1g", folder / "whole") == 0
    for part in (1, 2):
        assert evaluate(run, folder / "l1g", folder / f"part{part}", "--part", f"{part}/2") == 0
    return folder


def pool(made: Path, output: Path, *parts: str) -> int:
    return main(["pool", *(str(made / part) for part in parts), "--output", str(output)])


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_parts_give_the_tables_of_the_whole(made, tmp_path, capsys):
    assert pool(made, tmp_path, "part2", "part1") == 0
    printed = capsys.readouterr().out
    assert "5 files of 2 of 2 parts" in printed and "missing" not in printed
    for table in TABLES:
        whole, pooled = rows(made / "whole" / table), rows(tmp_path / table)
        assert len(whole) == len(pooled) > 0
        for expected, found in zip(whole, pooled, strict=True):
            for column, text in expected.items():
                if column in ("tile", "time", "file", "group", "method", "source", "target", "unit", "truth"):
                    assert found[column] == text
                else:
                    same = math.isclose(float(found[column]), float(text), rel_tol=1e-6, abs_tol=1e-9)
                    assert same or found[column] == text == "nan", (table, column)
    assert (tmp_path / "scores.tex").read_text() == (made / "whole" / "scores.tex").read_text()
    assert len(rows(made / "part1" / "scores_per_file.csv")) < len(rows(tmp_path / "scores_per_file.csv"))


def test_the_same_part_twice_is_refused(made, tmp_path, capsys):
    shutil.copytree(made / "part1", tmp_path / "copy")
    for again, message in (("part1", "given twice"), (str(tmp_path / "copy"), "both scored GO16")):
        assert pool(made, tmp_path / "out", "part1", again) == 2
        assert message in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_another_evaluation_is_refused(made, tmp_path, capsys):
    run = made / "run"
    assert evaluate(run, made / "l1g", tmp_path / "other", "--part", "2/2", "--fit_files", "1") == 0
    assert pool(made, tmp_path / "out", "part1", str(tmp_path / "other")) == 2
    assert "no part of the same evaluation" in (line := capsys.readouterr().err) and "--fit_files" in line
    assert evaluate(run, made / "l1g", tmp_path / "third", "--part", "3/3") == 0
    assert pool(made, tmp_path / "out", "part1", str(tmp_path / "third")) == 2
    assert "one of 3 parts" in capsys.readouterr().err


def test_a_part_that_is_not_given_is_named(made, tmp_path, capsys):
    assert pool(made, tmp_path, "part1") == 0
    assert "missing: 2/2" in capsys.readouterr().out


def test_a_part_in_which_nothing_can_be_scored_adds_nothing(made, tmp_path, capsys):
    """Of the two files the last is damaged, and alone in its part."""
    write_archive(tmp_path / "l1g", BANDS, ["h02v05"], [datetime(2019, 1, day, 22) for day in (1, 2)])
    (damaged,) = (tmp_path / "l1g").rglob("GO16*20190102*.hdf")
    damaged.write_bytes(damaged.read_bytes()[:100])
    for output, words in (("whole", ()), ("part1", ("--part", "1/2")), ("part2", ("--part", "2/2"))):
        assert evaluate(made / "run", tmp_path / "l1g", tmp_path / output, *words) == 0
    assert "none of 1 files of this part could be scored" in capsys.readouterr().out
    parts = [str(tmp_path / f"part{part}") for part in (2, 1)]
    assert pool(made, tmp_path / "out", *parts) == 0
    for table in ("scores.csv", "scores_per_file.csv"):
        whole, pooled = rows(tmp_path / "whole" / table), rows(tmp_path / "out" / table)
        np.testing.assert_allclose([float(row["rmse"]) for row in pooled], [float(row["rmse"]) for row in whole], 1e-6)
    assert pool(made, tmp_path / "none", parts[0]) == 2
    assert "in none of these parts" in capsys.readouterr().err and not (tmp_path / "none").exists()


@pytest.mark.parametrize("damage", ["missing", "cut", "not an archive", "without what it is about"])
def test_damaged_sums_are_refused(damage, made, tmp_path, capsys):
    sums = (made / "part1" / "sums.npz").read_bytes()
    if damage == "cut":
        (tmp_path / "sums.npz").write_bytes(sums[: len(sums) // 2])
    elif damage == "not an archive":
        (tmp_path / "sums.npz").write_text("scores")
    elif damage == "without what it is about":
        np.savez(tmp_path / "sums.npz", scores=np.zeros(3))
    assert main(["pool", str(tmp_path), "--output", str(tmp_path / "out")]) == 2
    assert "sums.npz" in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.parametrize("part", ["0/2", "3/2", "2", "a/b", "-1/2"])
def test_a_part_that_is_none_is_refused(part, made, tmp_path, capsys):
    assert evaluate(made / "run", made / "l1g", tmp_path / "out", f"--part={part}") == 2
    assert "is not a part K/N" in capsys.readouterr().err


def test_an_empty_part_is_refused(made, tmp_path, capsys):
    assert evaluate(made / "run", made / "l1g", tmp_path / "out", "--part", "9/9") == 2
    assert "part 9/9 of 5 files is empty" in capsys.readouterr().err
