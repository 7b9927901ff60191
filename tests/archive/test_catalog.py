import os
import warnings
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from satxlate_jax.archive.catalog import (
    TileFile,
    coincident,
    file_name,
    find_tiles,
    newest_versions,
    parse_name,
    relative_path,
)
from satxlate_jax.cli import InputError, parse_numbers

NOON = datetime(2019, 2, 1, 12)


@pytest.fixture
def archive(tmp_path):
    """Two satellites, two tiles, three days, two hours, in GeoNEX' layout; the files are empty."""
    for satellite in ("G16", "G17"):
        for tile in ("h09v03", "h10v03"):
            for day in range(3):
                for hour in (0, 12):
                    time = datetime(2019, 2, 1, hour) + timedelta(days=day)
                    path = tmp_path / relative_path(satellite, tile, time)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.touch()
    return tmp_path


def test_what_a_name_says():
    file = parse_name("some/where/HM08_AHI05_20200229_2350_GLBG_h59v19_02.hdf")
    assert file == TileFile(
        Path("some/where/HM08_AHI05_20200229_2350_GLBG_h59v19_02.hdf"),
        "H8",
        "h59v19",
        datetime(2020, 2, 29, 23, 50),
        "02",
    )
    assert (file.year, file.day_of_year, file.hour) == (2020, 60, 23)


@pytest.mark.parametrize(
    "name",
    [
        "GO16_ABI05_20190229_0000_GLBG_h09v03_02.hdf",  # no such day
        "GO16_ABI05_20190201_2400_GLBG_h09v03_02.hdf",
        "GO16_ABI05_20190201_0060_GLBG_h09v03_02.hdf",
        "GO16_ABI05_20190201_0000_GLBG_h60v03_02.hdf",
        "GO16_ABI05_20190201_0000_GLBG_h09v20_02.hdf",
        "GO15_ABI05_20190201_0000_GLBG_h09v03_02.hdf",
        "GO16_ABI05_20190201_0000_GLBG_h09v03_02.hdf.part",
        ".GO16_ABI05_20190201_0000_GLBG_h09v03_02.hdf",
        "GO16_ABI05_٢0190201_0000_GLBG_h09v03_02.hdf",
        "MOD09GA.A2008296.h14v17.006.2015181011753.hdf",
        "",
    ],
)
def test_other_names_are_nothing(name):
    assert parse_name(name) is None


def test_names_that_are_written_can_be_read():
    path = relative_path("H9", "h50v07", NOON)
    assert path == Path("HIMAWARI9/GEONEX-L1G/h50v07/2019/032/HM09_AHI05_20190201_1200_GLBG_h50v07_02.hdf")
    assert parse_name(path).satellite == "H9"
    with pytest.raises(InputError):
        file_name("H9", "h99v99", NOON)


def test_all_files_sorted_wherever_the_root_is(archive):
    files = find_tiles(archive)
    assert len(files) == 24
    assert files == sorted(files)
    assert [(f.satellite, f.time, f.tile) for f in files] == sorted((f.satellite, f.time, f.tile) for f in files)
    assert all(file.path.is_file() for file in files)
    for root in ("GOES16", "GOES16/GEONEX-L1G"):
        assert [f.path for f in find_tiles(archive / root)] == [f.path for f in files if f.satellite == "G16"]
    assert len(find_tiles(archive / "GOES16/GEONEX-L1G/h09v03")) == 6
    assert len(find_tiles(archive / "GOES16/GEONEX-L1G/h09v03/2019", days=[33])) == 2
    assert len(find_tiles(archive.parent)) >= 24


def test_filters(archive):
    assert {f.satellite for f in find_tiles(archive, satellites=["G17"])} == {"G17"}
    assert len(find_tiles(archive, satellites=["G17", "H8"])) == 12
    assert {f.tile for f in find_tiles(archive, tiles=["h10v03"])} == {"h10v03"}
    assert {f.day_of_year for f in find_tiles(archive, days=parse_numbers("33-40"))} == {33, 34}
    assert {f.hour for f in find_tiles(archive, hours=[12])} == {12}
    assert find_tiles(archive, years=[2020]) == []
    assert len(find_tiles(archive, satellites=["G16"], tiles=["h09v03"], years=[2019], days=[32], hours=[0])) == 1


def test_a_label_after_the_satellite_is_not_part_of_it(archive):
    assert len(find_tiles(archive, satellites=["G16_15"])) == 12


@pytest.mark.parametrize("mistake", [{"satellites": ["G15"]}, {"tiles": ["h9v3"]}, {"tiles": ["h60v00"]}])
def test_filter_for_what_does_not_exist(archive, mistake):
    with pytest.raises(InputError):
        find_tiles(archive, **mistake)


def test_root_that_is_no_folder(tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        find_tiles(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file"):
        find_tiles(tmp_path / "file")


def test_stray_files_folders_and_links_do_not_stop_it(archive):
    expected = {f.path for f in find_tiles(archive)}
    day = archive / "GOES16/GEONEX-L1G/h09v03/2019/032"
    (day / "README.txt").touch()
    (day / "GO16_ABI05_20190201_9900_GLBG_h09v03_02.hdf").touch()
    (day / "GO16_ABI05_20190201_0500_GLBG_h09v03_02.hdf").mkdir()  # a folder that is named as a file
    (archive / "GOES16/GEONEX-L1G/hXXvYY/20x9/a b").mkdir(parents=True)
    (archive / "empty").mkdir()
    (day / "above").symlink_to(archive)
    (day / "itself").symlink_to(day / "itself")
    (day / "gone").symlink_to(archive / "gone")
    (day / os.fsdecode(b"\xff\xfe.hdf")).touch()
    assert {(f.satellite, f.time, f.tile) for f in find_tiles(archive)} == {
        (f.satellite, f.time, f.tile) for f in map(parse_name, expected)
    }


def test_a_satellite_is_known_by_its_files_not_its_folder(archive):
    (archive / "GOES16").rename(archive / "goes-east")
    (archive / "goes-east/GEONEX-L1G").rename(archive / "goes-east/L1G")
    assert len(find_tiles(archive, satellites=["G16"], days=[32])) == 4


def test_folder_without_permission_is_left_out_with_a_warning(archive, unprivileged):
    closed = archive / "GOES17"
    closed.chmod(0)
    try:
        with unprivileged(), pytest.warns(UserWarning, match="GOES17"):
            assert len(find_tiles(archive)) == 12
    finally:
        closed.chmod(0o755)


def test_only_the_highest_version_counts_unless_asked(archive):
    old = archive / relative_path("G16", "h09v03", NOON, "01")
    old.touch()
    new = archive / relative_path("G16", "h09v03", NOON, "03")
    new.touch()
    copy = archive / "copies" / new.name
    copy.parent.mkdir()
    copy.touch()
    files = [f for f in find_tiles(archive) if (f.satellite, f.tile, f.time) == ("G16", "h09v03", NOON)]
    assert [f.version for f in files] == ["03"]
    everything = find_tiles(archive, all_versions=True)
    assert len(everything) == 27
    assert newest_versions(reversed(everything)) == find_tiles(archive)


def versions_of_noon(tmp_path, versions, satellite="G16"):
    for version in versions:
        path = tmp_path / relative_path(satellite, "h09v03", NOON, version)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return find_tiles(tmp_path, all_versions=True)


@pytest.mark.parametrize(
    ("versions", "newest"),
    [
        (("02", "003"), "003"),
        (("2", "10"), "10"),
        (("002", "01"), "002"),
        (("02", "03b", "03"), "03b"),
        (("v2", "10"), "10"),
        (("beta", "1"), "1"),
    ],
)
def test_versions_are_numbers_not_text(tmp_path, versions, newest):
    files = versions_of_noon(tmp_path, versions)
    assert [file.version for file in find_tiles(tmp_path)] == [newest] == [newest_versions(files)[0].version]
    assert files[-1].version == newest == max(files).version  # the order is that of the versions too
    for partner in coincident(files, versions_of_noon(tmp_path / "other", versions, "G17")):
        assert [side.version for side in partner] == [newest, newest]


def test_one_version_written_in_two_ways_is_one_version(tmp_path):
    files = versions_of_noon(tmp_path, ["02", "2", "002"])
    assert len({file.version for file in files}) == 3
    for order in (files, files[::-1]):  # which copy is taken does not depend on who lists the folder
        assert [file.version for file in newest_versions(order)] == [newest_versions(files)[0].version]


def test_coincident_files(archive):
    files = find_tiles(archive)
    first, second = ([f for f in files if f.satellite == name] for name in ("G16", "G17"))
    pairs = coincident(first, second[3:])
    assert len(pairs) == 9
    assert all((a.satellite, b.satellite) == ("G16", "G17") for a, b in pairs)
    assert all(a.tile == b.tile and a.time == b.time for a, b in pairs)
    assert pairs == sorted(pairs)
    assert coincident(first, []) == []


def test_coincident_within_a_tolerance_takes_the_closest_and_each_once():
    def file(satellite, minute, tile="h09v03"):
        return parse_name(file_name(satellite, tile, NOON + timedelta(minutes=minute)))

    first = [file("G16", 0), file("G16", 5), file("G16", 30), file("G16", 0, "h10v03")]
    second = [file("G17", 4), file("G17", 8), file("G17", 50)]
    assert coincident(first, second) == []
    assert coincident(first, second, timedelta(minutes=4)) == [(file("G16", 5), file("G17", 4))]
    assert coincident(first, second, timedelta(minutes=10)) == [
        (file("G16", 0), file("G17", 8)),
        (file("G16", 5), file("G17", 4)),
    ]


def test_real_tree(realdata_dir):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        files = find_tiles(realdata_dir)
    assert len([f for f in files if f.satellite == "G16"]) == 25
    assert len([f for f in files if f.satellite == "G17"]) == 24
    assert len({f.tile for f in files if f.satellite == "G17"}) == 22


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("7", (7,)), ("32-53,60", (*range(32, 54), 60)), ("5,1-3,2", (1, 2, 3, 5)), (" 1 - 2 , 4 ", (1, 2, 4))],
)
def test_numbers(text, numbers):
    assert parse_numbers(text) == numbers


@pytest.mark.parametrize("text", ["", "a", "3-", "-3", "5-1", "1,,2", "1.5", "99999999999"])
def test_other_texts_are_not_numbers(text):
    with pytest.raises(InputError):
        parse_numbers(text)
