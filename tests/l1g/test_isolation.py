"""Functions of the standard library that end, stop or fill a process stand for a C library that does. Then damage."""

import operator
import os
import pickle
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import datetime
from functools import partial

import numpy as np
import pytest
import xarray as xr

from satxlate_jax import read_tile, write_tile
from satxlate_jax.instruments import get_satellite
from satxlate_jax.l1g.isolation import Failure, IsolatedCalls, read_isolated
from satxlate_jax.l1g.tile import make_tile

NAME = "GO16_ABI05_20190201_1230_GLBG_h09v03_02.hdf"
CRASHES = {
    "SIGABRT": partial(os.abort),
    "SIGSEGV": partial(signal.raise_signal, signal.SIGSEGV),
    "SIGKILL": partial(signal.raise_signal, signal.SIGKILL),
    "exit code 3": partial(os._exit, 3),
}


def test_results_come_in_order_whatever_happens_between():
    bad = [*CRASHES.values(), partial(time.sleep, 60), partial(int, "x"), partial(bytearray, 1 << 40)]
    good = [partial(np.full, (50, 40), number) for number in range(len(bad))]
    calls = [call for pair in zip(good, bad, strict=True) for call in pair]
    results = list(read_isolated(calls, operator.call, workers=2, timeout=2, memory=1 << 30))
    assert [call for call, _ in results] == calls
    for number, (_, outcome) in enumerate(results[0::2]):
        np.testing.assert_array_equal(outcome, np.full((50, 40), number))
    failures = [outcome for _, outcome in results[1::2]]
    assert [failure.reason for failure in failures] == ["crash"] * 4 + ["timeout", "error", "memory"]
    for word, failure in zip([*CRASHES, "2 s", "ValueError", "memory"], failures, strict=True):
        assert word in failure.detail and "\n" not in failure.detail


def test_a_process_serves_many_calls_and_is_replaced_when_it_dies_or_leaves_files_open():
    with IsolatedCalls(operator.call, workers=1) as calls:
        first = calls.call(os.getpid)
        assert first != os.getpid()
        assert calls.call(partial(int, "x")).reason == "error"
        assert calls.call(os.getpid) == first
        assert calls.call(os.abort).reason == "crash"
        second = calls.call(os.getpid)
        assert second != first
        for _ in range(40):
            assert calls.call(partial(os.dup, 0)) < 20
        assert calls.call(os.getpid) not in (first, second)


def test_an_innocent_call_is_asked_again_when_its_process_dies_of_an_earlier_one():
    with IsolatedCalls(operator.call, workers=1) as calls:
        # ends the process after 0.02 s of computing, that is during the next call
        assert calls.call(partial(signal.setitimer, signal.ITIMER_VIRTUAL, 0.02)) == (0.0, 0.0)
        assert calls.call(partial(sum, range(10_000_000))) == sum(range(10_000_000))


def test_arrays_can_be_written_to():
    for _, outcome in read_isolated([(3, 4)], np.ones, workers=1):
        outcome += 1
        np.testing.assert_array_equal(outcome, np.full((3, 4), 2.0))


def test_what_was_read_only_arrives_as_bytes():
    content = np.random.default_rng(0).bytes(5_000_000)  # more than a socket holds
    ((_, (first, second)),) = read_isolated([content], read_only_halves, workers=1)
    assert type(first) is bytes and first + second == content


def read_only_halves(content):
    half = memoryview(content)[: len(content) // 2]
    return pickle.PickleBuffer(half), pickle.PickleBuffer(memoryview(content)[len(half) :])


def test_a_module_that_lies_about_takes_no_part(tmp_path):
    (tmp_path / "numpy.py").write_text("raise SystemExit('not me')")
    program = (
        "import operator, os; from satxlate_jax.l1g.isolation import read_isolated\n"
        "print(list(read_isolated([os.getpid], operator.call))[0][1])"
    )
    said = subprocess.run([sys.executable, "-P", "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert said.stdout.strip().isdigit(), said.stderr


def test_paths_are_taken_only_a_few_ahead_and_leaving_early_ends_what_runs():
    taken = []

    def endless():
        for number in range(1_000_000):
            taken.append(number)
            yield partial(time.sleep, 0 if number == 0 else 60)

    results = read_isolated(endless(), operator.call, workers=2)
    assert next(results)[1] is None
    results.close()  # would take a minute if it waited
    assert len(taken) < 20


def test_a_function_that_cannot_be_imported():
    with pytest.raises(TypeError, match="import"):
        IsolatedCalls(lambda path: path)


def test_processes_import_no_heavy_library():
    program = (
        "import sys; import satxlate_jax.l1g.isolation, satxlate_jax.l1g.reader\n"
        "print([name for name in ('jax', 'flax', 'tensorflow', 'orbax', 'matplotlib') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def mutate(content, random):
    """One kind of damage: cut, emptied, flipped bytes at the head, in the directory, anywhere, or huge sizes."""
    content = bytearray(content)
    kind = random.integers(7)
    if kind == 0:
        return content[: random.integers(1, len(content))]
    if kind == 1 and random.random() < 0.2:
        return bytearray()
    if kind <= 2:  # the directory is at the head, names and sizes are at the end
        places = random.integers(0, 3000, random.integers(1, 30))
    elif kind == 3:
        places = len(content) - random.integers(1, 6000, random.integers(1, 30))
    elif kind == 4:
        places = random.integers(0, len(content), random.integers(1, 200))
    elif kind == 5:  # huge sizes: four bytes of 7fffffff or ffffffff
        for place in random.integers(4, 3000, 4):
            content[place : place + 4] = b"\x7f\xff\xff\xff" if random.random() < 0.5 else b"\xff\xff\xff\xff"
        return content
    else:
        for place in len(content) - random.integers(4, 6000, 4):
            content[place : place + 4] = b"\x7f\xff\xff\xff"
        return content
    for place in places:
        content[place] ^= random.integers(1, 256)
    return content


def test_120_damaged_files_cost_only_themselves(tmp_path):
    random = np.random.default_rng(0)
    bands = [get_satellite("G16").band(number) for number in (3, 13)]
    smooth = np.add.outer(np.sin(np.arange(300) / 30), np.cos(np.arange(300) / 40)) / 4 + 0.5
    arrays = {band.name: (band.valid_range[0] + smooth * np.ptp(band.valid_range)).astype("f4") for band in bands}
    arrays["solar_zenith"] = (smooth * 90).astype(np.float32)
    whole = tmp_path / "whole" / NAME
    write_tile(make_tile("G16", "h09v03", datetime(2019, 2, 1, 12, 30), bands, arrays, 300), whole)
    expected, content = read_tile(whole, bands=[3, 13]), whole.read_bytes()
    paths, damaged = [], set()
    for number in range(160):
        path = tmp_path / str(number) / NAME
        path.parent.mkdir()
        path.write_bytes(content if number % 4 == 0 else mutate(content, random))
        paths.append(path)
        if number % 4:
            damaged.add(path)
    assert len(damaged) == 120
    results = list(read_isolated(paths, partial(read_tile, bands=[3, 13]), workers=2, timeout=20))
    assert [path for path, _ in results] == paths
    counts = Counter()
    for path, outcome in results:
        counts[outcome.reason if isinstance(outcome, Failure) else "read"] += 1
        assert isinstance(outcome, xr.Dataset | Failure)
        if path not in damaged:
            xr.testing.assert_identical(outcome, expected)
        elif isinstance(outcome, Failure):
            assert outcome.detail and "\n" not in outcome.detail
    print(counts)
    assert counts["error"] > 40
