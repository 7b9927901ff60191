from datetime import datetime

import pytest

from satxlate_jax.archive.catalog import relative_path
from satxlate_jax.cli import InputError
from satxlate_jax.dataset.selection import Selection, choose_files


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
    assert chosen.total == 36 == len(list(tmp_path.rglob("*.hdf"))) - 4
    assert len(chosen.superseded) == 18 and len(chosen.not_drawn) == 6
    assert sum(len(files) for files in chosen.splits.values()) == 12
    with pytest.raises(InputError, match="no L1G file of G16, days 100"):
        choose_files(Selection.of({"satellite": "G16", "days": 100}), tmp_path)
