"""`tfds build` as a user runs it, in a process of its own."""

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from satxlate_jax.errors import InputError
from satxlate_jax.observations.manifest import SplitCount
from satxlate_jax.observations.statistics import BandCounts
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
    assert "4 of 7 files gave examples" in done.stdout + done.stderr
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
    count = SplitCount(BandCounts(2), faulty=[("a", "b")])
    assert SplitCount.from_bytes(count.to_bytes()).faulty == [("a", "b")]  # as Beam's workers tell it
