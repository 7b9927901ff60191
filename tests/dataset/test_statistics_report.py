import csv
from datetime import datetime

import numpy as np
import pytest

from satxlate_jax.__main__ import main
from satxlate_jax.l1g.reader import read_tile
from tests.archives import build_data_set, write_archive

TIMES = [datetime(2020, 5, day, 18) for day in (1, 2, 3)]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    root, data = tmp_path_factory.mktemp("l1g"), tmp_path_factory.mktemp("data")
    for path in write_archive(root, {"G16": (2, 13)}, ["h10v05"], TIMES[:1]):
        tile = read_tile(path, bands=[2, 13])  # patches of 300: the one tile is the one example
    build_data_set(root, data, "G16_two", satellite="G16", bands=[2, 13], patch_size=300)
    write_archive(root, {"H8": (3,)}, ["h50v08"], TIMES)
    build_data_set(root, data, "H8_one", satellite="H8", bands=[3], patch_size=300)
    return data, tile


def test_table_and_figure(data_dir, tmp_path, capsys):
    data, tile = data_dir
    assert main(["statistics", str(data), "--output", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "G16_two/1.0.0 (G16)" in printed and "H8_one/1.0.0 (H8)" in printed
    with (tmp_path / "out/statistics.csv").open() as file:
        rows = {(row["data_set"], row["band"]): row for row in csv.DictReader(file)}
    assert set(rows) == {("G16_two/1.0.0", "BAND02"), ("G16_two/1.0.0", "BAND13"), ("H8_one/1.0.0", "BAND03")}
    row = rows["G16_two/1.0.0", "BAND13"]
    values = tile["BAND13"].values.astype(np.float64)
    assert float(row["mean"]) == pytest.approx(values.mean(), abs=0.005)
    assert float(row["std"]) == pytest.approx(values.std(), abs=0.005)
    assert f"{values.mean():.1f}" in printed
    assert (float(row["published_mean"]), float(row["finite_percent"])) == (274.869, 100)
    assert (tmp_path / "out/statistics.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["statistics.csv", "statistics.png"]


@pytest.mark.parametrize(
    "words, complaint",
    [
        (["nowhere"], "'nowhere' is not a folder"),
        (["{empty}"], "no statistics.json in or below"),
        (["{data}/geonex_l1g/G16_two", "--split", "test"], "has a split 'test'"),
        (["{data}", "--output", "{data}/geonex_l1g/G16_two/1.0.0/statistics.json"], "cannot write to"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(data_dir, tmp_path, capsys, words, complaint):
    words = [word.format(empty=tmp_path, data=data_dir[0]) for word in words]
    assert main(["statistics", *words]) == 2
    assert complaint in capsys.readouterr().err
