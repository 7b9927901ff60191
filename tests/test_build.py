"""`tfds build` as a user runs it, in a process of its own."""

import json
import logging
import re
import shlex
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from configs.default import get_config, ordered
from satxlate_jax.cli import InputError
from satxlate_jax.training.input import training_batches, validation_batches
from tests.archives import build_data_set, compressed_streams, write_archive

PROJECT = Path(__file__).resolve().parent.parent
BUILDER = PROJECT / "datasets" / "geonex_l1g"


def run_tfds(*words, cwd=PROJECT):
    program = "import sys; from tensorflow_datasets.scripts.cli.main import launch_cli; launch_cli()"
    command = [sys.executable, "-c", program, "build", *map(str, words)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Three days of a tile; the file of another satellite; copies, damaged files and strangers."""
    root = tmp_path_factory.mktemp("l1g")
    times = [datetime(2019, 2, 5), datetime(2020, 5, 1, 18), datetime(2020, 5, 2, 18), datetime(2020, 5, 3, 18)]
    files = write_archive(root, {"G17": (8, 16)}, ["h09v03"], times)
    write_archive(root, {"H8": (8, 16)}, ["h50v03"], times[:1])
    files[1].with_name("GO17_ABI05_20200501_1810_GLBG_h09v03_02.hdf").write_bytes(files[1].read_bytes()[:5000])
    files[2].with_name("GO17_ABI05_20200502_1810_GLBG_h09v03_02.hdf").touch()
    files[3].with_name(files[3].name.replace("_02.hdf", "_01.hdf")).write_bytes(files[3].read_bytes())
    files[3].with_name("notes.txt").write_text("not a tile")
    return root


CONFIG = {"name": "G17_ir", "satellite": "G17", "bands": [8, 16], "patch_size": 100, "max_bad_fraction": 0.5}


def test_a_build_from_anywhere_accounts_for_every_file(archive, tmp_path):
    words = (BUILDER, f"--config={json.dumps(CONFIG)}", f"--manual_dir={archive}", f"--data_dir={tmp_path / 'data'}")
    done = run_tfds(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "data/geonex_l1g/G17_ir/1.0.0"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["files"] == {"found": 7, "with_examples": 4, "without_examples": 3}
    assert manifest["reasons"] == {"unreadable": 2, "superseded": 1}
    assert len(list(archive.rglob("GO17*.hdf"))) == manifest["files"]["found"]
    assert sorted(Path(entry["file"]).name for entry in manifest["skipped"]) == [
        "GO17_ABI05_20200501_1810_GLBG_h09v03_02.hdf",
        "GO17_ABI05_20200502_1810_GLBG_h09v03_02.hdf",
        "GO17_ABI05_20200503_1800_GLBG_h09v03_01.hdf",
    ]
    assert all((archive / entry["file"]).is_file() and entry["detail"] for entry in manifest["skipped"])
    *_, summary, first, second, third = done.stdout.splitlines()  # at the end, where they are read
    assert "4 of 7 files gave examples" in summary and str(folder / "manifest.json") in summary
    for line, split in zip((first, second, third), ("train", "validation", "test"), strict=True):
        assert line == f"{split}: {', '.join(manifest['splits'][split]['days'])}"
    assert "2019-036" in manifest["splits"]["test"]["days"]
    assert sum(len(split["days"]) for split in manifest["splits"].values()) == 4
    # four files of nine patches; a split that only damaged files fell into is left out
    assert sum(split["examples"] for split in manifest["splits"].values()) == 36
    info = json.loads((folder / "dataset_info.json").read_text())
    assert sum(int(count) for split in info["splits"] for count in split["shardLengths"]) == 36
    assert len(list(folder.glob("*test.tfrecord*"))) >= 8  # the paper's test period is in it
    metadata = json.loads((folder / "metadata.json").read_text())
    assert (metadata["satellite"], metadata["bands"], metadata["patch_size"]) == ("G17", [8, 16], 100)


def test_a_mistake_is_one_line_and_exit_code_2(archive, tmp_path):
    config = json.dumps(CONFIG | {"max_bad_fraction": 0.1})
    done = run_tfds(BUILDER, f"--config={config}", f"--manual_dir={archive}", f"--data_dir={tmp_path / 'data'}")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("tfds build: already 1 of 6 files of G17 cannot be used, more than max_bad_fraction 0.1")
    assert not list(tmp_path.iterdir())  # nothing half-made is left


@pytest.mark.parametrize(
    "change, complaint",
    [
        ({"satellite": "G18"}, "no L1G file of G18 under the manual_dir .*; it holds 6 of G17 .*, 1 of H8 "),
        ({"stripes": 3}, "unknown option 'stripes'"),
        ({"name": "G17"}, "the name 'G17' is that of a built-in configuration"),
        ({"name": "../x"}, "'name' is '../x'"),
        ({"bands": [9]}, "no file gives an example: .* missing bands 4, unreadable 2"),
    ],
)
def test_mistakes_in_the_options(archive, tmp_path, change, complaint):
    with pytest.raises(InputError, match=complaint):
        build_data_set(archive, tmp_path, **CONFIG | {"max_bad_fraction": 1.0} | change)


def test_no_folder_to_read_from(archive, tmp_path):
    with pytest.raises(InputError, match="--manual_dir is .*nowhere, which is no folder"):
        build_data_set(archive / "nowhere", tmp_path / "data", **CONFIG)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no L1G file of G17 under .*empty; it holds no L1G file at all"):
        build_data_set(tmp_path / "empty", tmp_path / "data", **CONFIG)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("num_shards", [None, 3, 50])
def test_never_more_shards_than_examples_and_eight_by_default(archive, tmp_path, num_shards):
    folder = build_data_set(archive, tmp_path, num_shards=num_shards, **CONFIG)
    for split in json.loads((folder / "dataset_info.json").read_text())["splits"]:
        lengths = [int(length) for length in split["shardLengths"]]
        assert len(lengths) == min(num_shards or 8, sum(lengths)) and min(lengths) > 0


@pytest.mark.parametrize("satellite, bands, files", [("G16", [7, 8, 9, 10, 12, 16], 25), ("G17", [8, 9, 10, 16], 24)])
def test_real_tiles_split_by_tile(realdata_dir, tmp_path, satellite, bands, files):
    config = {"name": "real", "satellite": satellite, "bands": bands, "split_by": "tile"}
    folder = build_data_set(realdata_dir / "l1g", tmp_path, **config)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["files"] == {"found": files, "with_examples": files, "without_examples": 0}
    splits = manifest["splits"].values()
    assert sum(split["examples"] + sum(split["dropped_patches"].values()) for split in splits) == 25 * files
    assert all(split["examples"] for split in splits) and len(splits) == 3


def test_the_advice_where_no_patch_holds_all_bands_can_be_followed(realdata_dir, tmp_path):
    """By night GOES-16's reflective bands are fill, and all files are of one day."""
    with pytest.raises(InputError, match="no patch holds all bands, most files hold bands .*16 of G16: ") as refused:
        build_data_set(realdata_dir / "l1g", tmp_path / "data", "G16")
    follow(str(refused.value))
    (folder,) = (tmp_path / "data" / "geonex_l1g" / "G16_custom").glob("*")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert {7, 12, 16} <= {*manifest["selection"]["bands"]} and all(s["examples"] for s in manifest["splits"].values())


def test_a_damaged_angle_that_nobody_needs_is_told(tmp_path):
    times = [datetime(2020, 5, day, 18) for day in range(1, 5)]
    files = write_archive(tmp_path / "l1g", {"G17": (8, 16)}, ["h09v03"], times)
    content = bytearray(files[2].read_bytes())
    begin, end = compressed_streams(bytes(content))[-1]  # Solar_Zenith
    content[(begin + end) // 2] ^= 255
    files[2].write_bytes(content)
    folder = build_data_set(tmp_path / "l1g", tmp_path / "data", **CONFIG)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["files"] == {"found": 4, "with_examples": 4, "without_examples": 0}
    assert manifest["faults"] == {"damaged solar angles": 1}
    (faulty,) = manifest["faulty"]
    assert (tmp_path / "l1g" / faulty["file"]) == files[2] and faulty["fault"].startswith("Solar_Zenith is damaged")


@pytest.fixture(scope="module")
def two_satellites(tmp_path_factory):
    """All bands of two of the satellites on three days."""
    root = tmp_path_factory.mktemp("two satellites")
    bands = range(1, 17)
    write_archive(root, {"G17": bands, "H8": bands}, ["h02v03"], [datetime(2020, 5, day, 18) for day in (1, 2, 3)])
    return root


def test_without_a_configuration_what_is_there_is_built(two_satellites, tmp_path):
    done = run_tfds(BUILDER, f"--manual_dir={two_satellites}", f"--data_dir={tmp_path / 'data'}")
    assert done.returncode == 0, done.stderr
    built = {path.parts[-3] for path in (tmp_path / "data").glob("geonex_l1g/*/*/dataset_info.json")}
    assert built == {"G17", "H8"} == {path.name for path in (tmp_path / "data/geonex_l1g").glob("*[0-9]")}
    said = done.stdout + done.stderr
    for absent in ("G16", "G18", "G19", "H9"):
        assert f"no file of {absent} under {two_satellites}, which holds G17, H8: not built" in said


def test_without_a_configuration_and_without_files_nothing_is_built(tmp_path):
    (tmp_path / "empty").mkdir()
    done = run_tfds(BUILDER, f"--manual_dir={tmp_path / 'empty'}", f"--data_dir={tmp_path / 'data'}")
    assert done.returncode == 2 and not (tmp_path / "data").exists()
    assert "it holds no L1G file at all" in done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("words", [["-c", "G18"], ["--config_idx=2"]])
def test_a_satellite_that_is_asked_for_and_absent_is_a_mistake(two_satellites, tmp_path, words):
    done = run_tfds(BUILDER, *words, f"--manual_dir={two_satellites}", f"--data_dir={tmp_path / 'data'}")
    assert done.returncode == 2 and not (tmp_path / "data").exists()
    assert "no L1G file of G18 under the manual_dir" in done.stderr.strip().splitlines()[-1]


PAPER_DAYS = [datetime(2019, 2, day) for day in (1, 12, 22)]  # days 32 to 53


NAMES_IT = r"--config\.data\.datasets\.(\w+)=(\w+)"


def follow(advice):
    """Runs the command that a message tells to run, and returns the option of training that it names, if any."""
    command = re.search(r"tfds build .*?(?= and train with |$)", advice, re.MULTILINE)[0]
    done = run_tfds(*shlex.split(command)[2:])
    assert done.returncode == 0, done.stderr
    return dict(re.findall(NAMES_IT, advice))


def train_on(data_dir, satellite, bands, normalization="published", **datasets):
    """The first batch and the first of validation."""
    config = get_config()
    config.batch_size, config.data.patch_size, config.normalization = 2, 64, normalization
    config.data.dir, config.data.satellites = str(data_dir), ordered(**{satellite: bands})
    config.data.datasets.update(datasets)
    return [next(batches(config))[satellite] for batches in (training_batches, validation_batches)]


def test_an_archive_of_the_papers_days_only(tmp_path, caplog, capsys):
    """The build warns, first and last; training refuses, also with the data set's own statistics; the command helps."""
    root, data = tmp_path / "l1g it's", tmp_path / "data"
    write_archive(root, {"G17": range(1, 17)}, ["h09v03", "h10v03", "h11v03"], PAPER_DAYS[:1])
    with caplog.at_level(logging.WARNING):
        folder = build_data_set(root, data, "G17")
    why = "the files are of 1 day of 2019 days 32 to 53, always test in a split by day; split them by tile"
    (warning,) = [record.getMessage() for record in caplog.records if "split" in record.getMessage()]
    start, told, advice = warning.partition(f"{why}: ")
    assert start == "no file falls into split train and validation: " and told and advice.startswith("tfds build ")
    last = capsys.readouterr().out.splitlines()[-2:]
    assert last == [f"split {split} is empty: {why}; build it so: {advice}" for split in ("train", "validation")]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert set(manifest["splits"]) == {"test"} and set(manifest["empty_splits"]) == {"train", "validation"}
    for normalization in ("published", "dataset"):
        with pytest.raises(InputError, match=f"no example in split 'train': {why}; build another: ") as refused:
            train_on(data, "G17", (8, 16), normalization)
    named = follow(str(refused.value))
    assert named == {"G17": "G17_custom"} == dict(re.findall(NAMES_IT, advice))
    for patches in train_on(data, "G17", (8, 16), **named):
        assert patches.shape == (2, 64, 64, 2)


def test_the_advice_keeps_what_a_data_set_selects(tmp_path):
    root, data = tmp_path / "l1g", tmp_path / "data"
    write_archive(root, {"G17": (8, 16)}, ["h09v03", "h10v03", "h11v03"], PAPER_DAYS[:2])
    config = CONFIG | {"patch_size": 64, "days": [32], "stride": 60, "daylight_only": True}
    build_data_set(root, data, **config)
    with pytest.raises(InputError, match="no example in split 'train'") as refused:
        train_on(data, "G17", (16, 8), G17="G17_ir")
    assert follow(str(refused.value)) == {}  # it is built under the name that it has
    stored = json.loads((data / "geonex_l1g/G17_ir/1.0.0/metadata.json").read_text())["selection"]
    assert {name: stored[name] for name in config if name != "name"} | {"split_by": "tile"} == {
        "satellite": "G17",
        "bands": [16, 8],
        "patch_size": 64,
        "stride": 60,
        "days": [32],
        "daylight_only": True,
        "max_bad_fraction": 0.5,
        "split_by": "tile",
    }
    assert train_on(data, "G17", (16, 8), G17="G17_ir")[0].shape == (2, 64, 64, 2)


def test_files_of_one_tile_in_the_papers_days_cannot_train(tmp_path, caplog):
    root, data = tmp_path / "l1g", tmp_path / "data"
    write_archive(root, {"G17": (8, 16)}, ["h09v03"], PAPER_DAYS)
    with caplog.at_level(logging.WARNING):
        build_data_set(root, data, **CONFIG | {"patch_size": 64})
    why = "of 3 days of 2019 days 32 to 53, .*; files of other days, or of more tiles, are needed"
    assert re.search(why, caplog.text) and "tfds build" not in caplog.text
    with pytest.raises(InputError, match=f"{why}; then build it again with --overwrite"):
        train_on(data, "G17", (8, 16), G17="G17_ir")
    write_archive(root, {"G17": (8, 16)}, ["h10v03", "h11v03"], PAPER_DAYS[:1])
    write_archive(root, {"G17": (8, 16)}, ["h10v03"], [datetime(2020, 5, 1), datetime(2020, 5, 2)])
    build_data_set(root, data, overwrite=True, **CONFIG | {"patch_size": 64})
    assert train_on(data, "G17", (8, 16), G17="G17_ir")[1].shape == (2, 64, 64, 2)


def test_a_split_whose_files_give_nothing_says_why(tmp_path, caplog):
    root, data = tmp_path / "l1g", tmp_path / "data"
    write_archive(root, {"G17": (8, 16)}, ["h09v03"], [datetime(2020, 5, 1, 18)])  # trains
    (test,) = write_archive(root, {"G17": (8, 16)}, ["h09v03"], PAPER_DAYS[:1])
    test.write_bytes(b"no tile")
    with caplog.at_level(logging.WARNING):
        folder = build_data_set(root, data, **CONFIG)
    assert "split test is empty: none of its 1 files gave an example (unreadable 1)" in caplog.text
    assert "no file falls into split validation: the files are of 2 days, of which only 1 is not of 2019" in caplog.text
    assert set(json.loads((folder / "manifest.json").read_text())["empty_splits"]) == {"validation", "test"}


def test_an_archive_that_has_grown_is_told_of(archive, tmp_path):
    def build(*more):
        config = json.dumps(CONFIG)
        done = run_tfds(BUILDER, f"--config={config}", f"--manual_dir={root}", f"--data_dir={tmp_path / 'd'}", *more)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    root, data = tmp_path / "l1g", tmp_path / "d/geonex_l1g/G17_ir/1.0.0"
    times = [datetime(2020, 5, day, 18) for day in range(1, 6)]
    first = write_archive(root, {"G17": (8, 16)}, ["h09v03"], times[:3])
    assert "are not in the data set" not in build() + build()
    first[0].unlink()
    write_archive(root, {"G17": (8, 16)}, ["h09v03"], times[3:])
    write_archive(root, {"H8": (8, 16)}, ["h09v03"], times[3:])  # of another satellite
    assert f"2 files under {root} are not in the data set {data}, which was built before they came" in (said := build())
    assert "to add them, build it again: the same command with --overwrite" in said
    assert "are not in the data set" not in build("--overwrite") + build()
    assert json.loads((data / "manifest.json").read_text())["files"]["found"] == 4
