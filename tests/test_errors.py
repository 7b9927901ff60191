"""Wrong options, paths and files for every subcommand: one line, exit code 2, nothing left behind.

Mistakes in configurations, data sets and the scripts of launch/ have tests beside those of their behaviour.
"""

import shutil
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from satxlate_jax import load, read_tile, write_tile
from satxlate_jax.__main__ import main
from satxlate_jax.cli import InputError
from tests.archives import write_archive
from tests.random_run import save_random_run

BANDS = {"G16": (8, 16), "G17": (8, 16)}
TILE = "l1g/GOES16/GEONEX-L1G/h09v03/2019/036/GO16_ABI05_20190205_1800_GLBG_h09v03_02.hdf"
TO = "--checkpoint run --to G17"
FLOW = "pretrained:goes_thermal"
SCORE = "--checkpoint run --l1g l1g --source G16 --target G17"


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A small archive, a run, and what is neither."""
    root = tmp_path_factory.mktemp("errors")
    write_archive(root / "l1g", BANDS, ["h09v03"], [datetime(2019, 2, 5, 18)])
    save_random_run(root / "run", BANDS, dim=4)
    save_random_run(root / "torn", BANDS, dim=4)
    shutil.rmtree(root / "torn/checkpoints/7/tree")
    for name, old, new in (("other", '"dim": 4', '"dim": 8'), ("older", '"n_res"', '"blocks"')):
        save_random_run(root / name, BANDS, dim=4)
        facts = root / name / "checkpoints/7/facts/metadata"
        facts.write_text(facts.read_text().replace(old, new))
    (root / "empty").mkdir()
    (root / "empty_run" / "checkpoints").mkdir(parents=True)
    (root / "file").write_text("not what you think")
    (root / "file.hdf").write_text("not what you think")
    (root / "file.nc").write_text("not what you think")
    (root / "cut" / "h09v03").mkdir(parents=True)
    (root / "cut" / "h09v03" / Path(TILE).name).write_bytes((root / TILE).read_bytes()[:3000])
    return root


@pytest.fixture
def place(original, tmp_path, monkeypatch):
    for path in original.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def complaint(capsys, words):
    code = main(words.split())
    lines = capsys.readouterr().err.strip().splitlines()
    assert code == 2
    assert len(lines) == 1 and lines[0].startswith(f"satxlate {words.split()[0]}: "), lines
    return lines[0]


WRONG = [
    # a typo
    ("simulate --output new --satelites G16", "satelites"),
    ("translate --chekpoint run", "no option --chekpoint, is --checkpoint meant?"),
    ("evaluate --checkpoint run --l1g l1g --sorce G16 --target G17 --output new", "no option --sorce, is --source"),
    ("train --config=x.py --work_dir=new", "no option --work_dir, is --workdir meant?"),
    ("catalog l1g --typo", "--typo"),
    ("bench moon", "unknown benchmark 'moon'"),
    # no such path
    ("catalog nowhere --output new", "nowhere"),
    ("statistics nowhere --output new", "nowhere"),
    (f"translate --checkpoint nowhere --to G17 {TILE} --output new", "'nowhere' does not exist"),
    (f"translate {TO} nowhere.hdf --output new", "'nowhere.hdf' does not exist"),
    ("evaluate --checkpoint run --l1g nowhere --source G16 --target G17 --output new", "nowhere"),
    ("compare nowhere --output new", "nowhere"),
    ("quicklook nowhere.hdf --output new", "nowhere.hdf"),
    ("animate nowhere --l1g l1g --output new.gif", "nowhere"),
    ("import-torch nowhere.pth.tar --config nowhere.yaml --output new", "nowhere"),
    ("train --config=nowhere.py --workdir=new", "nowhere.py"),
    # an empty folder, or one of other things
    ("catalog empty --output new", "empty"),
    ("statistics l1g --output new", "l1g"),
    (f"translate --checkpoint empty_run --to G17 {TILE} --output new", "empty_run"),
    (f"translate --checkpoint torn --to G17 {TILE} --output new", "torn"),
    (f"translate {TO} empty --output new", "'empty' holds no Level-1b granule, and no L1G file of G16"),
    ("evaluate --checkpoint run --l1g empty --source G16 --target G17 --output new", "empty"),
    ("compare empty --output new", "empty"),
    ("animate empty --l1g l1g --output new.gif", "empty"),
    # a checkpoint that another network or version wrote
    (f"translate --checkpoint other --to G17 {TILE} --output new", "another model wrote it"),
    (f"translate --checkpoint older --to G17 {TILE} --output new", "describes no network ('n_res'); another version"),
    # a file of another kind, or a damaged one
    (f"translate {TO} file.hdf --output new", "file.hdf"),
    ("quicklook file.nc --output new", "file.nc"),
    (f"quicklook cut/h09v03/{Path(TILE).name} --output new", Path(TILE).name),
    ("animate file.nc --l1g l1g --output new.gif", "file.nc"),
    ("import-torch file --config file --output new", "file"),
    ("catalog l1g --pairs file --output new", "file"),
    # another satellite, step, band, time, tile or part
    ("simulate --output new --satellites G16,G15", "unknown satellite 'G15'"),
    ("catalog l1g --satellites G15 --output new", "G15"),
    (f"translate --checkpoint run --to H8 {TILE} --output new", "not 'H8'"),
    (f"translate {TO} --step 8 {TILE} --output new", "8"),
    (f"translate {TO} --bands 9 {TILE} --output new", "not band 9"),
    (f"translate {TO} --days 0 l1g --output new", "there is no day 0; days go from 1 to 366"),
    (f"translate {TO} --days x l1g --output new", "'x' is not a list of numbers"),
    (f"translate {TO} --days 300 l1g --output new", "passes the filters"),
    (f"translate {TO} --tiles h99v99 {TILE} --output new", "h99v99"),
    (f"translate {TO} --part 0/2 l1g --output new", "'0/2' is not a part K/N with K from 1"),
    (f"translate {TO} --share 2/2 l1g --output new", "'2/2' is not a part K/N with K from 0"),
    (f"evaluate {SCORE.replace('G17', 'H8')} --output new", "'H8'"),
    (f"evaluate {SCORE} --hours 24 --output new", "there is no hour 24"),
    (f"evaluate {SCORE} --days 300 --output new", "loosen the filters"),
    (f"evaluate {SCORE} --baselines copying --output new", "copying"),
    # numbers that cannot be
    ("simulate --output new --tiles 0", "tiles"),
    ("simulate --output new --workers 0", "ask for at least 1"),
    (f"translate {TO} {TILE} --block 0 --output new", "block"),
    (f"translate {TO} --samples 1 {TILE} --output new", "samples"),
    (f"evaluate {SCORE} --max_files 0 --output new", "max_files"),
    (f"evaluate {SCORE} --tolerance nan --output new", "'nan' is not a number of minutes"),
    ("catalog l1g --pairs G16,G17 --tolerance inf --output new", "'inf' is not a number of minutes"),
    (f"translate {TO} {TILE} --block 3 --output new", "blocks of 3 pixels are too small"),
    (f"translate {TO} {TILE} --seed {10**30} --output new", "--seed"),
    (f"translate {TO} {TILE} --resolution_km nan --output new", "--resolution_km"),
    (f"evaluate {SCORE} --samples 1 --output new", "samples is 1"),
    ("demo --times 0 --output new", "--times"),
    ("tiles file --min_cover nan --output new", "--min_cover is nan"),
    # options that contradict each other, or are of the other family
    (f"translate {TO} --part 1/2 --share 0/2 l1g --output new", "not allowed with"),
    (f"translate {TO} --surprise {TILE} --output new", "is a VAE-GAN"),
    (f"translate {TO} --as_instrument {TILE} --output new", "is a VAE-GAN"),
    (f"translate --checkpoint run --repair {TILE} --output new", "is a VAE-GAN"),
    (f"translate --checkpoint {FLOW} --repair --zarr {TILE} --output new", "--zarr are not for --repair"),
    (f"translate --checkpoint {FLOW} --repair --to G17 {TILE} --output new", "not allowed with"),
    (f"translate --checkpoint {FLOW} --repair --source H8 {TILE} --output new", "not 'H8'"),
    (f"evaluate {SCORE} --likelihood --output new", "is a VAE-GAN"),
    (f"evaluate {SCORE} --as_instrument --output new", "is a VAE-GAN"),
    (f"evaluate {SCORE} --truth same_view --output new", "go together"),
    (f"evaluate {SCORE} --truth same_view --truth_l1g l1g --output new", "from its own place"),
    # Level-1b files, runs and files to describe or pack, what is shipped
    ("tiles empty --output new", "'empty' holds no file"),
    ("tiles nowhere --output new", "'nowhere' does not exist"),
    ("tiles file --output new", "'file'"),
    ("tiles file --reader moon --output new", "no reader 'moon'"),
    ("info nowhere", "'nowhere' does not exist"),
    ("info empty", "'empty' is not a run"),
    ("info file.nc", "neither a run nor a netCDF file"),
    (f"info {TILE} nowhere", "'nowhere' does not exist"),
    ("info pretrained:moon", "no run 'pretrained:moon'"),
    ("runs --pack run", "go together"),
    ("runs --pack empty --output new.npz", "'empty' is not a run"),
    (f"runs --pack {FLOW} --output nowhere/new.npz", "cannot write nowhere/new.npz"),
    ("path configs/moon.py", "'configs/moon.py' is not shipped"),
]


@pytest.mark.parametrize(("words", "named"), WRONG, ids=[words for words, _ in WRONG])
def test_a_mistake_is_one_line_that_names_it(words, named, place, capsys):
    assert named in complaint(capsys, words)
    left = {path.name for path in place.glob("new*/**/*")} | {path.name for path in place.glob("new.*")}
    assert left <= {"index.jsonl", "failures.jsonl"}  # what was searched, and why there is nothing


UNWRITABLE = [  # a file where a folder is needed, or a folder in which not even root may write
    "simulate --tiles 1 --times 1 --satellites G16 --workers 1 --output /proc/new",
    "catalog l1g --output file/new",
    f"translate {TO} {TILE} --workers 1 --output file/new",
    f"translate {TO} {TILE} --workers 1 --output /proc/new",
    f"evaluate {SCORE} --pictures 0 --baselines band_copy --output file/new",
    f"quicklook {TILE} --output /proc/new",
    "demo --tiles 1 --times 1 --output file/new",
]


@pytest.mark.parametrize("words", UNWRITABLE)
def test_a_place_that_cannot_be_written(words, place, capsys):
    assert words.split()[-1].removesuffix("/new") in complaint(capsys, words)
    assert (place / "file").read_text() == "not what you think"


PYTHON = {
    "no run": (lambda: load("nowhere"), "'nowhere' does not exist"),
    "no tile": (lambda: read_tile("file.hdf"), "file.hdf"),
    "a resolution": (lambda: read_tile(TILE, resolution_km=3.0), "3"),
    "a band": (lambda: read_tile(TILE, bands=[17]), "17"),
    "a satellite": (lambda: load("run").translate(read_tile(TILE), to="H8"), "not 'H8'"),
    "numbers alone": (lambda: load("run").translate(np.zeros((2, 2)), to="G17", source="G16"), "must be"),
    "where to": (lambda: write_tile(read_tile(TILE, bands=[8]), "file/new/tile.hdf"), "file/new"),
}


@pytest.mark.filterwarnings("ignore:.*BAND:UserWarning")
@pytest.mark.parametrize("case", PYTHON)
def test_python_raises_one_line(case, place):
    call, named = PYTHON[case]
    with pytest.raises(InputError) as caught:
        call()
    assert named in str(caught.value) and "\n" not in str(caught.value)
