"""Translating archives as a pipeline: order, what is in memory, odd groups, a damaged file among good ones."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial

import jax
import pytest
import xarray as xr

from satxlate_jax.__main__ import main
from satxlate_jax.l1g.isolation import overlap
from satxlate_jax.translation import inference, translate_archive
from satxlate_jax.translation.netcdf import NetcdfFolder
from tests.archives import write_archive
from tests.random_run import save_random_run

BANDS = {"G16": (8, 12), "G17": (8, 9)}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return save_random_run(tmp_path_factory.mktemp("pipeline") / "run", BANDS, dim=2, n_res=0)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    times = [datetime(2020, 5, day, 18) for day in range(1, 15)]
    return write_archive(tmp_path_factory.mktemp("l1g"), {"G17": BANDS["G17"]}, ["h09v03"], times)


def translate(run, output, files):
    return main(["translate", "--checkpoint", str(run), "--to=G16", f"--output={output}", *map(str, files)])


def test_results_come_in_order_and_few_are_begun_before_they_are_asked_for():
    begun, gate = [], threading.Event()

    def work(number):
        begun.append(number)
        if number == 0:
            gate.wait(10)
        return -number

    with ThreadPoolExecutor(3) as threads:
        results = overlap(threads, work, iter(range(100)), ahead=4)
        threading.Timer(0.2, gate.set).start()
        assert next(results) == (0, 0)
        time.sleep(0.1)
        assert sorted(begun) == [0, 1, 2, 3, 4]
        assert next(results) == (1, -1)
        results.close()
    assert len(begun) <= 6


def test_groups_give_what_single_tiles_give_and_no_odd_one_is_compiled(run, files, tmp_path, monkeypatch):
    """Seven tiles and a damaged file, on a device that takes three: the last group of one is no other program."""
    damaged, last = (tmp_path / files[3].name.replace("_1800_", f"_{hour}00_") for hour in (18, 19))
    damaged.write_bytes(files[3].read_bytes()[:3000])
    last.write_bytes(files[3].read_bytes())
    inputs = [*files[:3], damaged, *files[4:7], last]
    assert translate(run, tmp_path / "single", inputs) == 0
    compiled = []
    listen = partial(lambda kind, event, *_, **__: compiled.append(event) if kind in event else None, "backend_compile")
    for module in (inference, translate_archive):
        monkeypatch.setattr(module, "images_at_once", lambda pixels, block: 3)
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        assert translate(run, tmp_path / "first", files[:1]) == 0
        before = len(compiled)
        assert translate(run, tmp_path / "grouped", inputs) == 0
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert before and len(compiled) == before
    names = sorted(path.name for path in (tmp_path / "single").glob("*.nc"))
    assert len(names) == 7 and names == sorted(path.name for path in (tmp_path / "grouped").glob("*.nc"))
    for name in names:
        with xr.open_dataset(tmp_path / "single" / name) as one, xr.open_dataset(tmp_path / "grouped" / name) as two:
            xr.testing.assert_allclose(one, two, atol=0.011, rtol=0)


def test_a_slow_disk_holds_the_reading_back(run, files, tmp_path, monkeypatch):
    most, on_their_way = 0, set()
    read, write = translate_archive.read_isolated, NetcdfFolder.write

    def counted_read(*arguments, **options):
        nonlocal most
        for path, tile in read(*arguments, **options):
            on_their_way.add(path)
            most = max(most, len(on_their_way))
            yield path, tile

    def slow_write(sink, path, tile):
        time.sleep(0.3)
        write(sink, path, tile)
        on_their_way.discard(path)

    monkeypatch.setattr(translate_archive, "read_isolated", counted_read)
    monkeypatch.setattr(NetcdfFolder, "write", slow_write)
    assert translate(run, tmp_path / "out", files) == 0
    assert 2 <= most <= translate_archive.tiles_in_memory(0, 1) < len(files) and not on_their_way
