"""Outputs are there whole or not at all, and no failure leaves a temporary file, whatever is written."""

import ast
import contextlib
import os
import re
import resource
import shutil
import stat
from datetime import datetime

import numpy as np
import pandas as pd
import pytest
from etils import epath
from imageio_ffmpeg import get_ffmpeg_exe

from satxlate_jax import atomic
from satxlate_jax.archive.catalog import parse_name, write_pairs
from satxlate_jax.archive.coverage import draw_coverage, tabulate
from satxlate_jax.benchmarks.growth import draw_costs
from satxlate_jax.cli import InputError
from satxlate_jax.evaluation import maps
from satxlate_jax.evaluation.animate import write_animation
from satxlate_jax.evaluation.maps import save_figure
from satxlate_jax.evaluation.results import write_csv
from satxlate_jax.l1g.reader import write_tile
from satxlate_jax.translation.netcdf import write_tile_netcdf
from satxlate_jax.translation.translate_archive import write_failures
from tests.archives import smooth_tile
from tests.test_import_rules import PACKAGE, modules

FILES = [
    parse_name(f"{code}_201902{day:02d}_0000_GLBG_h09v03_02.hdf")
    for code in ("GO16_ABI05", "GO17_ABI05")
    for day in range(1, 29)
]
PAIRS = list(zip(FILES[:28], FILES[28:], strict=True))


@contextlib.contextmanager
def full_disk(size):
    """No file may grow beyond `size` bytes: what a program sees of a full disk, without filling one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def failing(values, error):
    """All but the last value, then an error in its place."""
    yield from list(values)[:-1]
    raise error


def noise(count, shape=(64, 64, 3)):
    return list(np.random.default_rng(0).integers(0, 256, (count, *shape), np.uint8))


def translated():
    tile = smooth_tile("G16", "h09v03", datetime(2019, 2, 5), [8])
    return tile.drop_vars("solar_zenith").assign_attrs(source="a.hdf")


def a_figure():
    figure, (axes,) = maps.new_figure(4, 3)
    axes.imshow(noise(1)[0])
    return figure


def rows(count):
    return [{"a": "word" * 100} for _ in range(count)]


WRITERS = {
    "pairs.csv": lambda path: write_pairs(PAIRS, path),
    "coverage.png": lambda path: draw_coverage(tabulate(FILES), path),
    "cost.png": lambda path: draw_costs({"all pairs": {2: (1e12, 2**30), 3: (2e12, 2**31)}}, path),
    "figure.png": lambda path: save_figure(a_figure(), path),
    "table.csv": lambda path: write_csv(pd.DataFrame(rows(50)), path),
    "failures.jsonl": lambda path: write_failures(rows(50), path.parent),
    "film.gif": lambda path: write_animation(iter(noise(3)), path, 4.0),
    "film.mp4": lambda path: write_animation(iter(noise(30)), path, 4.0),
    "tile.nc": lambda path: write_tile_netcdf(translated(), path),
    "text.txt": lambda path: atomic.write_text(path, "word" * 5000),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_what_was_there_and_no_more(name, tmp_path):
    with full_disk(1000), pytest.raises(InputError) as caught:
        WRITERS[name](tmp_path / name)
    assert not list(tmp_path.iterdir())
    assert "\n" not in str(caught.value) and (name == "film.mp4" or str(tmp_path / name) in str(caught.value))
    (tmp_path / name).write_text("what was there")
    with full_disk(1000), pytest.raises(InputError):
        WRITERS[name](tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "what was there"
    before = os.umask(0o027)
    try:
        WRITERS[name](tmp_path / name)
    finally:
        os.umask(before)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).stat().st_size > 1000
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o640


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("pairs.csv", lambda error, path: write_pairs(failing(PAIRS, error), path)),
        ("film.gif", lambda error, path: write_animation(failing(noise(3), error), path, 4.0)),
        ("film.mp4", lambda error, path: write_animation(failing(noise(30), error), path, 4.0)),
        ("film.mp4", lambda error, path: write_animation(failing(noise(1), error), path, 4.0)),
    ],
)
def test_what_fails_or_is_interrupted_halfway_leaves_nothing(name, write, error, tmp_path):
    with pytest.raises(error):
        write(error, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_no_ffmpeg_is_left_at_work(tmp_path, monkeypatch):
    """One that makes its file late would make it after it was cleared away."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "ffmpeg"
    shell = shutil.which("sh")
    program.write_text(f'#!{shell}\necho $$ > {tmp_path}/pid\nexec {get_ffmpeg_exe()} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program))
    (tmp_path / "out").mkdir()
    with pytest.raises(KeyboardInterrupt):
        write_animation(failing(noise(200), KeyboardInterrupt), tmp_path / "out" / "film.mp4", 4.0)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert not list((tmp_path / "out").iterdir())


def test_a_tile_that_cannot_be_written_leaves_nothing(tmp_path):
    """A folder stands where the file is to be."""
    path = tmp_path / "GO16_ABI05_20190205_0000_GLBG_h09v03_02.hdf"
    (path / "inside").mkdir(parents=True)
    with pytest.raises(InputError, match="cannot (be )?writ"):
        write_tile(smooth_tile("G16", "h09v03", datetime(2019, 2, 5), [8]), path)
    assert [found.name for found in tmp_path.iterdir()] == [path.name] and (path / "inside").is_dir()


@pytest.mark.parametrize("kind", [str, lambda path: path, epath.Path])
def test_files_and_folders_by_any_path(kind, tmp_path):
    with atomic.replacing(kind(tmp_path / "file")) as temporary:
        temporary.write_text("new")
        assert not (tmp_path / "file").exists()
    assert (tmp_path / "file").read_text() == "new"
    for content in ("first", "second"):
        with atomic.replacing(kind(tmp_path / "folder")) as temporary:
            temporary.mkdir()
            (temporary / content).write_text(content)
        assert [path.name for path in (tmp_path / "folder").iterdir()] == [content]
    with pytest.raises(KeyboardInterrupt), atomic.replacing(kind(tmp_path / "folder")) as temporary:
        temporary.mkdir()
        (temporary / "third").write_text("third")
        raise KeyboardInterrupt
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["second"]
    atomic.write_bytes(kind(tmp_path / "file"), b"\r\n")
    assert (tmp_path / "file").read_bytes() == b"\r\n"


def test_what_a_killed_process_left_is_overwritten(tmp_path):
    (tmp_path / ".file.part").write_text("left by a killed process")
    atomic.write_text(tmp_path / "file", "ä\n")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == "ä\n".encode()
    (tmp_path / ".file.part").mkdir()
    atomic.write_text(tmp_path / "file", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"cannot write .*/nowhere/file: No such file or directory; check free space"):
        atomic.write_text(tmp_path / "nowhere" / "file", "text")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="cannot write .*folder: Is a directory"):
        atomic.write_text(tmp_path / "folder", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_there_is_one_way_to_write():
    """Temporary names and renamings are atomic.py's."""
    for path in modules():
        if path.name == "atomic.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            where = f"{path.relative_to(PACKAGE)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
                assert node.attr not in ("replace", "rename", "renames"), where
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not re.search(r"\.(part|tmp)$", node.value), where
