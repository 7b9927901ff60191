from datetime import datetime, timedelta
from pathlib import Path

import pytest

from satxlate_jax.archive.catalog import parse_name, relative_path
from satxlate_jax.cli import InputError
from satxlate_jax.dataset.selection import Selection, choose_files, draw_files, split_files


def test_options_as_text_and_as_lists_mean_the_same():
    text = Selection.of({"satellite": "G16", "bands": "7-9,12", "days": "32-34", "hours": 18, "tiles": "h09v03,h10v03"})
    lists = {"satellite": "G16", "bands": [7, 8, 9, 12], "days": [32, 33, 34], "hours": [18]}
    assert text == Selection.of(lists | {"tiles": ["h09v03", "h10v03"]})
    assert text == Selection.of(lists | {"tiles": " h09v03, h10v03"})
    assert text.hours == (18,) and [band.number for band in text.channels] == [7, 8, 9, 12]
    assert Selection.of({"satellite": "H8"}).bands == tuple(range(1, 17))
    assert Selection.of(text.as_json()) == text


@pytest.mark.parametrize(
    "options, complaint",
    [
        ({}, "satellite"),
        ({"satellite": "G20"}, "G16, G17"),
        ({"satellite": "G16", "band": [1]}, "unknown option 'band'"),
        ({"satellite": "G16", "bands": [0]}, "from 1 to 16"),
        ({"satellite": "G16", "bands": [7, 7]}, "none twice"),
        ({"satellite": "G16", "bands": []}, "at least one"),
        ({"satellite": "G16", "bands": [7.5]}, "whole numbers"),
        ({"satellite": "G16", "bands": "seven"}, "not a list of numbers"),
        ({"satellite": "G16", "days": [367]}, "from 1 to 366"),
        ({"satellite": "G16", "tiles": ["x"]}, "not a tile's name"),
        ({"satellite": "G16", "patch_size": 0}, "at least 1"),
        ({"satellite": "G16", "max_files": "10"}, "whole number"),
        ({"satellite": "G16", "seed": -1}, "at least 0"),
        ({"satellite": "G16", "max_bad_fraction": 2}, "from 0 to 1"),
        ({"satellite": "G16", "daylight_only": "yes"}, "true or false"),
        ({"satellite": "G16", "split_by": "hour"}, "day, tile"),
        ({"satellite": "G16", "resampling": "cubic"}, "area, bilinear"),
        ({"satellite": "G16", "patch_size": 301}, "does not fit"),
        ({"satellite": "G16", "patch_size": 32, "stride": 40}, "stride 40"),
        ({"satellite": "G16", "tiles": 5}, "'5' is not a tile"),
        ({"satellite": "G16", "years": None, "hours": True}, "whole numbers"),
    ],
)
def test_mistakes_are_one_clear_line(options, complaint):
    with pytest.raises(InputError) as raised:
        Selection.of(options)
    assert complaint in str(raised.value) and "\n" not in str(raised.value)


def test_files_found_add_up(tmp_path):
    for day in range(1, 21):
        path = tmp_path / "L1G" / relative_path("G16", "h09v03", datetime(2020, 1, day))
        path.parent.mkdir(parents=True)
        path.touch()
        path.with_name(path.name.replace("_02.hdf", "_01.hdf")).touch()
    chosen = choose_files(Selection.of({"satellite": "G16", "max_files": 12, "days": "3-20"}), tmp_path)
    assert len(chosen.paths) == 36 == len(list(tmp_path.rglob("*.hdf"))) - 4
    assert len(chosen.superseded) == 18 and len(chosen.not_drawn) == 6
    assert sum(len(files) for files in chosen.splits.values()) == 12
    with pytest.raises(InputError, match="no L1G file of G16, days 100"):
        choose_files(Selection.of({"satellite": "G16", "days": 100}), tmp_path)


def files_of(satellite, days, tiles=("h09v03",), year=2019):
    paths = [
        relative_path(satellite, tile, datetime(year, 1, 1) + timedelta(days=day - 1)) for day in days for tile in tiles
    ]
    return [parse_name(path) for path in paths]


def days_of(files):
    return {(file.year, file.day_of_year) for file in files}


def test_whole_days_go_to_one_split_and_nothing_is_lost():
    files = files_of("G16", range(1, 366), tiles=("h09v03", "h10v03", "h11v04"))
    splits = split_files(files, "day", seed=0)
    assert sorted(file.path for members in splits.values() for file in members) == sorted(file.path for file in files)
    days = {split: days_of(members) for split, members in splits.items()}
    assert not days["train"] & days["validation"] and not days["train"] & days["test"]
    assert not days["validation"] & days["test"]
    assert 0.7 < len(days["train"]) / 365 < 0.85 and len(days["validation"]) > 20


def test_the_papers_test_period_never_trains_whatever_the_seed():
    files = files_of("G17", range(1, 120))
    for seed in range(20):
        splits = split_files(files, "day", seed)
        assert days_of(splits["test"]) >= {(2019, day) for day in range(32, 54)}
    # other years' days 32 to 53 are days as any other
    other = split_files(files_of("G17", range(32, 54), year=2020), "day", seed=0)
    assert other["train"]


def test_a_day_is_in_the_same_split_for_every_satellite_and_stays_there_as_the_archive_grows():
    def split_of(files):
        return {day: split for split, members in split_files(files, "day", 3).items() for day in days_of(members)}

    small, large = split_of(files_of("G16", range(60, 120))), split_of(files_of("H8", range(1, 366)))
    assert all(large[day] == split for day, split in small.items())
    assert split_of(files_of("G16", range(60, 120))) == small


def test_a_handful_of_days_is_dealt_out_to_training_first():
    for seed in range(30):
        for count, expected in ((1, ["train"]), (2, ["train", "validation"]), (3, ["train", "validation", "test"])):
            assert list(split_files(files_of("G16", range(100, 100 + count)), "day", seed)) == expected


def test_only_the_papers_period_is_only_test():
    assert set(split_files(files_of("G16", range(40, 45)), "day", 0)) == {"test"}


def test_split_by_tile_keeps_tiles_whole():
    tiles = [f"h{h:02d}v{v:02d}" for h in range(7, 12) for v in range(5)]
    splits = split_files(files_of("G16", [4, 5], tiles, year=2020), "tile", seed=0)
    found = {split: {file.tile for file in members} for split, members in splits.items()}
    assert sum(len(members) for members in found.values()) == 25 == len(set.union(*found.values()))
    assert set(found) == {"train", "validation", "test"}


def test_a_draw_is_without_replacement_seeded_and_ordered():
    files = files_of("G16", range(1, 101))
    drawn = draw_files(files, 30, seed=1)
    assert len({file.path for file in drawn}) == 30 and drawn == sorted(drawn)
    assert drawn == draw_files(files, 30, seed=1) != draw_files(files, 30, seed=2)
    assert draw_files(files, 1000, seed=1) == files
    # where the archive lies does not matter
    moved = [parse_name(Path("/elsewhere") / file.path) for file in files]
    assert [file.path.name for file in draw_files(moved, 30, seed=1)] == [file.path.name for file in drawn]
