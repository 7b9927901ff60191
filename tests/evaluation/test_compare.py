"""The subcommand `compare`: many evaluations' scores in one table, against numbers set here."""

import csv

import numpy as np
import pytest
from PIL import Image

from satxlate_jax.__main__ import main
from satxlate_jax.evaluation.results import COLUMNS


def write_scores(folder, rmse):
    """A scores.csv as evaluate writes it; rmse is {(method, band): value}."""
    folder.mkdir(parents=True)
    lines = [",".join(COLUMNS)]
    for (method, band), value in rmse.items():
        lines.append(f"{method},G16,G17,{band},{band / 2},K,1000,0.1,0.2,{value},30,0.9,0.95")
    (folder / "scores.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def folders(tmp_path):
    """Three runs, each withholding a band; the others have a band copy, and one band a better paired baseline."""
    given = {("model", 1): 0.1, ("band_copy", 1): 0.5}
    return [
        write_scores(tmp_path / "drop_8", {("model", 8): 1.0, ("linear", 8): 2.0, ("quadratic", 8): 1.6} | given),
        write_scores(tmp_path / "drop_9", {("model", 9): 2.0, ("linear", 9): 1.0, ("sbaf", 9): 0.5} | given),
        write_scores(tmp_path / "drop_10", {("model", 10): 1.001, ("linear", 10): 1.0, ("constant", 10): 9.0} | given),
    ]


def compare(folders, output, *words):
    return main(["compare", *map(str, folders), "--output", str(output), *words])


def test_the_withheld_bands_of_many_runs_in_one_table(folders, tmp_path, capsys):
    assert compare(folders, tmp_path / "all") == 0
    printed = capsys.readouterr().out
    with (tmp_path / "all" / "comparison.csv").open() as file:
        rows = {int(row["band"]): row for row in csv.DictReader(file)}
    assert list(rows) == [8, 9, 10]  # none of the bands that the network was given
    assert [rows[band]["run"] for band in rows] == ["drop_8", "drop_9", "drop_10"]
    assert [rows[band]["best_name"] for band in rows] == ["quadratic", "linear", "linear"]
    np.testing.assert_allclose([float(rows[band]["ratio"]) for band in rows], [1 / 1.6, 2, 1.001])
    assert [rows[band]["outcome"] for band in rows] == ["ahead", "behind", "equal"]
    assert rows[9]["paired_name"] == "sbaf" and float(rows[9]["paired"]) == 0.5 and rows[8]["paired_name"] == ""
    assert "ahead of the best unpaired baseline in 1 of 3, equal within 0.5 % in 1" in printed
    assert "ahead of quadratic regression in 1 of 1" in printed
    assert "ahead of SBAF (paired) (given more than the model) in 0 of 1" in printed
    assert "behind the best unpaired baseline in band 9 (linear regression)" in printed
    with Image.open(tmp_path / "all" / "comparison.png") as picture:
        assert picture.width > 600 and len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0)) > 20


def test_all_bands_also_counts_those_that_were_given(folders, tmp_path, capsys):
    assert compare(folders, tmp_path / "all", "--all_bands") == 0
    assert "ahead of the best unpaired baseline in 4 of 6, equal" in capsys.readouterr().out


def test_one_line_for_what_cannot_work(folders, tmp_path, capsys):
    empty, other, words = (tmp_path / name for name in ("empty", "other", "words"))
    empty.mkdir()
    other.mkdir()
    (other / "scores.csv").write_text("a,b\n1,2\n")
    write_scores(words, {("model", 8): "much"})
    given = write_scores(tmp_path / "given", {("model", 1): 1.0, ("band_copy", 1): 2.0})
    file = tmp_path / "file"
    file.write_text("")
    for chosen, output, message in (
        ([tmp_path / "nowhere"], "out", "holds no scores.csv"),
        ([folders[0], empty], "out", "holds no scores.csv"),
        ([other], "out", "has no column 'method'"),
        ([words], "out", "no number"),
        ([given], "out", "--all_bands"),
        ([folders[0], folders[0]], "out", "given twice"),
        ([folders[0]], "file/out", "choose another --output"),
    ):
        assert compare(chosen, tmp_path / output) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()
