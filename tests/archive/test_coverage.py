"""The subcommand `catalog`: coverage, lists of pairs, the remembered walk."""

import csv
import os
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from satxlate_jax.__main__ import main
from satxlate_jax.archive.catalog import (
    PAIR_COLUMNS,
    FolderIndex,
    find_inputs,
    find_tiles,
    locate_pairs,
    parse_name,
    read_pairs,
    relative_path,
    write_pairs,
)
from satxlate_jax.archive.coverage import describe, find_gaps, summarize_tiles, tabulate
from satxlate_jax.cli import InputError

START = datetime(2019, 12, 30)


def touch(root, satellite, tile, time):
    path = root / relative_path(satellite, tile, time)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


@pytest.fixture
def archive(tmp_path):
    """Six days over new year, two times a day; day 3 lacks, and G17 lacks tile h10v03 on the last day."""
    root = tmp_path / "archive"
    for day in (0, 1, 2, 4, 5):
        for hour in (0, 12):
            time = START + timedelta(days=day, hours=hour)
            for tile in ("h09v03", "h10v03"):
                touch(root, "G16", tile, time)
                if not (day == 5 and tile == "h10v03"):
                    touch(root, "G17", tile, time)
    return root


def settle(root):
    """Makes all folders look old, so that they are remembered."""
    for folder, _, _ in os.walk(root):
        os.utime(folder, (1e9, 1e9))


def test_coverage_counts_and_gaps(archive):
    table = tabulate(find_tiles(archive))
    tiles = summarize_tiles(table)
    assert tiles.loc["G16", "h10v03"].to_dict() == {"files": 10, "missing_times": 0, "days": 5, "missing_days": 0}
    assert tiles.loc["G17", "h10v03"].to_dict() == {"files": 8, "missing_times": 2, "days": 4, "missing_days": 1}
    assert find_gaps(table["day"]) == [(date(2020, 1, 2), date(2020, 1, 2))]
    lines = describe(table).splitlines()
    assert lines[0].split() == "satellite files tiles days times first (UTC) last (UTC) missing".split()
    assert lines[1].split() == "G16 20 2 5 10 2019-12-30 00:00 2020-01-04 12:00 0 (0.0%)".split()
    assert lines[2].split()[-2:] == ["2", "(10.0%)"]


def test_the_subcommand_prints_a_table_and_writes_files(archive, tmp_path, capsys):
    assert main(["catalog", str(archive), "--output", str(tmp_path / "out"), "--pairs", "G16,G17"]) == 0
    said = capsys.readouterr().out
    assert [line.split()[:2] for line in said.splitlines()[1:3]] == [["G16", "20"], ["G17", "18"]]
    assert "G17: tile h10v03 lacks 2 of 10 times, 1 of 5 days entirely" in said
    assert "no file on 2020-01-02" in said and "18 coincident pairs in 2 tiles" in said
    assert sorted(os.listdir(tmp_path / "out")) == ["coverage.png", "index.jsonl", "pairs.csv", "tiles.csv"]
    picture = imread(tmp_path / "out/coverage.png")
    assert min(picture.shape[:2]) > 400 and np.std(picture[..., :3]) > 0.05
    with open(tmp_path / "out/tiles.csv", newline="") as file:
        rows = {(row["satellite"], row["tile"]): row for row in csv.DictReader(file)}
    assert len(rows) == 4 and rows["G17", "h10v03"]["missing_times"] == "2"
    pairs = read_pairs(tmp_path / "out/pairs.csv")
    assert len(pairs) == 18 and all(a.time == b.time and a.tile == b.tile for a, b in pairs)
    assert all(side.path.is_file() for pair in pairs for side in pair)


def test_filters_of_the_subcommand(archive, tmp_path, capsys):
    words = ["catalog", str(archive), "--output", str(tmp_path / "out")]
    assert main([*words, "--satellites", "G17", "--years", "2020", "--days", "1-4", "--hours", "12"]) == 0
    assert ["G17", "5"] in [line.split()[:2] for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--satellites", "G15"], "G15"),
        (["--days", "x"], "'x'"),
        (["--year", "1999"], "no L1G file"),
        (["--hours", "24"], "there is no hour 24"),
        (["--pairs", "G16"], "G16"),
        (["--pairs", "G16,G15"], "G15"),
        (["--pairs", "G16,G16"], "twice"),
        (["--pairs", "nowhere.csv"], "nowhere.csv"),
        (["--tolerance", "-1"], "minutes"),
        (["--tiles", "h09v03,h9"], "'h9' is not a tile"),
        (["--tiles", " , "], "names nothing"),
        (["--tiles", ""], "names nothing"),
        (["--satellites", ""], "names nothing"),
    ],
)
def test_mistakes_are_one_line(archive, tmp_path, capsys, words, problem):
    assert main(["catalog", str(archive), "--output", str(tmp_path / "out"), *words]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and problem in error


def test_root_that_is_no_folder_and_output_that_cannot_be(archive, tmp_path, capsys):
    assert main(["catalog", str(tmp_path / "absent"), "--output", str(tmp_path / "out")]) == 2
    assert "absent" in capsys.readouterr().err and not (tmp_path / "out").exists()
    (tmp_path / "file").touch()
    assert main(["catalog", str(archive), "--output", str(tmp_path / "file")]) == 2
    assert "cannot use" in capsys.readouterr().err


def test_a_remembered_walk_finds_the_same_and_sees_what_is_new(archive, tmp_path):
    settle(archive)
    expected = find_tiles(archive)

    def find():
        with FolderIndex(tmp_path / "index.jsonl") as index:
            return find_tiles(archive, index=index)

    assert find() == expected
    size = (tmp_path / "index.jsonl").stat().st_size
    assert find() == expected
    assert (tmp_path / "index.jsonl").stat().st_size <= size + 1  # nothing was read again
    new = touch(archive, "G16", "h11v03", START)
    assert {file.path for file in find()} == {file.path for file in expected} | {new}
    expected[0].path.unlink()
    assert expected[0].path not in {file.path for file in find()}


def test_an_index_cut_off_by_an_interruption_is_used_as_far_as_it_goes(archive, tmp_path):
    settle(archive)
    path = tmp_path / "index.jsonl"
    with FolderIndex(path) as index:
        expected = find_tiles(archive, index=index)
    content = path.read_bytes()
    for length in (0, 10, len(content) // 2, len(content) - 3):
        path.write_bytes(content[:length])
        with FolderIndex(path) as index:
            assert find_tiles(archive, index=index) == expected
        with FolderIndex(path) as index:
            assert find_tiles(archive, index=index) == expected


def test_what_is_remembered_is_not_read_again(archive, tmp_path):
    settle(archive)
    with FolderIndex(tmp_path / "index.jsonl") as index:
        expected = find_tiles(archive, index=index)
    # a file that appears without its folder's time changing can only be found by reading the folder
    folder = expected[0].path.parent
    hidden = folder / relative_path("G16", "h09v03", datetime(2019, 12, 30, 23)).name
    hidden.touch()
    os.utime(folder, (1e9, 1e9))
    with FolderIndex(tmp_path / "index.jsonl") as index:
        assert find_tiles(archive, index=index) == expected
    assert len(find_tiles(archive)) == len(expected) + 1


def test_pairs_round_trip(archive, tmp_path):
    files = find_tiles(archive)
    pairs = list(zip(files[:5], files[20:25], strict=True))
    write_pairs(pairs, tmp_path / "pairs.csv")
    assert read_pairs(tmp_path / "pairs.csv") == pairs
    with open(tmp_path / "pairs.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == PAIR_COLUMNS
    assert rows[0]["timestamp"] == "2019-12-30 00:00:00" and rows[0]["dayofyear2"] == "364"


def test_published_lists_have_other_folders_and_more_columns(archive, tmp_path):
    files = find_tiles(archive)
    rows = [",timestamp,tile,year1,h1,file1,year2,h2,file2"]
    for number, (first, second) in enumerate(zip(files[:3], files[20:23], strict=True)):
        rows.append(f"{number},{first.time},{first.tile},2019,9,/far/{first.path.name},2019,9,/away/{second.path.name}")
    absent = "GO16_ABI05_20180101_0000_GLBG_h09v03_02.hdf", "GO17_ABI05_20180101_0000_GLBG_h09v03_02.hdf"
    rows.append(f"3,2018-01-01,h09v03,2018,9,{absent[0]},2018,9,{absent[1]}")
    path = tmp_path / "list.csv"
    path.write_text("\ufeff" + "\n".join(rows) + "\n", encoding="utf-8")
    pairs = read_pairs(path)
    assert len(pairs) == 4 and pairs[0][0].path == Path("/far", files[0].path.name)
    assert pairs[3] == tuple(map(parse_name, absent))
    assert locate_pairs(pairs, files) == list(zip(files[:3], files[20:23], strict=True))


@pytest.mark.parametrize(
    ("folder", "end"),
    [
        ("C:\\data\\GEONEX-L1G\\", "\n"),
        ("D:", "\r\n"),
        ("\\\\server\\share\\l1g\\", "\r\r\n"),
        ("C:/data\\l1g/", "\r\n"),
        ("..\\l1g\\", "\r\n"),
    ],
)
def test_a_list_written_on_windows(archive, tmp_path, capsys, folder, end):
    files = find_tiles(archive)
    rows = ["timestamp,tile,file1,file2"]
    for first, second in zip(files[:3], files[20:23], strict=True):
        rows.append(f"{first.time}, {first.tile} ,{folder}{first.path.name},{folder}{second.path.name} ")
    path = tmp_path / "list.csv"
    path.write_text("\ufeff" + end.join([*rows, "", ""]), encoding="utf-8", newline="")
    assert locate_pairs(read_pairs(path), files) == list(zip(files[:3], files[20:23], strict=True))
    assert main(["catalog", str(archive), f"--output={tmp_path / 'out'}", f"--pairs={path}"]) == 0
    assert "3 of its 3 pairs are here" in capsys.readouterr().out
    assert find_inputs([str(archive)], ["G16"], str(path)) == [file.path for file in files[:3]]


def test_a_list_finds_the_newest_version_whichever_it_names(archive, tmp_path):
    files = find_tiles(archive)
    first, second = files[0].path, files[20].path
    for name in (first, second):
        name.with_name(name.name.replace("_02.hdf", "_003.hdf")).touch()
    (pair,) = locate_pairs([(files[0], files[20])], find_tiles(archive, all_versions=True))
    assert [side.version for side in pair] == ["003", "003"]


@pytest.mark.parametrize("tiles", ["h09v03, h10v03", " h10v03,,h09v03,h10v03,"])
def test_tiles_with_spaces(archive, tmp_path, capsys, tiles):
    touch(archive, "G16", "h11v03", START)
    assert main(["catalog", str(archive), f"--output={tmp_path / 'out'}", f"--tiles={tiles}"]) == 0
    assert ["G16", "20"] in [line.split()[:2] for line in capsys.readouterr().out.splitlines()]


def test_the_subcommand_reads_a_list(archive, tmp_path, capsys):
    files = find_tiles(archive)
    write_pairs(zip(files[:3], files[20:23], strict=True), tmp_path / "list.csv")
    words = ["catalog", str(archive), "--output", str(tmp_path / "out"), "--pairs", str(tmp_path / "list.csv")]
    assert main(words) == 0
    assert "3 of its 3 pairs are here" in capsys.readouterr().out
    assert len(read_pairs(tmp_path / "out/pairs.csv")) == 3


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "timestamp"),
        ("timestamp,tile,file1\n", "file2"),
        ("timestamp,tile,file1,file2\n2019,h09v03,a.hdf,b.hdf\n", "line 2"),
        ("timestamp,tile,file1,file2\n2019,h09v03\n", "line 2"),
        (
            "timestamp,tile,file1,file2\n2019,h10v03,GO16_ABI05_20180101_0000_GLBG_h09v03_02.hdf,"
            "GO17_ABI05_20180101_0000_GLBG_h09v03_02.hdf\n",
            "h09v03",
        ),
    ],
)
def test_what_is_no_list_of_pairs(tmp_path, text, word):
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(InputError, match=word):
        read_pairs(tmp_path / "list.csv")
    with pytest.raises(InputError, match="cannot be read"):
        read_pairs(tmp_path)
